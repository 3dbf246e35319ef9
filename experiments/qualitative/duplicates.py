"""Decides which detections of an image are duplicates."""

from typing import Optional, Tuple

import numpy as np

from experiments.store.qualitative import Shapes

#: The kinds of detections: the best one of an object, another one of the same object, one without an object of its
#: class, or one on an ignored region.
BEST, DUPLICATE, WRONG, IGNORED = 'best', 'duplicate', 'wrong', 'ignored'
#: Lowest IoU of a match with an object; lowest share of a detection in an ignored region at which it is ignored.
IOU, COVERED = 0.5, 0.5


def judge(found: Shapes, truth: Shapes) -> Tuple[np.ndarray, np.ndarray]:
    """The kind of each detection of an image.

    As in COCO's evaluation, detections are matched in order of descending score. Each takes the free object of its
    class with the largest IoU, if that is at least 0.5. A detection that finds no free object, but has such an IoU with
    a taken one, is a duplicate. If there are masks, IoU is that of the masks.

    Args:
        found (Shapes): n detections with scores.
        truth (Shapes): m annotations with ``ignored``.

    Returns:
        tuple: the kind of each, (n,) of the names above, and the index of its object, (n,) int, -1 for none.
    """
    kind, of = np.full(len(found.boxes), WRONG, dtype='<U9'), np.full(len(found.boxes), -1)
    if not len(found.boxes) or not len(truth.boxes):
        return kind, of
    assert found.scores is not None and truth.ignored is not None  # see Args
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
    """The index of the largest overlap, or None if it is too small."""
    return int(overlap.argmax()) if overlap.max() >= IOU else None


def _iou(found: Shapes, truth: Shapes) -> np.ndarray:
    """(n, m) IoU of masks, or of boxes if there are no masks."""
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
    """(n, m) area of the intersection of two boxes."""
    sides = np.minimum(a[:, None, 2:], b[:, 2:]) - np.maximum(a[:, None, :2], b[:, :2])
    return sides.clip(min=0).prod(axis=-1)


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
