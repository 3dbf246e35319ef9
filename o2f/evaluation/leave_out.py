"""Metrics with one group of the test images left out: what they show of the noise that the choice of images adds.

The images are dealt into 100 groups in turns. Every metric is computed once without each group. This is the
delete-a-group jackknife: the spread of the 100 values gives the variance of the metric over the choice of images, and
their covariances with those of another run on the same images give the variance of a difference (docs/claims.md).

Detections are matched to objects image by image. So the matches stay the same, and only the counts over images change.
"""

import hashlib
import json
import warnings
from typing import Any, Dict, NamedTuple, Sequence

import numpy as np
from mmengine.fileio import get

GROUPS = 100
#: Recalls at which COCO takes the precision, and metrics of a single IoU threshold.
RECALLS = np.linspace(0, 1, 101)
OVERLAPS = {'AP50': 0.5, 'AP75': 0.75}


class LeftOut:
    """Collects metrics with each group of the images left out.

    Args:
        ann_file (str): the annotation file.
        image_ids (sequence): the evaluated images, in order.

    Attributes:
        groups (ndarray): (images,) the group of each image, from 0 to G - 1. There are ``GROUPS`` groups, or as many as
            there are images, if these are fewer.
        values (dict): (G + 1,) fractions by the metric's name. The last one leaves out nothing.
    """

    def __init__(self, ann_file: str, image_ids: Sequence) -> None:
        digest = hashlib.sha256(get(ann_file))
        digest.update(json.dumps([str(image) for image in image_ids]).encode())
        self._evaluated = digest.hexdigest()
        self.groups = np.arange(len(image_ids)) % GROUPS
        self.values: Dict[str, np.ndarray] = {}

    @property
    def record(self) -> Dict[str, Any]:
        """The values as plain types: ``evaluated`` (a digest of annotations and images), ``images`` (their number),
        ``metrics`` (with nothing left out), and ``left_out`` (by how many millionths the metric is higher without each
        group). Metrics that are undefined on all images are left out, and None stands for undefined values."""
        defined = {name: values for name, values in self.values.items() if np.isfinite(values[-1])}
        return dict(
            evaluated=self._evaluated,
            images=len(self.groups),
            metrics={name: float(values[-1]) for name, values in defined.items()},
            left_out={name: list(map(_millionths, values[:-1] - values[-1])) for name, values in defined.items()},
        )


def _millionths(difference: float) -> Any:
    return round(1e6 * difference) if np.isfinite(difference) else None


def indicators(groups: np.ndarray) -> np.ndarray:
    """(images, G + 1) int: 1 where an image belongs to a group. The last column, for no group, is 0."""
    return (groups[:, None] == np.arange(groups.max(initial=-1) + 2)).astype(int)


class Outcomes(NamedTuple):
    """The outcomes of one set of detections, as columns of equal length. Within a category, images are in order.

    Attributes:
        categories (ndarray): (n,) int, the index of the category of each detection.
        images (ndarray): (n,) int, the index of its image.
        scores (ndarray): (n,) float, its score.
        right (ndarray): (thresholds, n) bool, whether it is right at each IoU threshold.
        ignored (ndarray): (thresholds, n) bool, whether it is ignored there.
        objects (ndarray): (categories, images) int, the number of objects to be found.
        thresholds (ndarray): (thresholds,) float, the IoU thresholds.
    """

    categories: np.ndarray
    images: np.ndarray
    scores: np.ndarray
    right: np.ndarray
    ignored: np.ndarray
    objects: np.ndarray
    thresholds: np.ndarray


def coco(found: Outcomes, groups: np.ndarray) -> Dict[str, np.ndarray]:
    """COCO's metrics for objects of any size, with each group left out.

    Args:
        found (Outcomes): the detections.
        groups (ndarray): (images,) the group of each image.

    Returns:
        dict: AP, AR, and AP50 and AP75 if their thresholds are there. Each has (G + 1,) fractions, the last with
            nothing left out, or NaN if there is no object.
    """
    belongs = indicators(groups)
    objects = found.objects.sum(axis=1)[:, None] - found.objects @ belongs  # (categories, G + 1)
    average, recall = np.zeros((2, len(found.right), *objects.shape))
    order = np.lexsort((-found.scores, found.categories))
    starts = np.searchsorted(found.categories[order], np.arange(len(objects) + 1))
    for category, (start, end) in enumerate(zip(starts, starts[1:])):
        here = order[start:end]
        in_group = groups[found.images[here]]
        reached = _recalls_reached(objects[category])
        for t, (right, ignored) in enumerate(zip(found.right[:, here], found.ignored[:, here])):
            if right.any():
                values = _average_precision(right[~ignored], in_group[~ignored], reached)
                average[t, category], recall[t, category] = values
    with np.errstate(invalid='ignore'), warnings.catch_warnings():
        warnings.simplefilter('ignore', RuntimeWarning)  # the mean over no category, if there is no object at all
        average += 0 / objects  # a category without objects does not count
        rows = {name: np.isclose(found.thresholds, overlap) for name, overlap in OVERLAPS.items()}
        each = {name: np.nanmean(average[row], axis=(0, 1)) for name, row in rows.items() if row.any()}
        return dict(AP=np.nanmean(average, axis=(0, 1)), **each, AR=np.nanmean(recall / objects, axis=(0, 1)))


def _average_precision(right: np.ndarray, groups: np.ndarray, reached: np.ndarray) -> np.ndarray:
    """(2, G + 1) COCO's average precision, and the number of objects found, with each group left out.

    Args:
        right (ndarray): (n,) bool, whether each detection of a category is right, best first.
        groups (ndarray): (n,) the group of its image.
        reached (ndarray): see `_recalls_reached`.
    """
    number = len(reached)
    places = np.flatnonzero(right)
    upto = np.searchsorted(places, np.arange(len(right)))  # the first right detection at or after each
    before_last = upto < len(places)
    cells = upto[before_last] * number + groups[before_last]
    counted = np.bincount(cells, minlength=len(places) * number).reshape(-1, number).cumsum(axis=0)
    found = (groups[places][:, None] == np.arange(number)).cumsum(axis=0)
    counted = places[:, None] + 1 - counted
    found = np.arange(1, len(places) + 1)[:, None] - found
    # Where a right detection is left out itself, recall does not rise, so its precision is not read.
    best = np.maximum.accumulate((found / (counted + np.spacing(1)))[::-1], axis=0)[::-1]
    at = np.take(reached, found + reached.shape[1] * np.arange(number))
    return np.stack((np.einsum('ij,ij->j', best, np.diff(at, axis=0, prepend=0)) / len(RECALLS), found[-1]))


def _recalls_reached(objects: np.ndarray) -> np.ndarray:
    """(G + 1, most objects + 2) how many of COCO's recalls are reached with a number of found objects.

    Recall 0 is reached with the first object.

    Args:
        objects (ndarray): (G + 1,) number of objects.
    """
    total = np.maximum(objects, 1)[:, None]
    needed = np.ceil(RECALLS * total)
    needed -= (needed - 1) / total >= RECALLS  # a product may be rounded up past an integer
    needed += needed / total < RECALLS
    width = objects.max() + 2
    flat = np.arange(len(objects))[:, None] * width + np.clip(needed, 1, width - 1).astype(int)
    return np.bincount(flat.ravel(), minlength=width * len(objects)).reshape(-1, width).cumsum(axis=1)
