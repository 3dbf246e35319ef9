"""Eight shapes as signed distance functions, drawn on a small window around the object."""

import math
from typing import Callable, NamedTuple

import numpy as np

REACH = 1.15  # radius of a circle that contains every shape below, in units of the object's half size


def disc(u, v):
    return np.hypot(u, v) - 0.95


def square(u, v):
    return np.maximum(np.abs(u), np.abs(v)) - 0.8


def triangle(u, v):
    return np.maximum(v, 0.866 * np.abs(u) - 0.5 * v) - 0.55


def star(u, v):
    # Fold the plane onto half of one of the five points. Its edge is then one line from the tip to the inner corner.
    sector = 2 * math.pi / 5
    angle = np.abs((np.arctan2(u, -v) + sector / 2) % sector - sector / 2)
    radius, tip = np.hypot(u, v), 1.08
    edge = 0.45 * math.cos(sector / 2) - tip, 0.45 * math.sin(sector / 2)
    along, across = radius * np.cos(angle) - tip, radius * np.sin(angle)
    return (along * edge[1] - across * edge[0]) / math.hypot(*edge)


def ring(u, v):
    return np.abs(np.hypot(u, v) - 0.7) - 0.26


def cross(u, v):
    u, v = np.abs(u), np.abs(v)
    return np.minimum(np.maximum(u - 1, v - 0.33), np.maximum(v - 1, u - 0.33))


def crescent(u, v):
    return np.maximum(np.hypot(u, v) - 0.98, 0.78 - np.hypot(u - 0.5, v))


def heart(u, v):
    # A square on its corner, with a disc on each of its two upper sides.
    u, v, side, root = np.abs(u), v + 0.08, 0.8, math.sqrt(2)
    return np.minimum((u + np.abs(v) - side) / root, np.hypot(u - side / 2, v + side / 2) - side / root)


# Category id n is SHAPES[n - 1]. A shape takes u (right) and v (down) in half sizes, and is negative inside.
# Constants are Python floats, which keep float32 arrays float32 under every NumPy. So the bytes are equal everywhere.
SHAPES: tuple[Callable, ...] = (disc, square, triangle, star, ring, cross, crescent, heart)
NAMES = tuple(shape.__name__ for shape in SHAPES)


class Stamp(NamedTuple):
    """A shape on its own window of pixels, which may reach outside the image."""

    left: int  # column of the window's first pixel
    top: int  # row of the window's first pixel
    distance: np.ndarray  # (h, w) float32, signed, pixels, negative inside
    mask: np.ndarray  # (h, w) bool, inside

    def clip(self, height: int, width: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """The part inside an image, as (rows, columns) of the image and as (rows, columns) of this window."""
        top, left = max(self.top, 0), max(self.left, 0)
        bottom = max(min(self.top + self.mask.shape[0], height), top)
        right = max(min(self.left + self.mask.shape[1], width), left)
        return (
            (slice(top, bottom), slice(left, right)),
            (slice(top - self.top, bottom - self.top), slice(left - self.left, right - self.left)),
        )


def stamp(shape: Callable, centre: tuple[float, float], half: tuple[float, float], turn: float = 0.0) -> Stamp:
    """Draw `shape` at `centre` (x, y) with half sizes `half` (x, y), all in pixels, rotated by `turn` radians."""
    reach = REACH * max(half) + 1
    left, top = int(np.floor(centre[0] - reach)), int(np.floor(centre[1] - reach))
    count = int(np.ceil(2 * reach)) + 1
    # Pixel i covers i..i+1, so its centre lies at i + 0.5.
    x = np.arange(count, dtype=np.float32)[None, :] + np.float32(left + 0.5 - centre[0])
    y = np.arange(count, dtype=np.float32)[:, None] + np.float32(top + 0.5 - centre[1])
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    u, v = (cos * x + sin * y) / np.float32(half[0]), (cos * y - sin * x) / np.float32(half[1])
    # Unequal half sizes distort distances. Their geometric mean keeps the soft edge about one pixel wide.
    distance = shape(u, v) * np.float32(np.sqrt(half[0] * half[1]))
    return Stamp(left, top, distance, distance <= 0)


def blend(ground: np.ndarray, distance: np.ndarray, colour: np.ndarray) -> None:
    """Paint `colour` (3,) or (h, w, 3) over `ground` (h, w, 3) float32 in place where `distance` (h, w) is negative."""
    ground += np.clip(0.5 - distance, 0, 1)[..., None] * (colour - ground)


def tight_box(mask: np.ndarray, left: int = 0, top: int = 0) -> tuple[float, float, float, float]:
    """The tight box (x, y, w, h) in pixels of a (h, w) bool mask whose first pixel lies at (left, top).

    Raises ValueError on an empty mask.
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        raise ValueError('an empty mask has no box')
    x, y = int(columns[0]), int(rows[0])
    return float(left + x), float(top + y), float(columns[-1] - x + 1), float(rows[-1] - y + 1)
