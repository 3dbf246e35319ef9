"""Scenes of overlapping shapes on cluttered ground, hard enough that detectors differ and duplicates cost AP."""

import math
import zlib
from typing import NamedTuple

import cv2
import numpy as np

from experiments.data.synthetic.shapes import SHAPES, Stamp, blend, stamp, tight_box
from experiments.spec.synthetic import SceneSpec

SPLITS = ('train', 'val')
Box = tuple[float, float, float, float]  # x, y, width, height in pixels


class Instance(NamedTuple):
    category: int  # 1..8
    mask: np.ndarray  # (H, W) bool, visible pixels
    box: Box  # tight around the visible pixels
    full_box: Box  # tight around the whole object, as if alone; may reach outside the image


class Scene(NamedTuple):
    image: np.ndarray  # (H, W, 3) uint8, BGR
    instances: list[Instance]  # in paint order: later covers earlier


def generator(spec, split: str, index: int) -> np.random.Generator:
    """The random generator of one image, independent of every other image, split, seed and version."""
    if split not in SPLITS:
        raise ValueError(f'split must be one of {SPLITS}, not {split!r}')
    return np.random.default_rng([spec.seed, zlib.crc32(spec.version.encode()), SPLITS.index(split), index])


def texture(rng: np.random.Generator, height: int, width: int, colour: np.ndarray, contrast: float) -> np.ndarray:
    """(height, width, 3) float32 around `colour` (3,) in 0..255: plain, shaded, striped, chequered or speckled."""
    kind = rng.integers(5)
    turn, period, phase = rng.uniform(0, np.pi), rng.uniform(3, 9), rng.uniform(0, 2 * np.pi)
    x, y = np.arange(width, dtype=np.float32)[None, :], np.arange(height, dtype=np.float32)[:, None]
    cos, sin = math.cos(turn), math.sin(turn)  # Python floats: NumPy's float64 would turn float32 arrays into float64
    along, across = cos * x + sin * y, cos * y - sin * x
    mix: np.ndarray
    if kind == 0:
        mix = np.zeros((height, width))
    elif kind == 1:
        mix = along / max(height, width)
    elif kind == 2:
        mix = np.sin(2 * math.pi / period * along + phase) > 0
    elif kind == 3:
        mix = np.sin(np.pi / period * along + phase) * np.sin(np.pi / period * across) > 0
    else:
        coarse = rng.random((2 + height // 4, 2 + width // 4), dtype=np.float32)
        mix = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    change = rng.normal(0, contrast, 3).astype(np.float32)
    return colour.astype(np.float32) + np.asarray(mix, np.float32)[..., None] * change


def background(rng: np.random.Generator, size: int, clutter: tuple[int, int], contrast: float) -> np.ndarray:
    """(size, size, 3) float32 ground: texture, soft patches, and clutter of no category (strokes, arcs, splinters)."""
    image = texture(rng, size, size, rng.uniform(30, 225, 3), contrast)
    patches = rng.normal(0, rng.uniform(5, 30), (5, 5, 3)).astype(np.float32)
    image += cv2.resize(patches, (size, size), interpolation=cv2.INTER_CUBIC)
    for _ in range(rng.integers(clutter[0], clutter[1] + 1)):
        colour = rng.uniform(0, 255, 3).tolist()
        x, y = (int(value) for value in rng.integers(0, size, 2))
        reach = rng.uniform(0.05, 0.4) * size
        points = np.array([x, y]) + rng.normal(0, reach, (3, 2))
        kind = rng.integers(3)
        if kind == 0:
            cv2.polylines(image, [points.astype(np.int32)], False, colour, int(rng.integers(1, 4)), cv2.LINE_AA)
        elif kind == 1:
            axes = int(reach) + 2, int(reach * rng.uniform(0.3, 1)) + 2
            start = rng.uniform(0, 360)
            cv2.ellipse(
                image, (x, y), axes, start, 0, rng.uniform(40, 160), colour, int(rng.integers(1, 4)), cv2.LINE_AA
            )
        else:  # a splinter: too thin to pass for a triangle
            along = points[1] - points[0]
            points[2] = points[0] + rng.uniform(0.2, 0.8) * along + rng.uniform(0.08, 0.2) * along[::-1] * (1, -1)
            cv2.fillPoly(image, [points.astype(np.int32)], colour, cv2.LINE_AA)
    return image


def paint(rng: np.random.Generator, image: np.ndarray, piece: Stamp, contrast: float) -> None:
    """Paint `piece` into `image` (H, W, 3) float32, textured, in a colour that stands out. It may exceed the image."""
    here, there = piece.clip(*image.shape[:2])
    around = image[here].mean((0, 1))
    colour = rng.uniform(0, 255, 3)  # independent of the class, but distinct from the surroundings
    while np.abs(colour - around).max() < 60:
        colour = rng.uniform(0, 255, 3)
    height, width = image[here].shape[:2]
    blend(image[here], piece.distance[there], texture(rng, height, width, colour, contrast))


def finish(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Add uneven light, slight blur and sensor noise; (H, W, 3) float32 to uint8."""
    light = cv2.resize(rng.uniform(0.65, 1.2, (2, 2)).astype(np.float32), image.shape[1::-1])
    image = image * light[..., None]
    image = cv2.GaussianBlur(image, (3, 3), rng.uniform(0.2, 0.8))
    noise = rng.uniform(2, 9) * rng.standard_normal(image.shape, dtype=np.float32)
    return np.clip(image + noise + 0.5, 0, 255).astype(np.uint8)


def propose(spec: SceneSpec, rng: np.random.Generator, placed: list) -> tuple[int, float, float, float]:
    """Category, centre x and y, and size of an object, perhaps beside one of `placed` (a list of the same tuples)."""
    low, high = spec.scale
    category, size = int(rng.integers(1, len(SHAPES) + 1)), float(np.exp(rng.uniform(np.log(low), np.log(high))))
    if not placed or rng.random() >= spec.cluster:
        return category, *rng.uniform(0, spec.size, 2).tolist(), size
    neighbour, x, y, other = placed[rng.integers(len(placed))]
    if rng.random() < spec.twin:
        category = neighbour
    size = float(np.clip(other * np.exp(rng.uniform(-0.5, 0.5)), low, high))
    turn, gap = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 1.0) * (size + other) / 2
    return category, x + gap * np.cos(turn), y + gap * np.sin(turn), size


def fits(spec: SceneSpec, owner: np.ndarray, piece: Stamp, areas: list[int]) -> bool:
    """Whether `piece` and all that it covers stay visible enough. `owner` (H, W) has 1 + the topmost index, or 0."""
    here, there = piece.clip(*owner.shape)
    mask = piece.mask[there]
    if mask.sum() < max(spec.least, 0.5 * piece.mask.sum()):
        return False
    lost = np.bincount(owner[here][mask], minlength=len(areas) + 1)[1:]
    left = np.bincount(owner.ravel(), minlength=len(areas) + 1)[1:] - lost
    return not np.any((lost > 0) & (left < np.maximum(spec.least, spec.visible * np.array(areas))))


def draw_scene(spec: SceneSpec, split: str, index: int) -> Scene:
    """Draw image `index` of `split`, independently of other images. Raises ValueError on an unknown split.

    A placement that would hide too much of itself or of an earlier object is retried a few times and then dropped. So
    every instance is visible by at least `spec.visible` and `spec.least`.
    """
    rng = generator(spec, split, index)
    image = background(rng, spec.size, spec.clutter, spec.contrast)
    owner = np.zeros((spec.size, spec.size), np.int64)
    placed: list[tuple[int, float, float, float]] = []
    pieces: list[Stamp] = []
    areas: list[int] = []
    for _ in range(rng.integers(spec.objects[0], spec.objects[1] + 1)):
        for _ in range(10):
            category, x, y, size = propose(spec, rng, placed)
            stretch = spec.aspect ** rng.uniform(-0.5, 0.5)
            half = size / 2 * stretch, size / 2 / stretch
            piece = stamp(SHAPES[category - 1], (x, y), half, rng.uniform(-spec.turn, spec.turn))
            if not fits(spec, owner, piece, areas):
                continue
            paint(rng, image, piece, spec.contrast)
            placed.append((category, x, y, size))
            pieces.append(piece)
            areas.append(int(piece.mask.sum()))
            here, there = piece.clip(*owner.shape)
            owner[here][piece.mask[there]] = len(pieces)
            break
    instances = []
    for number, (piece, (category, *_)) in enumerate(zip(pieces, placed), 1):
        mask = owner == number
        instances.append(Instance(category, mask, tight_box(mask), tight_box(piece.mask, piece.left, piece.top)))
    return Scene(finish(rng, image), instances)
