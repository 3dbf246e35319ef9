"""Which detections were right on which image: all that the metrics of any resampling of the images depend on.

A bootstrap over the test images evaluates the same detections on thousands of samples of the images, drawn with
repetition. Detections are matched to objects image by image, so the matches stay as they are, and only what is counted
over the images changes. :class:`Matches` keeps that and no more, as arrays that compress to a few kilobytes:

====================  =================================================================================================
about                 JSON: ``schema``, ``kind`` ('coco' or 'crowdhuman'), ``evaluated`` (a digest of the annotations
                      and the images), ``images`` and ``categories`` (how many), ``sets`` (the prefix of the metrics
                      of each set of detections, such as 'with_nms/mask\\_')
objects               image of each object to be found, category by category
objects_per_category  (categories,) how many of them belong to each
images                image of each detection: set by set, category by category, best first; equal scores stand in the
                      order of their images, as they do for COCOeval
right                 bit t is set where the detection is right at the t-th overlap that is asked for
ignored               bit t is set where it is ignored there (and left out where it is ignored at all of them)
tied                  True where a detection has image and score of the one before, and one of those tied is right
per_category          (sets, categories) how many detections belong to each
jaccard               'crowdhuman' alone: (sets, 3, thresholds, images) k, m and n of the Jaccard index
====================  =================================================================================================

Images are numbered from 0 in the order in which the metric takes them, and stored as differences to the one before,
modulo what their type holds. Two things make the file small and change no metric: detections after the last right one
of their category are left out, as precision is read where recall rises; and between two right ones the wrong ones,
which only count there, stand in the order of their images. Tied detections keep their places, as copies of an image
repeat them together.
"""

import hashlib
import json
from typing import Dict, List, NamedTuple, Optional, Sequence

import numpy as np
from mmengine.fileio import get

SCHEMA = 1


class Outcomes(NamedTuple):
    """What became of the detections of one set, as columns of one length, images in their order within each category.

    Attributes:
        categories (ndarray): (n,) int, the category of each as an index.
        images (ndarray): (n,) int, its image as an index.
        scores (ndarray): (n,) float.
        right (ndarray): (overlaps, n) bool, whether it is right where so much overlap is asked for.
        ignored (ndarray): (overlaps, n) bool, whether it is ignored there.
        objects (ndarray): (categories, images) int, how many objects there are to be found.
    """

    categories: np.ndarray
    images: np.ndarray
    scores: np.ndarray
    right: np.ndarray
    ignored: np.ndarray
    objects: np.ndarray


class _Stored(NamedTuple):
    """The detections of a set that are kept, in the order in which they are stored."""

    categories: np.ndarray
    images: np.ndarray
    right: np.ndarray
    ignored: np.ndarray
    tied: np.ndarray


class Matches:
    """Collects sets of detections on the same images.

    Args:
        kind (str): 'coco' or 'crowdhuman'.
        ann_file (str): the annotations.
        image_ids (sequence): the images that were evaluated, in order.
    """

    def __init__(self, kind: str, ann_file: str, image_ids: Sequence) -> None:
        digest = hashlib.sha256(get(ann_file))
        digest.update(json.dumps([str(image) for image in image_ids]).encode())
        self._about = dict(schema=SCHEMA, kind=kind, evaluated=digest.hexdigest(), images=len(image_ids))
        self._sets: Dict[str, _Stored] = {}
        self._objects: Optional[np.ndarray] = None
        self._jaccard: List[np.ndarray] = []

    def add(self, prefix: str, outcomes: Outcomes, jaccard: Optional[np.ndarray] = None) -> None:
        """Add a set of detections.

        Args:
            prefix (str): what the names of its metrics begin with.
            outcomes (Outcomes): what became of them.
            jaccard (ndarray, optional): (3, thresholds, images) int, k, m and n of the Jaccard index.
        """
        self._sets[prefix] = _stored(outcomes)
        self._objects = outcomes.objects
        if jaccard is not None:
            self._jaccard.append(jaccard)

    def arrays(self) -> Dict[str, np.ndarray]:
        """What is to be stored, by name; see the top of this file."""
        categories = len(self._objects)
        columns = _Stored(*map(np.concatenate, zip(*self._sets.values())))
        arrays = dict(
            about=np.array(json.dumps(dict(self._about, categories=categories, sets=list(self._sets)))),
            objects=self._differences(np.concatenate([np.repeat(np.arange(len(row)), row) for row in self._objects])),
            objects_per_category=self._objects.sum(axis=1),
            images=self._differences(columns.images),
            right=columns.right,
            ignored=columns.ignored,
            tied=columns.tied,
            per_category=np.stack([np.bincount(each.categories, minlength=categories) for each in self._sets.values()]),
        )
        if self._jaccard:
            arrays['jaccard'] = _small(np.stack(self._jaccard))
        return arrays

    def _differences(self, images: np.ndarray) -> np.ndarray:
        """Neighbours are often near each other, and unsigned numbers run over as they must."""
        kind = np.min_scalar_type(self._about['images'])
        return np.diff(images.astype(kind), prepend=kind.type(0))


def _stored(outcomes: Outcomes) -> _Stored:
    order = np.lexsort((-outcomes.scores, outcomes.categories))
    order = order[~outcomes.ignored[:, order].all(axis=0)]
    categories, images, scores = (column[order] for column in outcomes[:3])
    right, ignored = (_bits(rows[:, order]) for rows in (outcomes.right, outcomes.ignored))
    tied = np.zeros(len(order), bool)
    tied[1:] = (np.diff(categories) == 0) & (np.diff(images) == 0) & (scores[1:] == scores[:-1])
    group = np.cumsum(~tied)
    matters = np.bincount(group, right > 0)[group] > 0  # it is right, or one is that it is tied with
    last = np.full(len(outcomes.objects), -1)
    np.maximum.at(last, categories[matters], np.flatnonzero(matters))
    kept = np.arange(len(order)) <= last[categories]
    columns = _Stored(*(column[kept] for column in (categories, images, right, ignored, tied & matters)))
    # What matters stays in its place; what lies between two of those is sorted by image.
    place = 2 * np.cumsum(matters[kept]) - matters[kept]
    order = np.lexsort((columns.images, place))
    return _Stored(*(column[order] for column in columns))


def _bits(rows: np.ndarray) -> np.ndarray:
    """(n,) bit t is set where (t, n) rows are True."""
    kind = np.min_scalar_type(2 ** len(rows) - 1)
    return np.sum([row * kind.type(2**t) for t, row in enumerate(rows)], axis=0, dtype=kind)


def _small(numbers: np.ndarray) -> np.ndarray:
    """The same whole numbers from 0 in the smallest type that holds them."""
    return numbers.astype(np.min_scalar_type(int(numbers.max(initial=0))))
