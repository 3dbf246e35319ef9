"""Style, layout and saving of figures. They are readable in print, in grey and by colour-blind readers.

Lines differ in colour (Okabe and Ito's), dashes and markers, so that no two differ in colour alone. Pictures of known
size are placed in inches.
"""

import io
import re
from contextlib import contextmanager
from typing import Any, Dict, Iterator, Tuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

#: Widths of figures in inches: for one column, and for the full page width.
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

#: Metadata without dates and program versions, so that equal figures give equal files.
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
    'legend.handlelength': 3.2,  # long enough to show dashes
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.grid': True,
    'axes.axisbelow': True,
    'grid.color': '0.9',
    'lines.linewidth': 1.3,
    'lines.markersize': 4,
    'savefig.dpi': 200,
    'pdf.fonttype': 42,  # TrueType, which journals require
    'svg.hashsalt': 'o2f',
}


@contextmanager
def styled() -> Iterator[None]:
    """A context in which figures are drawn and saved in this style."""
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **_RC}):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, without a window or global state."""
    return Figure(figsize=(width, height), layout='constrained')


def line_style(number: int) -> Dict[str, Any]:
    """Colour, dashes and marker of line ``number`` of a figure. Eleven consecutive lines differ in their markers."""
    return dict(
        color=COLOURS[number % len(COLOURS)],
        linestyle=DASHES[number % len(DASHES)],
        marker=MARKERS[number % len(MARKERS)],
    )


def note(figure: Figure, text: str) -> None:
    """Add a line of small print under a figure: what its numbers are, and what they are not."""
    figure.supxlabel(text, fontsize=6.5, color='0.35')


def mathematical(text: str) -> str:
    """Text for Matplotlib: 'T^max' becomes T with a raised max."""
    return re.sub(r'\b([A-Za-z])\^([A-Za-z]+)\b', r'$\1^{\\mathrm{\2}}$', text.replace('$', r'\$'))


def save(figure: Figure, format: str) -> bytes:
    """The content of a figure's file; ``format`` is one of ``FORMATS``. The same figure gives the same bytes."""
    file = io.BytesIO()
    with styled():
        figure.savefig(file, format=format, metadata=_METADATA[format])
    return file.getvalue()


class Sheet:
    """A figure on which elements are placed in inches from its top left corner.

    Args:
        width, height (float): size in inches.
    """

    def __init__(self, width: float, height: float) -> None:
        self.figure = Figure(figsize=(width, height))
        self.width, self.height = width, height

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        """Axes without ticks, for a picture."""
        axes = self.figure.add_axes(self._box(x, y, width, height))
        axes.set(xticks=[], yticks=[])
        axes.grid(False)
        axes.spines[:].set(visible=True, linewidth=0.5, color='0.5')
        return axes

    def text(self, x: float, y: float, text: str, **style) -> None:
        """Add text at a point."""
        self.figure.text(x / self.width, 1 - y / self.height, text, **style)

    def _box(self, x: float, y: float, width: float, height: float) -> Tuple[float, float, float, float]:
        return x / self.width, 1 - (y + height) / self.height, width / self.width, height / self.height


def picture(file: bytes) -> np.ndarray:
    """Decode the bytes of an image file to (h, w, 3) uint8.

    Raises:
        ValueError: it is not an image.
    """
    try:
        return np.asarray(Image.open(io.BytesIO(file)).convert('RGB'))
    except OSError as error:
        raise ValueError(f'the image is damaged ({error})') from error


def show(axes: Axes, pixels: np.ndarray, pale: float = 0.0) -> None:
    """Show an image in its pixels' coordinates, blended with white by ``pale`` so that drawings on it stand out."""
    height, width = pixels.shape[:2]
    blended = pixels + (255 - pixels.astype(np.float32)) * pale
    axes.imshow(blended.astype(np.uint8), extent=(0, width, height, 0), interpolation='bicubic')
    axes.set(xlim=(0, width), ylim=(height, 0))
