"""The validation images of a run with their annotations, and rules that choose some of them to show.

The rules look at annotations only, never at what a detector finds.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence, Tuple

import numpy as np

from experiments.errors import UserError

#: IoU from which two annotated boxes count as overlapping.
OVERLAP = 0.2


@dataclass(frozen=True)
class Annotated:
    """One image.

    Attributes:
        index (int): its place in the dataset.
        id (int | str): its id in the annotation file.
        path (Path): its file.
        size (tuple[int, int]): height and width in pixels.
        boxes (ndarray): (n, 4) float32, x1 y1 x2 y2 in pixels, cut to the image.
        labels (ndarray): (n,) int32, index of the class; -1 for a region to ignore.
        ignored (ndarray): (n,) bool, regions that count neither as found nor as wrong.
        segmentations (tuple): COCO's segmentation of each, or an empty tuple.
    """

    index: int
    id: Any
    path: Path
    size: Tuple[int, int]
    boxes: np.ndarray
    labels: np.ndarray
    ignored: np.ndarray
    segmentations: tuple


def annotated_images(dataset: Any) -> List[Annotated]:
    """All images of one of MMDetection's datasets."""
    return [_annotated(index, dataset.get_data_info(index)) for index in range(len(dataset))]


def _annotated(index: int, info: dict) -> Annotated:
    instances = info['instances']
    height, width = info['height'], info['width']
    boxes = np.array([instance['bbox'] for instance in instances], np.float32).reshape(-1, 4)
    masks = tuple(instance['mask'] for instance in instances if 'mask' in instance)
    return Annotated(
        index,
        info['img_id'],
        Path(info['img_path']),
        (height, width),
        boxes.clip(0, np.array([width, height, width, height], np.float32)),
        np.array([instance['bbox_label'] for instance in instances], np.int32),
        np.array([instance['ignore_flag'] for instance in instances], bool),
        masks if len(masks) == len(instances) else (),
    )


def choose(images: Sequence[Annotated], rule: str, count: int, ids: Sequence[str], source: str) -> List[Annotated]:
    """The images to show: those of ``ids``, or else the ``count`` best by a rule.

    Args:
        images (sequence[Annotated]): all images.
        rule (str): a key of ``RULES``; of equal images the first in the file comes first.
        count (int): how many, or all there are.
        ids (sequence[str]): ids as text; the rule is not asked where there are any.
        source (str): where ids are looked for, for messages.

    Raises:
        UserError: there is no image of an id.
    """
    if ids:
        known = {str(image.id): image for image in images}
        for wanted in ids:
            if wanted not in known:
                raise UserError(
                    f'--images {wanted}: {source} has no such image; it has {", ".join(list(known)[:8])}, ...'
                )
        return [known[wanted] for wanted in ids]
    return sorted(images, key=lambda image: -RULES[rule](image))[:count]


def by_size(image: Annotated, count: int) -> List[int]:
    """``count`` whole instances of an image, evenly spread from the smallest to the largest box; all if it has fewer."""
    instances = np.flatnonzero(_whole(image))
    order = instances[np.argsort(_areas(image.boxes[instances]), kind='stable')]
    places = np.linspace(0, len(order) - 1, count).round().astype(int) if len(order) > count else range(len(order))
    return [int(order[place]) for place in places]


def _overlaps(image: Annotated) -> float:
    """How many instances overlap another one."""
    boxes = image.boxes[~image.ignored]
    near = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:]) - np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    shared = near.clip(min=0).prod(axis=-1)
    areas = _areas(boxes)
    union = (areas[:, None] + areas[None, :] - shared).clip(min=np.finfo(np.float32).tiny)
    return float(((shared / union - np.eye(len(boxes))) >= OVERLAP).any(axis=1).sum()) if len(boxes) else 0.0


def _sizes(image: Annotated) -> float:
    """How many times larger the largest whole instance is than the smallest; 0 for an image of fewer than three."""
    areas = _areas(image.boxes[_whole(image)])
    return float(areas.max() / max(areas.min(), 1.0)) if len(areas) >= 3 else 0.0


def _whole(image: Annotated) -> np.ndarray:
    """(n,) bool: instances that the image's edge does not cut off."""
    height, width = image.size
    return ~image.ignored & (image.boxes[:, :2] > 0).all(axis=1) & (image.boxes[:, 2:] < [width, height]).all(axis=1)


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)


RULES: Dict[str, Callable[[Annotated], float]] = {'overlaps': _overlaps, 'sizes': _sizes}
