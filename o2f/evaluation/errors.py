"""Why detections are wrong: the six errors of TIDE (Bolya et al., ECCV 2020), and the calibration error of scores.

An object is found if a detection of its class has an IoU of at least 0.5 with it. Each other detection has one error,
the first of these that fits:

- localisation: its IoU with an object of its class is from 0.1 to 0.5;
- classification: its IoU with an object of another class is at least 0.5;
- duplicate: it would be right if a better detection did not have its object;
- background: its IoU with every object is below 0.1;
- both: the rest, which have neither the right class nor the right place.

Missed are the objects that no detection finds, and none would find if its class or its place were put right. Each error
is given as the AP50 that is won if it alone is put right: the best detection of an object that nothing finds is moved
there or gets its class, other wrong detections are left out, and missed objects do not count.

TIDE's own library (tidecv) computes the same. It is not used, because it needs a second build of OpenCV.
"""

from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from o2f.evaluation.duplicates import ImageBoxes, iou

IOU = 0.5
BACKGROUND_IOU = 0.1
BINS = 10
#: The errors by their number. A detection that is right has -1, one in a crowd -2.
ERRORS = ('localisation', 'classification', 'duplicate', 'background', 'both', 'missed')
_RIGHT, _IGNORED = -1, -2
_LOCALISATION, _CLASSIFICATION, _DUPLICATE, _BACKGROUND, _BOTH, _MISSED = range(6)
CALIBRATION = 'calibration'


class Judged(NamedTuple):
    """Detections of one or more images, and their objects.

    Attributes:
        scores (ndarray): (n,) the score of each detection.
        classes (ndarray): (n,) its class.
        errors (ndarray): (n,) int, its error, an index of ``ERRORS``; -1 if it is right, -2 if it is ignored.
        repaired (ndarray): (n,) the class that it has when its error is put right; -1 if it is left out then.
        objects (ndarray): (m,) the class of each object.
        missed (ndarray): (m,) bool, whether it is missed.
    """

    scores: np.ndarray
    classes: np.ndarray
    errors: np.ndarray
    repaired: np.ndarray
    objects: np.ndarray
    missed: np.ndarray


def error_metrics(
    found: Sequence[ImageBoxes], objects: Sequence[ImageBoxes], crowds: Sequence[ImageBoxes]
) -> Dict[str, float]:
    """The AP50 that each error costs, and the calibration error.

    Args:
        found (sequence): detections of each image. All of them count, however many there are.
        objects (sequence): objects of each of the same images, with classes that are whole numbers from 0 on.
        crowds (sequence): regions of crowds of each of the same images. Detections inside are not judged.

    Returns:
        dict: a fraction for each of ``ERRORS``, NaN if there is no object. ``calibration`` is the expected calibration
            error: how far the mean score is from the share of right detections, over ten bins of scores, weighted by
            their detections; NaN if there is no detection.
    """
    images = [judge(*image) for image in zip(found, objects, crowds)]
    all_images = Judged(*(np.concatenate([np.zeros(0), *column]) for column in zip(*images))) if images else _NOTHING
    before = _ap50(all_images, None)
    won = {name: _ap50(all_images, error) - before for error, name in enumerate(ERRORS)}
    # Interpolation can make it a little worse to leave out a wrong detection. That is no error below zero.
    return {**{name: float(np.maximum(value, 0)) for name, value in won.items()}, CALIBRATION: _calibration(all_images)}


def judge(found: ImageBoxes, objects: ImageBoxes, crowds: ImageBoxes) -> Judged:
    """Find the error of each detection of one image. Detections come back best first.

    Args:
        found (ImageBoxes): the detections.
        objects (ImageBoxes): the objects.
        crowds (ImageBoxes): regions of crowds.
    """
    order = np.argsort(-found.scores, kind='stable')
    boxes, classes, scores = (values[order] for values in found)
    overlap = iou(boxes, objects.boxes)  # (detections, objects), as all below
    same = classes[:, None] == objects.classes
    right, taken = _match(overlap * same)
    in_crowd = (iou(boxes, crowds.boxes, crowd=True) * (classes[:, None] == crowds.classes)).max(
        axis=1, initial=0
    ) >= IOU
    of_class, of_others = (overlap * each for each in (same, ~same))
    best, best_other, best_any = (each.max(axis=1, initial=0) for each in (of_class, of_others, overlap))
    errors = np.select(
        [
            right,
            in_crowd,
            (BACKGROUND_IOU <= best) & (best < IOU),
            best_other >= IOU,
            best >= IOU,
            best_any < BACKGROUND_IOU,
        ],
        [_RIGHT, _IGNORED, _LOCALISATION, _CLASSIFICATION, _DUPLICATE, _BACKGROUND],
        _BOTH,
    )
    repaired, missed = np.full(len(scores), -1), ~taken
    for error, values in ((_LOCALISATION, of_class), (_CLASSIFICATION, of_others)):
        for place in np.flatnonzero(errors == error):
            owner = values[place].argmax()
            if not taken[owner]:
                missed[owner] = False
                repaired[place] = owner
    # Only the best detection finds the object, whichever of the two errors it has.
    of_object = np.flatnonzero(repaired >= 0)
    first = of_object[np.unique(repaired[of_object], return_index=True)[1]]
    owners = repaired[first]
    repaired[:] = -1
    repaired[first] = objects.classes[owners]
    return Judged(scores, classes, errors, repaired, objects.classes, missed)


def _match(overlap: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """(n,) whether each detection finds an object, and (m,) whether each object is found.

    ``overlap`` (n, m) is their IoU, 0 between classes, best detection first."""
    right, taken = np.zeros(overlap.shape[0], bool), np.zeros(overlap.shape[1], bool)
    for place in np.flatnonzero(overlap.max(axis=1, initial=0) >= IOU):
        free = np.where(taken, 0, overlap[place])
        if free.max() >= IOU:
            right[place], taken[free.argmax()] = True, True
    return right, taken


def _ap50(judged: Judged, error: Optional[int]) -> float:
    """COCO's AP50 if an error is put right."""
    wrong = judged.errors == error
    kept = (judged.errors != _IGNORED) & ~(wrong & (judged.repaired < 0))
    classes = np.where(wrong, judged.repaired, judged.classes)[kept]
    right = ((judged.errors == _RIGHT) | wrong)[kept]
    scores = judged.scores[kept]
    counted = judged.objects[~judged.missed.astype(bool)] if error == _MISSED else judged.objects
    values: List[float] = []
    for class_, number in zip(*np.unique(counted, return_counts=True)):
        here = np.flatnonzero(classes == class_)
        hits = right[here[np.argsort(-scores[here], kind='stable')]]
        values.append(_average_precision(hits, number))
    return float(np.mean(values)) if values else float('nan')


def _average_precision(right: np.ndarray, number: int) -> float:
    """COCO's mean precision at 101 recalls. ``right`` (n,) is for each detection, best first."""
    if not len(right):
        return 0.0
    hits = np.cumsum(right)
    precision = np.maximum.accumulate((hits / np.arange(1, len(right) + 1))[::-1])[::-1]
    places = np.searchsorted(hits / number, np.linspace(0, 1, 101))
    return float(np.append(precision, 0)[places].mean())


def _calibration(judged: Judged) -> float:
    counts = judged.errors != _IGNORED
    scores, right = judged.scores[counts], (judged.errors == _RIGHT)[counts]
    if not len(scores):
        return float('nan')
    bins = np.minimum((scores * BINS).astype(int), BINS - 1)
    return float(np.abs(np.bincount(bins, scores - right)).sum() / len(scores))


_NOTHING = Judged(*np.zeros((6, 0)))
