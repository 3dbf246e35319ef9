"""Which detections of an image are duplicates."""

from typing import Optional, Tuple

import numpy as np

from experiments.store.qualitative import Shapes

#: What a detection is: the best one of an object, another one of an object that has a better one, one of nothing that
#: is annotated with its class, or one on a region to ignore.
BEST, DUPLICATE, WRONG, IGNORED = 'best', 'duplicate', 'wrong', 'ignored'
#: IoU from which a detection is one of an object; share of it in a region to ignore from which it is ignored.
IOU, COVERED = 0.5, 0.5


def judge(found: Shapes, truth: Shapes) -> Tuple[np.ndarray, np.ndarray]:
    """What each detection of an image is.

    The detections are taken from the best score down, as COCO's evaluation does: each takes, of the objects of its
    class that are still free, the one with the largest IoU of at least 0.5. One for which none is free, but which has
    such an IoU with an object that is taken, is a duplicate. Where there are masks, IoU is that of the masks.

    Args:
        found (Shapes): n detections with scores.
        truth (Shapes): m annotations with ``ignored``.

    Returns:
        tuple: what each is, (n,) of the words above, and the object that each is one of, (n,) int, -1 for none.
    """
    kind, of = np.full(len(found.boxes), WRONG, dtype='<U9'), np.full(len(found.boxes), -1)
    if not len(found.boxes) or not len(truth.boxes):
        return kind, of
    assert found.scores is not None and truth.ignored is not None  # as the docstring asks
    overlap = _iou(found, truth)
    overlap[(found.labels[:, None] != truth.labels) | truth.ignored] = 0
    taken = np.zeros(len(truth.boxes), bool)
    for i in np.argsort(-found.scores, kind='stable'):
        free, any_ = _largest(np.where(taken, 0, overlap[i])), _largest(overlap[i])
        if free is not None:
            kind[i], of[i], taken[free] = BEST, free, True
        elif any_ is not None:
            kind[i], of[i] = DUPLICATE, any_
    if truth.ignored.any():
        covered = _covered(found.boxes, truth.boxes[truth.ignored]).max(axis=1) >= COVERED
        kind[(kind == WRONG) & covered] = IGNORED
    return kind, of


def _largest(overlap: np.ndarray) -> Optional[int]:
    """The place of the largest overlap, if it is enough."""
    return int(overlap.argmax()) if overlap.max() >= IOU else None


def _iou(found: Shapes, truth: Shapes) -> np.ndarray:
    """(n, m) IoU of masks, or of boxes where there are none."""
    if found.masks is not None and truth.masks is not None:
        a, b = (masks.reshape(len(masks), -1).astype(np.float32) for masks in (found.masks, truth.masks))
        shared, areas = a @ b.T, (a.sum(axis=1), b.sum(axis=1))
    else:
        shared, areas = _shared(found.boxes, truth.boxes), (_areas(found.boxes), _areas(truth.boxes))
    return shared / np.maximum(areas[0][:, None] + areas[1] - shared, np.finfo(np.float32).tiny)


def _covered(boxes: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """(n, m) share of each box that lies in each region."""
    return _shared(boxes, regions) / np.maximum(_areas(boxes), np.finfo(np.float32).tiny)[:, None]


def _shared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n, m) area in both boxes."""
    sides = np.minimum(a[:, None, 2:], b[:, 2:]) - np.maximum(a[:, None, :2], b[:, :2])
    return sides.clip(min=0).prod(axis=-1)


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
