"""How figures look: readable in print, in grey and by colour-blind readers; and how they become files.

Lines differ in colour (Okabe and Ito's), dashes and markers, so that no two depend on colour alone.
"""

import io
import re
from contextlib import contextmanager
from typing import Any, Dict, Iterator

import matplotlib
from matplotlib.figure import Figure

#: Widths of figures in inches: beside text, and over a whole page.
NARROW, WIDE = 4.6, 7.0
BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK = (
    '#0072B2',
    '#D55E00',
    '#009E73',
    '#CC79A7',
    '#E69F00',
    '#56B4E9',
    '#000000',
)
COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, BLACK, ORANGE, SKY)
DASHES = ('-', (0, (5, 2)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)), (0, (8, 2, 1, 2, 1, 2)))
MARKERS = 'osD^vPX*<>h'

#: Metadata without dates and versions of programs, so that the same figure is the same file.
_METADATA: Dict[str, dict] = {
    'pdf': {'CreationDate': None, 'Producer': None, 'Creator': None},
    'png': {'Software': None},
    'svg': {'Date': None, 'Creator': None},
}
FORMATS = tuple(_METADATA)
_RC: Dict[str, Any] = {
    'font.family': 'DejaVu Sans',  # comes with Matplotlib
    'font.size': 8,
    'axes.titlesize': 8.5,
    'axes.labelsize': 8,
    'xtick.labelsize': 7.5,
    'ytick.labelsize': 7.5,
    'legend.fontsize': 7.5,
    'legend.frameon': False,
    'legend.handlelength': 3.2,  # dashes show
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.grid': True,
    'axes.axisbelow': True,
    'grid.color': '0.9',
    'lines.linewidth': 1.3,
    'lines.markersize': 4,
    'savefig.dpi': 200,
    'pdf.fonttype': 42,  # TrueType, which journals ask for
    'svg.hashsalt': 'o2f',
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw, and save, in this style."""
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **_RC}):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches; it belongs to no window and no global state."""
    return Figure(figsize=(width, height), layout='constrained')


def line_style(number: int) -> Dict[str, Any]:
    """Colour, dashes and marker of line ``number`` of a figure; any eleven differ in their markers."""
    return dict(
        color=COLOURS[number % len(COLOURS)],
        linestyle=DASHES[number % len(DASHES)],
        marker=MARKERS[number % len(MARKERS)],
    )


def note(figure: Figure, text: str) -> None:
    """A line of small print under a figure: what its numbers are, and are not."""
    figure.supxlabel(text, fontsize=6.5, color='0.35')


def mathematical(text: str) -> str:
    """Text as Matplotlib shows it: 'T^max' becomes T with a raised max."""
    return re.sub(r'\b([A-Za-z])\^([A-Za-z]+)\b', r'$\1^{\\mathrm{\2}}$', text.replace('$', r'\$'))


def save(figure: Figure, format: str) -> bytes:
    """The content of a figure's file; ``format`` is one of ``FORMATS``. The same figure gives the same bytes."""
    file = io.BytesIO()
    with styled():
        figure.savefig(file, format=format, metadata=_METADATA[format])
    return file.getvalue()
