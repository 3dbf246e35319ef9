"""Which detections were right on which image. Metrics on any resampling of the images need nothing else.

A bootstrap over the test images evaluates the same detections on thousands of samples of the images, drawn with
repetition. Detections are matched to objects image by image, so the matches stay the same and only the counts over
images change. [`Matches`][] keeps the matches as arrays that compress to a few kilobytes:

- ``about``: JSON with ``schema``, ``kind`` ('coco' or 'crowdhuman'), ``evaluated`` (a digest of annotations and
  images), ``images`` and ``categories`` (their numbers), and ``sets`` (the name prefix of each set of detections, such
  as 'with_nms/mask_')
- ``objects``: the image of each object to be found, category by category
- ``objects_per_category``: (categories,) the number of objects of each category
- ``images``: the image of each detection, category by category, best first. Equal scores are ordered by image, as in
  COCOeval
- ``per_category``: (categories,) the number of detections of each category
- ``member``: bit s is set if the detection belongs to set s
- ``right``: (detections, sets) bit t is set if the detection is right at the t-th IoU threshold
- ``ignored``: (detections, sets) bit t is set if the detection is ignored there. A detection that is ignored at all
  thresholds is not in the set
- ``tied``: True if a detection has the image and score of the one before, and one of those tied is right
- ``jaccard``: only for 'crowdhuman': (sets, 3, thresholds, images) k, m and n of the Jaccard index

Images are numbered from 0 in the order of the metric. Each is stored as the difference to the one before, modulo the
number of images, in bytes: (bytes, detections), all lowest bytes first. Three things make the file small and change no
metric. A detection that is found both without and with NMS, with the same box and mask, is stored once. Detections
after the last right one of their category are left out, because precision is read where recall rises. And the wrong
detections between two right ones, of which only the number matters, are sorted. Tied detections keep their places,
because copies of an image repeat them together.
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
    """The outcomes of one set of detections, as columns of equal length. Within a category, images are in order.

    Attributes:
        categories (ndarray): (n,) int, the index of the category of each detection.
        images (ndarray): (n,) int, the index of its image.
        scores (ndarray): (n,) float, its score.
        right (ndarray): (thresholds, n) bool, whether it is right at each IoU threshold.
        ignored (ndarray): (thresholds, n) bool, whether it is ignored there.
        objects (ndarray): (categories, images) int, the number of objects to be found.
    """

    categories: np.ndarray
    images: np.ndarray
    scores: np.ndarray
    right: np.ndarray
    ignored: np.ndarray
    objects: np.ndarray


class Matches:
    """Collects the outcomes of several sets of detections on the same images.

    Args:
        kind (str): 'coco' or 'crowdhuman'.
        ann_file (str): the annotation file.
        image_ids (sequence): the evaluated images, in order.
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
            prefix (str): prefix of the names of its metrics.
            outcomes (Outcomes): the outcomes of the detections.
            jaccard (ndarray, optional): (3, thresholds, images) int: k, m and n of the Jaccard index.
        """
        self._sets[prefix] = outcomes
        if jaccard is not None:
            self._jaccard.append(jaccard)

    def arrays(self) -> Dict[str, np.ndarray]:
        """The arrays to be stored, by name. The table at the top of this module describes them."""
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
        """Differences as (bytes, n). Neighbours are often near each other, so the higher bytes are nearly all equal."""
        differences = np.diff(images, prepend=0) % max(1, self._images)
        kind = np.min_scalar_type(self._images)
        rows = differences.astype(kind.newbyteorder('<')).view(np.uint8).reshape(-1, kind.itemsize)
        return np.ascontiguousarray(rows.T)


class _Union(NamedTuple):
    """The detections of all sets, each once: by category, best first, and then by image."""

    categories: np.ndarray
    images: np.ndarray
    tied: np.ndarray  # same image and score as the one before
    member: np.ndarray  # (n, sets) bool
    right: np.ndarray  # (n, sets) bits
    ignored: np.ndarray  # (n, sets) bits

    @property
    def matters(self) -> np.ndarray:
        """(n,) bool: whether the detection, or one that it is tied with, is right."""
        group = np.cumsum(~self.tied)
        return np.bincount(group, self.right.any(axis=1))[group] > 0

    def take(self, places: np.ndarray) -> '_Union':
        return _Union(*(column[places] for column in self))


def _union(sets: Sequence[Outcomes]) -> _Union:
    """Join the sets. Detections of two sets are the same if category, image and score are equal.

    If a set has several such detections, they are paired in order."""
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
    """Sort a set, without detections that are always ignored.

    Returns:
        tuple[ndarray, ndarray, ndarray]: (n, 4) keys, and the bits ``right`` and ``ignored``. A key is the number of
            equal detections before this one, its image, its negative score and its category.
    """
    order = np.lexsort((-outcomes.scores, outcomes.categories))
    order = order[~outcomes.ignored[:, order].all(axis=0)]
    keys = np.stack((outcomes.images, -outcomes.scores, outcomes.categories), axis=1)[order]
    same = np.append(False, (np.diff(keys, axis=0) == 0).all(axis=1))[: len(keys)]
    places = np.arange(len(keys))
    number = places - np.maximum.accumulate(np.where(same, 0, places))
    return np.column_stack((number, keys)), _bits(outcomes.right[:, order]), _bits(outcomes.ignored[:, order])


def _drop_wrong(found: _Union) -> _Union:
    """Drop the detections after the last one of their category that matters. Keep ``tied`` only where it matters."""
    matters = found.matters
    last = np.full(found.categories.max(initial=0) + 1, -1)
    np.maximum.at(last, found.categories[matters], np.flatnonzero(matters))
    kept = np.flatnonzero(np.arange(len(matters)) <= last[found.categories])
    return found._replace(tied=found.tied & matters).take(kept)


def _sorted(found: _Union) -> _Union:
    """Sort the detections between those that matter by their sets and images. Those that matter stay in place."""
    matters = found.matters
    member = found.member @ 2 ** np.arange(found.member.shape[1])
    return found.take(np.lexsort((found.images, member * ~matters, 2 * np.cumsum(matters) - matters)))


def _bits(rows: np.ndarray) -> np.ndarray:
    """(n,) numbers whose bit t is set where the t-th of the (T, n) rows is True."""
    kind = np.min_scalar_type(2 ** len(rows) - 1)
    return np.sum([row * kind.type(2**t) for t, row in enumerate(rows)], axis=0, dtype=kind)


def _small(numbers: np.ndarray) -> np.ndarray:
    """Non-negative whole numbers in the smallest type that holds them."""
    return numbers.astype(np.min_scalar_type(int(numbers.max(initial=0))))


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """Turn the garbage collector off, as a context or a decorator.

    An evaluation creates an object for each detection, which starts the collector again and again. It visits all
    objects of the process, half a million of them MMDetection's. On a small dataset that takes longer than the
    evaluation.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
