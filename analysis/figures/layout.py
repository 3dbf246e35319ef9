"""Places panels of pictures, whose shapes are known, to the inch."""

import io
from typing import Tuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image


class Sheet:
    """A figure on which things are placed in inches from its top left corner.

    Args:
        width, height (float): in inches.
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
        """Text at a point."""
        self.figure.text(x / self.width, 1 - y / self.height, text, **style)

    def _box(self, x: float, y: float, width: float, height: float) -> Tuple[float, float, float, float]:
        return x / self.width, 1 - (y + height) / self.height, width / self.width, height / self.height


def picture(file: bytes) -> np.ndarray:
    """(h, w, 3) uint8 of an image's file.

    Raises:
        ValueError: it is no image.
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
