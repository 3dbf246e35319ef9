"""The metrics of COCO and of CrowdHuman on resampled test images. Each image counts as often as it was drawn.

The result equals an evaluation of copied images, in which copies with equal scores are adjacent. Detections are not
matched again; only the counts are computed anew. Arrays are laid out as (detections, samples).
"""

import warnings
from dataclasses import dataclass
from typing import Dict, List, Optional, Tuple

import numpy as np
from scipy.sparse import csr_array

#: Recalls at which COCO takes the precision; metrics of a single IoU threshold, and its index among COCO's ten.
RECALLS = np.linspace(0, 1, 101)
OVERLAPS = {'AP50': 0, 'AP75': 5}
COCO = ('AP', 'AP50', 'AP75', 'AR')
CROWDHUMAN = ('AP', 'mMR', 'recall', 'JI')
#: False positives per image at which the log-average miss rate takes the miss rate.
WRONG_PER_IMAGE = np.array([0.01, 0.0178, 0.0316, 0.0562, 0.1, 0.1778, 0.3162, 0.5623, 1.0])
#: The most numbers in an array that is computed at once. Allocating larger arrays is slow.
_ELEMENTS = 16384


@dataclass(frozen=True)
class MatchedDetections:
    """One set of detections that were matched to objects.

    Attributes:
        images (ndarray): (n,) int, the image of each, category by category, best first.
        right (ndarray): (n,) int, bit t is set if the detection is right at the t-th IoU threshold.
        ignored (ndarray): (n,) int, bit t is set if it is ignored there.
        tied (ndarray): (n,) bool, whether it has the image and the score of the previous one.
        per_category (ndarray): (categories,) int, number of detections of each.
        objects (ndarray): image of each object, category by category.
        objects_per_category (ndarray): (categories,) int.
        jaccard (ndarray, optional): (3, thresholds, images) int, k, m and n of CrowdHuman's Jaccard index.
    """

    images: np.ndarray
    right: np.ndarray
    ignored: np.ndarray
    tied: np.ndarray
    per_category: np.ndarray
    objects: np.ndarray
    objects_per_category: np.ndarray
    jaccard: Optional[np.ndarray] = None


def coco(found: MatchedDetections, drawn: np.ndarray) -> Dict[str, np.ndarray]:
    """COCO's metrics for objects of any size.

    Args:
        found (MatchedDetections): the detections.
        drawn (ndarray): (samples, images) int, how often each image was drawn.

    Returns:
        dict: the metrics of ``COCO``, each (samples,) fractions, NaN if a sample has no object.
    """
    found, counts = _untied(found, np.ascontiguousarray(drawn.T, dtype=np.int32))
    precision, recall = [], []  # (IoU thresholds, samples) of each category that has objects in some sample
    for here, of_category in zip(_ranges(found.per_category), _ranges(found.objects_per_category)):
        objects = counts[found.objects[of_category]].sum(axis=0)
        if objects.any():
            values = _category(found.images[here], found.right[here], found.ignored[here], counts, objects)
            precision.append(values[0])
            recall.append(values[1])
    if not precision:
        return {name: np.full(len(drawn), np.nan) for name in COCO}
    average, last = np.stack(precision), np.stack(recall)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', RuntimeWarning)  # mean of an empty slice, if a sample has no object at all
        each = {name: np.nanmean(average[:, t], axis=0) for name, t in OVERLAPS.items()}
        return dict(AP=np.nanmean(average, axis=(0, 1)), **each, AR=np.nanmean(last, axis=(0, 1)))


def _category(
    images: np.ndarray, right: np.ndarray, ignored: np.ndarray, counts: np.ndarray, objects: np.ndarray
) -> Tuple[np.ndarray, np.ndarray]:
    """(IoU thresholds, samples) average precision and final recall of one category, NaN if it has no objects.

    Args:
        images, right, ignored (ndarray): (n,) see :class:`MatchedDetections`.
        counts (ndarray): (images, samples) how often each image was drawn.
        objects (ndarray): (samples,) number of objects.
    """
    places = np.flatnonzero(right)
    upto = _steps(images, places, np.ones(len(images), bool), len(counts))
    at = {t: ignored >> t & 1 == 1 for t in range(10)}
    left_out = {t: _steps(images, places, at[t], len(counts)) for t in at if at[t].any()}
    right, images = right[places], images[places]
    precision, recall = np.zeros((2, 10, len(objects)))
    at_once = max(8, _ELEMENTS // max(1, len(places)))
    for i in range(0, len(objects), at_once):
        part = slice(i, i + at_once)
        some = np.ascontiguousarray(counts[:, part])
        own, counted, recalls = some[images], np.cumsum(upto @ some, axis=0), _recalls_reached(objects[part])
        for t in range(10):
            rows = np.flatnonzero(right >> t & 1)
            if len(rows):
                found, below = np.cumsum(own[rows], axis=0), counted[rows]
                if t in left_out:
                    below -= np.cumsum(left_out[t] @ some, axis=0)[rows]
                precision[t, part] = _average_precision(found, below, recalls)
                recall[t, part] = found[-1]
    with np.errstate(invalid='ignore'):
        return precision + 0 / objects, recall / objects


def _steps(images: np.ndarray, places: np.ndarray, kept: np.ndarray, number: int) -> csr_array:
    """(places, number of images) ``kept`` detections of each image, after the previous place and up to each place."""
    rows = np.searchsorted(places, np.flatnonzero(kept))
    columns = images[kept][rows < len(places)]
    rows = rows[rows < len(places)]
    ends = np.searchsorted(rows, np.arange(len(places) + 1))
    return csr_array((np.ones(len(columns), np.int32), columns, ends), shape=(len(places), number))


def _recalls_reached(objects: np.ndarray) -> np.ndarray:
    """(samples, most objects + 2) the number of COCO's recalls that are reached with a number of found objects.

    Recall 0 is reached with the first object.

    Args:
        objects (ndarray): (samples,) number of objects.
    """
    total = np.maximum(objects, 1)[:, None]
    needed = np.ceil(RECALLS * total)
    needed -= (needed - 1) / total >= RECALLS  # a product may be rounded up past an integer
    needed += needed / total < RECALLS
    width = objects.max() + 2
    flat = np.arange(len(objects))[:, None] * width + np.clip(needed, 1, width - 1).astype(int)
    there = np.bincount(flat.ravel(), minlength=width * len(objects)).reshape(-1, width)
    return np.cumsum(there, axis=1, dtype=np.uint8)


def _average_precision(found: np.ndarray, counted: np.ndarray, recalls: np.ndarray) -> np.ndarray:
    """(samples,) COCO's average precision.

    Each copy of a right detection raises recall, and precision is highest after the last copy. So at these recalls, the
    interpolated precision is that after the last copy, or a higher one of a later detection.

    Args:
        found (ndarray): (n, samples) number of right detections up to each right one, its own copies included.
        counted (ndarray): (n, samples) number of detections up to there that are not ignored.
        recalls (ndarray): see :func:`_recalls_reached`.
    """
    precision = found / (counted + np.spacing(1))
    best = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    reached = np.take(recalls, found + recalls.shape[1] * np.arange(len(recalls)))
    reached[1:] -= reached[:-1].copy()
    return np.einsum('ij,ij->j', best, reached) / len(RECALLS)


def crowdhuman(found: MatchedDetections, drawn: np.ndarray) -> Dict[str, np.ndarray]:
    """CrowdHuman's metrics, with the names of ``CROWDHUMAN``. Arguments and result are as in :func:`coco`."""
    here, counts = _untied(found, np.ascontiguousarray(drawn.T, dtype=np.int32))
    places = np.flatnonzero(here.right)
    upto = _steps(here.images, places, np.ones(len(here.images), bool), len(counts))
    people, images = drawn[:, found.objects].sum(axis=1), drawn.sum(axis=1)
    curves = np.empty((len(drawn), 3))
    for i in range(0, len(drawn), 50):
        some = np.ascontiguousarray(counts[:, i : i + 50])
        own = some[here.images[places]]
        wrong = np.cumsum(upto @ some - own, axis=0)
        for j, (times, before) in enumerate(zip(own.T, wrong.T), i):
            curves[j] = _curve(np.repeat(before, times), people[j], images[j])
    return dict(zip(CROWDHUMAN, curves.T), JI=_jaccard_index(found, drawn))


def _curve(wrong: np.ndarray, people: int, images: int) -> Tuple[float, float, float]:
    """AP, mMR and recall, from the number of wrong detections before each right one, best first.

    AP is the area under the polyline through the precision-recall points of all detections, from the first one on.
    """
    if not people:
        return np.nan, np.nan, np.nan
    found = np.arange(1, len(wrong) + 1)
    number = found + wrong
    heights = (found / number)[number > 1] + ((found - 1)[number > 1] / (number - 1)[number > 1])
    # The number of wrong detections that ends each list. The right ones before that count as found.
    allowed = np.ceil(np.multiply(WRONG_PER_IMAGE, images))
    allowed -= (allowed - 1) / images >= WRONG_PER_IMAGE
    allowed += allowed / images < WRONG_PER_IMAGE
    with np.errstate(divide='ignore'):  # a miss rate of 0
        miss_rate = np.exp(np.log(1 - np.searchsorted(wrong, allowed) / people).mean())
    return heights.sum() / 2 / people, miss_rate, len(wrong) / people


def _jaccard_index(found: MatchedDetections, drawn: np.ndarray) -> np.ndarray:
    assert found.jaccard is not None  # CrowdHuman's matches have it
    k, m, n = found.jaccard
    with np.errstate(invalid='ignore', divide='ignore'):  # not defined for a threshold without any box
        ratios = drawn @ (k / (m + n - k + 1e-6)).T / (drawn @ ((m > 0) | (n > 0)).T)
    index = np.where(np.isnan(ratios), -np.inf, ratios).max(axis=1)
    people = drawn[:, found.objects].sum(axis=1)
    return np.where((people > 0) & (index >= 0), index, np.nan)


def _ranges(lengths: np.ndarray) -> List[slice]:
    ends = np.cumsum(lengths)
    return [slice(end - length, end) for length, end in zip(lengths, ends)]


def _untied(found: MatchedDetections, drawn: np.ndarray) -> Tuple[MatchedDetections, np.ndarray]:
    """Repeat detections of one image with equal scores as an evaluation of copied images orders them.

    With copies, all tied detections of the first copy come first, then all of the second, and so on. Each copy gets a
    row of its own in the counts.

    Args:
        found (MatchedDetections): the detections.
        drawn (ndarray): (images, samples) how often each image was drawn.

    Returns:
        tuple: detections whose ``images`` are rows of the counts, and (rows, samples) counts.
    """
    if not found.tied.any():
        return found, drawn
    copies = max(1, drawn.max())
    together = found.tied | np.append(found.tied[1:], False)
    first = np.maximum.accumulate(np.where(found.tied, 0, np.arange(len(found.tied))))
    members = np.flatnonzero(together)
    source = np.concatenate((np.flatnonzero(~together), np.repeat(members, copies)))
    copy = np.concatenate((np.zeros(len(found.tied) - len(members), int), np.tile(np.arange(copies), len(members))))
    order = np.lexsort((source, copy, first[source]))
    source, copy = source[order], copy[order]
    images, place = np.unique(found.images[members], return_inverse=True)
    row = np.zeros(len(found.tied), int)
    row[members] = len(drawn) + place * copies
    of_copies = (drawn[images][:, None] > np.arange(copies)[:, None]).reshape(-1, drawn.shape[1])
    category = np.repeat(np.arange(len(found.per_category)), found.per_category)[source]
    untied = MatchedDetections(
        images=np.where(together[source], row[source] + copy, found.images[source]),
        right=found.right[source],
        ignored=found.ignored[source],
        tied=np.zeros(len(source), bool),
        per_category=np.bincount(category, minlength=len(found.per_category)),
        objects=found.objects,
        objects_per_category=found.objects_per_category,
    )
    return untied, np.concatenate((drawn, of_copies.astype(drawn.dtype)))
