"""The validation images of a run with their annotations, and rules that choose some of them for a figure.

The rules use annotations only, never detections.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence, Tuple

import numpy as np

from experiments.store.errors import UserError

#: Lowest IoU at which two annotated boxes count as overlapping.
OVERLAP = 0.2


@dataclass(frozen=True)
class Annotated:
    """One image.

    Attributes:
        index (int): its index in the dataset.
        id (int | str): its id in the annotation file.
        path (Path): its file.
        size (tuple[int, int]): height and width in pixels.
        boxes (ndarray): (n, 4) float32, x1 y1 x2 y2 in pixels, clipped to the image.
        labels (ndarray): (n,) int32, index of the class; -1 for an ignored region.
        ignored (ndarray): (n,) bool, ignored regions: detections there count neither as right nor as wrong.
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
    """All images of an MMDetection dataset."""
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
        rule (str): a key of ``RULES``. Ties are broken by the order in the file.
        count (int): how many to choose, at most.
        ids (sequence[str]): ids as text. If there are any, the rule is not used.
        source (str): where the ids are looked up, for error messages.

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
    worth = RULES[rule](images)
    return [images[i] for i in np.argsort(-np.array(worth), kind='stable')[:count]]


def by_size(image: Annotated, count: int) -> List[int]:
    """``count`` isolated instances, evenly spread from the smallest to the largest, or all if there are fewer. If none
    is isolated, all instances are eligible."""
    instances = np.flatnonzero(_alone(image)) if _alone(image).any() else np.flatnonzero(~image.ignored)
    order = instances[np.argsort(_areas(image.boxes[instances]), kind='stable')]
    places = np.linspace(0, len(order) - 1, count).round().astype(int) if len(order) > count else range(len(order))
    return [int(order[place]) for place in places]


def _most_overlaps(images: Sequence[Annotated]) -> List[float]:
    """Number of instances that overlap another one."""
    return [float((_ious(image) >= OVERLAP).any(axis=1).sum()) for image in images]


def _typical_overlaps(images: Sequence[Annotated]) -> List[float]:
    """Closeness of the number of overlapping instances to the median over all images."""
    overlaps = np.array(_most_overlaps(images))
    return list(-np.abs(overlaps - np.median(overlaps)))


def _sizes(images: Sequence[Annotated]) -> List[float]:
    """Area of the largest isolated instance divided by that of the smallest; 0 with fewer than three of them."""
    areas = [_areas(image.boxes[_alone(image)]) for image in images]
    return [float(each.max() / max(each.min(), 1.0)) if len(each) >= 3 else 0.0 for each in areas]


def _alone(image: Annotated) -> np.ndarray:
    """(n,) bool: isolated instances, whose box touches no other box and is not cut off by the image's edge."""
    height, width = image.size
    whole = (image.boxes[:, :2] > 0).all(axis=1) & (image.boxes[:, 2:] < [width, height]).all(axis=1)
    apart = np.ones(len(image.boxes), bool)
    apart[~image.ignored] = ~_ious(image).any(axis=1)
    return ~image.ignored & whole & apart


def _ious(image: Annotated) -> np.ndarray:
    """(m, m) pairwise IoU of the boxes of the m instances that are not ignored, 0 on the diagonal."""
    boxes = image.boxes[~image.ignored]
    sides = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:]) - np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    shared, areas = sides.clip(min=0).prod(axis=-1), _areas(boxes)
    union = (areas[:, None] + areas[None, :] - shared).clip(min=np.finfo(np.float32).tiny)
    return shared / union * (1 - np.eye(len(boxes)))


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)


#: The score of every image by each rule of experiments.spec.figure.RULES. The highest scores are shown.
RULES: Dict[str, Callable[[Sequence[Annotated]], List[float]]] = {
    'most overlaps': _most_overlaps,
    'typical overlaps': _typical_overlaps,
    'sizes': _sizes,
}
