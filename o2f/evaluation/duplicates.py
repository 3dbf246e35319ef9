"""How an object's detections compete: metrics of the mechanism behind AP without NMS.

Both are computed from the detections that AP is computed from. An object's detections are those of its class whose
IoU with it is at least 0.5; one that overlaps several objects so is the detection of the one it overlaps most.
"""

from typing import Dict, List, NamedTuple, Sequence

import numpy as np
from pycocotools import mask as rle

IOU = 0.5
RECALL = 0.5


class ImageBoxes(NamedTuple):
    """Boxes of one image.

    Attributes:
        boxes (ndarray): (n, 4) x, y, width, height in pixels.
        classes (ndarray): (n,) class of each, any numbers.
        scores (ndarray): (n,) scores; of objects, nothing that is read.
    """

    boxes: np.ndarray
    classes: np.ndarray
    scores: np.ndarray


def duplicate_metrics(found: Sequence[ImageBoxes], objects: Sequence[ImageBoxes]) -> Dict[str, float]:
    """Duplicates per object, and the score margin.

    Args:
        found (sequence): detections of each image.
        objects (sequence): objects of each of the same images.

    Returns:
        dict: ``duplicates``, how many detections each found object has besides its best one, counted down to the score
        at which half of all objects are found; NaN where they never are. ``score_margin``, the second best score over
        the best one of an object's detections, 0 where there is no second one; the median over objects that have one,
        NaN where none has.
    """
    scores: List[np.ndarray] = []
    owners: List[np.ndarray] = []
    total = 0
    for detections, truth in zip(found, objects):
        owner = _owners(detections, truth)
        scores.append(detections.scores[owner >= 0])
        owners.append(owner[owner >= 0] + total)
        total += len(truth.boxes)
    score, owner = np.concatenate([*scores, np.zeros(0)]), np.concatenate([*owners, np.zeros(0, int)]).astype(int)
    order = np.argsort(-score, kind='stable')
    score, owner = score[order], owner[order]
    return dict(duplicates=_duplicates(owner, total), score_margin=_margin(score, owner, total))


def _duplicates(owner: np.ndarray, total: int) -> float:
    """``owner`` (n,) is the object of each detection, best detection first."""
    firsts = np.zeros(len(owner), bool)
    firsts[np.unique(owner, return_index=True)[1]] = True
    found = np.cumsum(firsts)
    half = int(np.ceil(RECALL * total))
    if not total or not len(found) or found[-1] < half:
        return float('nan')
    last = int(np.searchsorted(found, half))  # the detection that finds the half
    return float((last + 1 - half) / half)


def _margin(score: np.ndarray, owner: np.ndarray, total: int) -> float:
    order = np.argsort(owner, kind='stable')  # object by object, best first
    score, owner = score[order], owner[order]
    start = np.flatnonzero(np.diff(owner, prepend=-1))
    if not len(start):
        return float('nan')
    count = np.diff(np.append(start, len(owner)))
    second = np.where(count > 1, score[np.minimum(start + 1, len(score) - 1)], 0.0)
    return float(np.median(second / np.maximum(score[start], np.finfo(float).tiny)))


def _owners(detections: ImageBoxes, truth: ImageBoxes) -> np.ndarray:
    """(n,) the object that each detection is of, or -1."""
    if not len(truth.boxes):
        return np.full(len(detections.boxes), -1)
    overlap = iou(detections.boxes, truth.boxes) * (detections.classes[:, None] == truth.classes)
    return np.where(overlap.max(axis=1) >= IOU, overlap.argmax(axis=1), -1)


def iou(boxes: np.ndarray, others: np.ndarray, crowd: bool = False) -> np.ndarray:
    """(n, m) IoU of (n, 4) with (m, 4) x, y, width, height; with regions of crowds, the share of a box inside."""
    if not len(boxes) or not len(others):
        return np.zeros((len(boxes), len(others)))
    overlap = rle.iou(np.asarray(boxes, float), np.asarray(others, float), [crowd] * len(others))
    return np.nan_to_num(overlap)  # two boxes without area
