"""The figures as pictures that stand in the page itself."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, List, Optional, Sequence

from PIL import Image

from analysis import figures
from analysis.results import UserError

#: Drawings have few colours and lose nothing to a palette of so many; photographs would.
_PALETTE, _FEW = 64, 12_000
_QUALITY = 88


@dataclass(frozen=True)
class Picture:
    """A figure: its entry, and either its data URI with width and height in pixels, or why it cannot be drawn."""

    entry: figures.Entry
    uri: str = ''
    width: int = 0
    height: int = 0
    missing: str = ''


def draw_all(runs: Path, profile: str, tables: Optional[Sequence[str]], warn: Callable[[str], None]) -> List[Picture]:
    """Every figure about some tables, or about any where ``tables`` is None; ``warn`` is told of broken files."""
    found = []
    for name, entry in figures.entries(runs, profile).items():
        if tables is None or entry.table is None or entry.table in tables:
            try:
                found.append(_picture(entry, figures.save(figures.draw(name, runs, profile, warn), 'png')))
            except UserError as error:
                found.append(Picture(entry, missing=str(error)))
    return found


def _picture(entry: figures.Entry, png: bytes) -> Picture:
    """The picture in as few bytes as its kind needs."""
    image = Image.open(io.BytesIO(png)).convert('RGB')
    file = io.BytesIO()
    if image.getcolors(_FEW):
        kind = 'png'
        image.quantize(_PALETTE, dither=Image.Dither.NONE).save(file, kind, optimize=True)
    else:
        kind = 'webp'
        image.save(file, kind, quality=_QUALITY)
    content = base64.b64encode(file.getvalue()).decode('ascii')
    return Picture(entry, f'data:image/{kind};base64,{content}', *image.size)
