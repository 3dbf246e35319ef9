"""Which detections were right on which image: all that the metrics of any resampling of the images depend on.

A bootstrap over the test images evaluates the same detections on thousands of samples of the images, drawn with
repetition. Detections are matched to objects image by image, so the matches stay as they are, and only what is counted
over the images changes. :class:`Matches` keeps that and no more, as arrays that compress to a few kilobytes:

====================  =================================================================================================
about                 JSON: ``schema``, ``kind`` ('coco' or 'crowdhuman'), ``evaluated`` (a digest of the annotations
                      and the images), ``images`` and ``categories`` (how many), ``sets`` (what the names of the metrics
                      of each set of detections begin with, such as 'with_nms/mask_')
objects               image of each object to be found, category by category
objects_per_category  (categories,) how many of them belong to each
images                image of each detection: category by category, best first; equal scores stand in the order of
                      their images, as they do for COCOeval
per_category          (categories,) how many detections belong to each
member                bit s is set where the detection belongs to set s
right                 (detections, sets) bit t is set where it is right at the t-th overlap that is asked for
ignored               (detections, sets) bit t is set where it is ignored there; where it is ignored at all overlaps it
                      is not in the set
tied                  True where a detection has image and score of the one before, and one of those tied is right
jaccard               'crowdhuman' alone: (sets, 3, thresholds, images) k, m and n of the Jaccard index
====================  =================================================================================================

Images are numbered from 0 in the order in which the metric takes them, and stored as differences to the one before,
modulo their number, in bytes: (bytes, detections), the lowest byte of all of them first. Three things make the file
small and change no metric. What both readings found, with its box and its mask, is one detection. Those after the last
right one of their category are left out, as precision is read where recall rises. And between two right ones the wrong
ones, which only count there, are sorted. Tied detections keep their places, as copies of an image repeat them together.
"""

import contextlib
import gc
import hashlib
import json
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

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
        self._images = len(image_ids)
        self._about = dict(schema=SCHEMA, kind=kind, evaluated=digest.hexdigest(), images=self._images)
        self._sets: Dict[str, Outcomes] = {}
        self._jaccard: List[np.ndarray] = []

    def add(self, prefix: str, outcomes: Outcomes, jaccard: Optional[np.ndarray] = None) -> None:
        """Add a set of detections.

        Args:
            prefix (str): what the names of its metrics begin with.
            outcomes (Outcomes): what became of them.
            jaccard (ndarray, optional): (3, thresholds, images) int, k, m and n of the Jaccard index.
        """
        self._sets[prefix] = outcomes
        if jaccard is not None:
            self._jaccard.append(jaccard)

    def arrays(self) -> Dict[str, np.ndarray]:
        """What is to be stored, by name; see the top of this file."""
        sets = list(self._sets.values())
        objects = sets[0].objects
        found = _sorted(_drop_wrong(_union(sets)))
        arrays = dict(
            about=np.array(json.dumps(dict(self._about, categories=len(objects), sets=list(self._sets)))),
            objects=self._differences(np.concatenate([np.repeat(np.arange(len(row)), row) for row in objects])),
            objects_per_category=_small(objects.sum(axis=1)),
            images=self._differences(found.images),
            per_category=_small(np.bincount(found.categories, minlength=len(objects))),
            member=_small(found.member @ 2 ** np.arange(len(sets))),
            right=found.right,
            ignored=found.ignored,
            tied=found.tied,
        )
        if self._jaccard:
            arrays['jaccard'] = _small(np.stack(self._jaccard))
        return arrays

    def _differences(self, images: np.ndarray) -> np.ndarray:
        """(bytes, n); neighbours are often near each other, and the higher bytes are nearly all alike."""
        differences = np.diff(images, prepend=0) % max(1, self._images)
        kind = np.min_scalar_type(self._images)
        rows = differences.astype(kind.newbyteorder('<')).view(np.uint8).reshape(-1, kind.itemsize)
        return np.ascontiguousarray(rows.T)


class _Union(NamedTuple):
    """The detections of all sets, each once, category by category, best first, images in their order."""

    categories: np.ndarray
    images: np.ndarray
    tied: np.ndarray  # image and score are those of the one before
    member: np.ndarray  # (n, sets) bool
    right: np.ndarray  # (n, sets) bits
    ignored: np.ndarray  # (n, sets) bits

    @property
    def matters(self) -> np.ndarray:
        """(n,) bool, whether one is right, or one that it is tied with."""
        group = np.cumsum(~self.tied)
        return np.bincount(group, self.right.any(axis=1))[group] > 0

    def take(self, places: np.ndarray) -> '_Union':
        return _Union(*(column[places] for column in self))


def _union(sets: Sequence[Outcomes]) -> _Union:
    """A detection is the same in two sets where category, image and score are; of several such in one set, the first is
    the first."""
    parts = [_in_order(each) for each in sets]
    keys = np.concatenate([part[0] for part in parts])
    order = np.lexsort(keys.T)
    fresh = np.append(True, (np.diff(keys[order], axis=0) != 0).any(axis=1))[: len(keys)]
    place = np.empty(len(keys), int)
    place[order] = np.cumsum(fresh) - 1
    keys = keys[order][fresh]
    shape, kind = (len(keys), len(sets)), parts[0][1].dtype
    member, right, ignored = np.zeros(shape, bool), np.zeros(shape, kind), np.zeros(shape, kind)
    start = 0
    for i, (part, of_right, of_ignored) in enumerate(parts):
        here = place[start : start + len(part)]
        member[here, i], right[here, i], ignored[here, i] = True, of_right, of_ignored
        start += len(part)
    number, images, _, categories = keys.T
    return _Union(categories.astype(int), images.astype(int), number > 0, member, right, ignored)


def _in_order(outcomes: Outcomes) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n, 4) how many of the same score the image has before, image, negative score, category; bits right, ignored."""
    order = np.lexsort((-outcomes.scores, outcomes.categories))
    order = order[~outcomes.ignored[:, order].all(axis=0)]
    keys = np.stack((outcomes.images, -outcomes.scores, outcomes.categories), axis=1)[order]
    same = np.append(False, (np.diff(keys, axis=0) == 0).all(axis=1))[: len(keys)]
    places = np.arange(len(keys))
    number = places - np.maximum.accumulate(np.where(same, 0, places))
    return np.column_stack((number, keys)), _bits(outcomes.right[:, order]), _bits(outcomes.ignored[:, order])


def _drop_wrong(found: _Union) -> _Union:
    """Without what comes after the last of its category that matters; ``tied`` is kept where it does."""
    matters = found.matters
    last = np.full(found.categories.max(initial=0) + 1, -1)
    np.maximum.at(last, found.categories[matters], np.flatnonzero(matters))
    kept = np.flatnonzero(np.arange(len(matters)) <= last[found.categories])
    return found._replace(tied=found.tied & matters).take(kept)


def _sorted(found: _Union) -> _Union:
    """What matters stays in its place; what lies between two of those is sorted by its sets and images."""
    matters = found.matters
    member = found.member @ 2 ** np.arange(found.member.shape[1])
    return found.take(np.lexsort((found.images, member * ~matters, 2 * np.cumsum(matters) - matters)))


def _bits(rows: np.ndarray) -> np.ndarray:
    """(n,) bit t is set where (t, n) rows are True."""
    kind = np.min_scalar_type(2 ** len(rows) - 1)
    return np.sum([row * kind.type(2**t) for t, row in enumerate(rows)], axis=0, dtype=kind)


def _small(numbers: np.ndarray) -> np.ndarray:
    """The same whole numbers from 0 in the smallest type that holds them."""
    return numbers.astype(np.min_scalar_type(int(numbers.max(initial=0))))


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """No search for cycles within; also a decorator.

    An object for each of many detections sets it off again and again. It goes through all objects of the process,
    MMDetection's own half a million among them, and on a small dataset takes longer than the evaluation.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
