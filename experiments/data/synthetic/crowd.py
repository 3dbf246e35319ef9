"""Crowds of one class, drawn as simple figures in rows and clumps, in CrowdHuman's own layout (.odgt)."""

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from experiments.data.synthetic.coco import Progress, write_jpeg, write_json
from experiments.data.synthetic.scenes import SPLITS, background, finish, generator, texture
from experiments.data.synthetic.shapes import Stamp, blend, tight_box
from experiments.spec.synthetic import CrowdSpec

WIDTH = 0.27  # largest extent of a figure from its middle, in units of its height
PREFIX = {'train': '273271', 'val': '284193'}  # CrowdHuman's IDs are a number, a comma and a hash


class Figure(NamedTuple):
    stamp: Stamp  # the whole figure on its own window
    head: np.ndarray  # (h, w) bool, the head on that window
    layers: list[tuple[np.ndarray, np.ndarray]]  # in paint order: distance (h, w), colour (3,) or (h, w, 3)
    foot: float  # row of its feet, pixels


class Crowd(NamedTuple):
    image: np.ndarray  # (H, W, 3) uint8, BGR
    gtboxes: list[dict]  # as in one line of an .odgt file


def limb(u: np.ndarray, v: np.ndarray, start: tuple, end: tuple, radius: float) -> np.ndarray:
    """Signed distance to a stroke with round ends from `start` to `end`, each (u, v)."""
    along = end[0] - start[0], end[1] - start[1]
    share = ((u - start[0]) * along[0] + (v - start[1]) * along[1]) / (along[0] ** 2 + along[1] ** 2)
    share = np.clip(share, 0, 1)
    return np.hypot(u - start[0] - share * along[0], v - start[1] - share * along[1]) - radius


def draw_figure(rng: np.random.Generator, x: float, foot: float, height: float) -> Figure:
    """A standing person around column `x`, its feet on row `foot`, in a random pose and random clothes."""
    left, top = int(np.floor(x - WIDTH * height)) - 1, int(np.floor(foot - height)) - 1
    rows, columns = int(np.ceil(height)) + 3, int(np.ceil(2 * WIDTH * height)) + 3
    # Distances below are in figure heights, u from the middle and v from the top of the head.
    u = (np.arange(columns, dtype=np.float32)[None, :] + np.float32(left + 0.5 - x)) / np.float32(height)
    v = (np.arange(rows, dtype=np.float32)[:, None] + np.float32(top + 0.5 - foot + height)) / np.float32(height)
    stout, stride, lean = rng.uniform(0.075, 0.105), rng.uniform(0.03, 0.13, 2).tolist(), rng.normal(0, 0.015)
    hands = list(zip(rng.uniform(0.11, 0.22, 2).tolist(), rng.uniform(0.3, 0.55, 2).tolist()))
    skin = np.array([110, 150, 200]) * rng.uniform(0.35, 1.15) + rng.normal(0, 6, 3)
    shirt = texture(rng, rows, columns, rng.uniform(10, 245, 3), 40)
    trousers, hair = rng.uniform(10, 190, 3), rng.uniform(5, 110) * np.array([0.6, 0.8, 1])
    arms = [limb(u, v, (s * stout, 0.22), (s * reach, drop), 0.035) for s, (reach, drop) in zip((-1, 1), hands)]
    legs = [limb(u, v, (s * 0.045, 0.5), (s * far, 0.955), 0.045) for s, far in zip((-1, 1), stride)]
    head = limb(u, v, (lean, 0.075), (lean, 0.09), 0.073)
    layers = [(leg, trousers) for leg in legs] + [(arm, shirt * 0.85) for arm in arms]
    layers += [(limb(u, v, (0, 0.25), (0, 0.47), stout), shirt), (head, skin)]
    layers += [(np.maximum(head, v - rng.uniform(0.04, 0.13)), hair)]
    layers = [(distance * np.float32(height), colour) for distance, colour in layers]
    whole = np.minimum.reduce([distance for distance, _ in layers])
    return Figure(Stamp(left, top, whole, whole <= 0), head <= 0, layers, foot)


def propose(spec: CrowdSpec, rng: np.random.Generator, count: int) -> list[Figure]:
    """About `count` figures in rows and clumps, nearest (lowest feet) first."""
    figures = []
    low, high = np.log(spec.height)
    groups = int(rng.integers(spec.groups[0], spec.groups[1] + 1))
    for share in rng.multinomial(count, np.full(groups, 1 / groups)):
        height, row = np.exp(rng.uniform(low, high)), rng.random() < 0.5
        # Far groups are small and stand high in the image, near ones are large and may be cut off below.
        nearness = (np.log(height) - low) / max(high - low, 1e-6)
        foot = spec.size * (0.45 + 0.5 * nearness + rng.normal(0, 0.12))
        x, step = rng.uniform(0, spec.size), rng.uniform(0.1, 0.3) * height
        for number in range(share):
            offset = (number - share / 2) * step if row else rng.normal(0, 1.2 * step)
            depth = rng.normal(0, 0.02 if row else 0.08) * height
            tall = height * rng.uniform(0.88, 1.12)
            figures.append(draw_figure(rng, x + offset + rng.normal(0, 0.04) * height, foot + depth, tall))
    return sorted(figures, key=lambda figure: -figure.foot)


def gather(spec: CrowdSpec, rng: np.random.Generator) -> tuple[list[Figure], np.ndarray]:
    """Figures from near to far, each visible enough, and (H, W) int owner: 1 + index of the topmost figure, or 0."""
    wanted = int(rng.integers(spec.people[0], spec.people[1] + 1))
    for _ in range(20):
        kept, taken = [], np.zeros((spec.size, spec.size), bool)
        for figure in propose(spec, rng, 2 * wanted):  # near to far: later figures hide no earlier one
            here, there = figure.stamp.clip(spec.size, spec.size)
            mask = figure.stamp.mask[there]
            if (mask & ~taken[here]).sum() >= max(spec.least, spec.visible * figure.stamp.mask.sum()):
                kept.append(figure)
                taken[here] |= mask
        if len(kept) >= spec.people[0]:
            break
    chosen = sorted(rng.permutation(len(kept))[:wanted])  # leaving some out only uncovers others
    figures, owner = [kept[i] for i in chosen], np.zeros((spec.size, spec.size), np.int32)
    for number in range(len(figures), 0, -1):
        here, there = figures[number - 1].stamp.clip(spec.size, spec.size)
        owner[here][figures[number - 1].stamp.mask[there]] = number
    return figures, owner


def paint(image: np.ndarray, figure: Figure) -> None:
    """Paint `figure` over `image` (H, W, 3) float32 in place."""
    here, there = figure.stamp.clip(*image.shape[:2])
    for distance, colour in figure.layers:
        blend(image[here], distance[there], colour[there] if colour.ndim == 3 else colour)


def poster(rng: np.random.Generator, view: np.ndarray) -> None:
    """Turn `view` (h, w, 3) float32 into a framed picture of one to three people, which are not real persons."""
    height, width = view.shape[:2]
    view[:] = rng.uniform(60, 255, 3)
    for _ in range(rng.integers(1, 4)):
        paint(view, draw_figure(rng, rng.uniform(0.2, 0.8) * width, rng.uniform(0.9, 1.3) * height, 0.85 * height))
    view[[0, 1, -2, -1]] = view[:, [0, 1, -2, -1]] = rng.uniform(0, 255, 3)


def throng(rng: np.random.Generator, view: np.ndarray) -> None:
    """Paint a far group into `view` (h, w, 3) float32, too dense and blurred to count."""
    height, width = view.shape[:2]
    for foot in np.sort(rng.uniform(0.8, 1.2, 3 * width // height + 6)):
        paint(view, draw_figure(rng, rng.uniform(0, width), foot * height, rng.uniform(0.65, 0.85) * height))
    view[:] = cv2.GaussianBlur(view, (5, 5), 1.2)


# Painters of ignored regions, each with the range of its height and of its width, as fractions of the image side.
IGNORED = ((poster, (0.2, 0.4), (0.2, 0.4)), (throng, (0.14, 0.2), (0.3, 0.6)))


def draw_ignored(spec: CrowdSpec, rng: np.random.Generator, image: np.ndarray) -> list[dict]:
    """Paint ignored regions into `image` in place, behind all figures, and return their entries."""
    entries = []
    for fill, *ranges in IGNORED:
        if rng.random() < spec.ignore:
            height, width = (int(rng.uniform(*bounds) * spec.size) for bounds in ranges)
            x, y = int(rng.integers(spec.size - width + 1)), int(rng.integers((spec.size - height) // 2 + 1))
            fill(rng, image[y : y + height, x : x + width])
            box = {key: [x, y, width, height] for key in ('hbox', 'vbox', 'fbox')}
            entries.append({'tag': 'mask', **box, 'head_attr': {}, 'extra': {'ignore': 1}})
    return entries


def person(figure: Figure, visible: np.ndarray, box_id: int) -> dict:
    """The annotation of one person. `visible` (H, W) bool is its visible part. Full boxes may exceed the image."""
    left, top, mask = figure.stamp.left, figure.stamp.top, figure.stamp.mask
    here, there = figure.stamp.clip(*visible.shape)
    head_seen, head = int((visible[here] & figure.head[there]).sum()), int(figure.head.sum())
    return {
        'tag': 'person',
        'hbox': [int(value) for value in tight_box(figure.head, left, top)],
        'vbox': [int(value) for value in tight_box(visible)],
        'fbox': [int(value) for value in tight_box(mask, left, top)],
        'head_attr': {'ignore': int(head_seen == 0), 'occ': int(head_seen < head), 'unsure': 0},
        'extra': {'box_id': box_id, 'occ': int(visible.sum() < mask.sum())},
    }


def draw_crowd(spec: CrowdSpec, split: str, index: int) -> Crowd:
    """Draw image `index` of `split`, independently of other images. Raises ValueError on an unknown split."""
    rng = generator(spec, split, index)
    image = background(rng, spec.size, (4, 14), 40)
    ignored = draw_ignored(spec, rng, image)
    figures, owner = gather(spec, rng)
    for figure in reversed(figures):
        paint(image, figure)
    people = [person(figure, owner == number + 1, number) for number, figure in enumerate(figures)]
    return Crowd(finish(rng, image), people + ignored)


def image_id(spec: CrowdSpec, split: str, index: int) -> str:
    """An ID like CrowdHuman's, such as 273271,1a2b3c000d5146c1. It is also the image's file name without .jpg."""
    return f'{PREFIX[split]},{hashlib.sha256(f"{spec.version}/{spec.seed}/{split}/{index}".encode()).hexdigest()[:16]}'


def write_crowd(spec: CrowdSpec, folder: Path, progress: Progress | None = None) -> None:
    """Write `Images/*.jpg`, `annotation_{train,val}.odgt` and `id_hw_{train,val}.json`. Equal specs give equal bytes.

    `progress` is called with (images done, images in total). Raises OSError.
    """
    folder, done = Path(folder), 0
    (folder / 'Images').mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        lines, sizes = [], {}
        for index in range(getattr(spec, split)):
            crowd, name = draw_crowd(spec, split, index), image_id(spec, split, index)
            write_jpeg(folder / 'Images' / f'{name}.jpg', crowd.image)
            lines.append(json.dumps({'ID': name, 'gtboxes': crowd.gtboxes}, separators=(',', ':')) + '\n')
            sizes[name] = list(crowd.image.shape[:2])
            done += 1
            if progress:
                progress(done, spec.train + spec.val)
        (folder / f'annotation_{split}.odgt').write_text(''.join(lines), encoding='utf-8')
        write_json(folder / f'id_hw_{split}.json', sizes)
