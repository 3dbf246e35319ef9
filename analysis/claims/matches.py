"""Reads ``matches.npz``: which detections of a run were right on which image (format: o2f/evaluation/matches.py)."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Dict, List, Literal, Optional, Tuple

import numpy as np
from pydantic import Field, StrictInt, StrictStr

from analysis.claims.resample import COCO, CROWDHUMAN, MatchedDetections, coco, crowdhuman
from experiments.store.files import read_arrays
from experiments.store.model import Stored, parse

_KINDS = {'coco': (coco, COCO), 'crowdhuman': (crowdhuman, CROWDHUMAN)}


class About(Stored):
    """The metadata of a file of matches (o2f/evaluation/matches.py)."""

    schema_: Literal[1] = Field(alias='schema')
    kind: Literal['coco', 'crowdhuman']
    evaluated: StrictStr
    images: Annotated[StrictInt, Field(ge=0)]
    categories: Annotated[StrictInt, Field(ge=0)]
    sets: Tuple[StrictStr, ...]


@dataclass(frozen=True)
class StoredMatches:
    """The matches of one run.

    Attributes:
        kind (str): 'coco' or 'crowdhuman'.
        evaluated (str): a digest of annotations and images. Two runs with the same digest can be resampled together.
        images (int): number of images.
        sets (dict): the detections, by the prefix of their metrics' names.
    """

    kind: str
    evaluated: str
    images: int
    sets: Dict[str, MatchedDetections]

    @property
    def keys(self) -> List[str]:
        """The keys of the metrics that can be computed, as in a result."""
        return [prefix + name for prefix in self.sets for name in _KINDS[self.kind][1]]

    def prefix(self, key: str) -> str:
        """The set of detections that a metric belongs to."""
        return next(prefix for prefix in self.sets if key in [prefix + name for name in _KINDS[self.kind][1]])

    def metrics(self, prefix: str, drawn: np.ndarray) -> Dict[str, np.ndarray]:
        """The metrics of one set of detections on samples of the images.

        Args:
            prefix (str): the set.
            drawn (ndarray): (samples, images) int, how often each image was drawn.

        Returns:
            dict: (samples,) fractions by full key, NaN if not defined.
        """
        values = _KINDS[self.kind][0](self.sets[prefix], drawn)
        return {prefix + name: value for name, value in values.items()}

    def check(self, metrics: Dict[str, Optional[float]]) -> None:
        """Raise a ValueError unless the matches give these metrics, which are those of the run's result."""
        once = np.ones((1, self.images), int)
        for prefix in self.sets:
            for key, [value] in self.metrics(prefix, once).items():
                stored = metrics.get(key)
                expected = np.nan if stored is None else stored
                if not np.isclose(value, expected, rtol=0, atol=1e-9, equal_nan=True):
                    raise ValueError(f'gives {key} {value:.6f}, but the result has {expected:.6f}: of another run')


def load_matches(path: Path) -> StoredMatches:
    """Read a file.

    Raises:
        ValueError: it cannot be read or is not a file of matches.
    """
    try:
        arrays = read_arrays(path)
    except FileNotFoundError as error:
        raise ValueError('cannot be read (it is missing)') from error
    try:
        about = json.loads(str(arrays['about']))
        return _matches(parse(About, about), arrays)
    except (KeyError, IndexError, TypeError, AttributeError, OverflowError, RecursionError, MemoryError) as error:
        raise ValueError(f'does not hold matches ({error})') from error


def _matches(about: About, arrays: Dict[str, np.ndarray]) -> StoredMatches:
    names, categories, images = about.sets, about.categories, about.images
    per_category = _whole(arrays, 'per_category', (categories,))
    per_object_category = _whole(arrays, 'objects_per_category', (categories,))
    number = int(per_category.sum())
    image = _images(arrays, 'images', number, images)
    objects = _images(arrays, 'objects', int(per_object_category.sum()), images)
    member, tied = (_whole(arrays, name, (number,)) for name in ('member', 'tied'))
    right, ignored = (_whole(arrays, name, (number, len(names))) for name in ('right', 'ignored'))
    jaccard: List[Optional[np.ndarray]] = [None] * len(names)
    if about.kind == 'crowdhuman':
        jaccard = list(_whole(arrays, 'jaccard', (len(names), 3, arrays['jaccard'].shape[2], images)))
    category = np.repeat(np.arange(categories), per_category)
    category_of_object = np.repeat(np.arange(categories), per_object_category)
    _check_right(category * images + image, right, category_of_object * images + objects)
    group = np.cumsum(tied == 0)
    sets = {}
    for i, name in enumerate(names):
        here = np.flatnonzero(member >> i & 1)
        sets[name] = MatchedDetections(
            images=image[here],
            right=right[here, i],
            ignored=ignored[here, i],
            tied=np.diff(group[here], prepend=-1) == 0,
            per_category=np.bincount(category[here], minlength=categories),
            objects=objects,
            objects_per_category=per_object_category,
            jaccard=jaccard[i],
        )
    return StoredMatches(about.kind, about.evaluated, images, sets)


def _check_right(places: np.ndarray, right: np.ndarray, objects: np.ndarray) -> None:
    """Raise a ValueError if an image has more right detections of a category than objects.

    Args:
        places (ndarray): (n,) category and image of each detection as one number.
        right (ndarray): (n, sets) bits.
        objects (ndarray): category and image of each object.
    """
    number = 1 + max(places.max(initial=0), objects.max(initial=0))
    there = np.bincount(objects, minlength=number)
    for bits in right.T:
        for t in range(10):
            if (np.bincount(places[bits >> t & 1 == 1], minlength=number) > there).any():
                raise ValueError('right has more detections than there are objects')


def _whole(arrays: Dict[str, np.ndarray], name: str, shape: tuple) -> np.ndarray:
    """An array of non-negative integers or booleans, as int64."""
    array = arrays[name]
    if array.shape != shape or array.dtype.kind not in 'iub' or array.dtype.kind == 'i' and (array < 0).any():
        raise ValueError(f'{name} must be {shape} whole numbers from 0, not {array.shape} of {array.dtype}')
    return array.astype(np.int64)


def _images(arrays: Dict[str, np.ndarray], name: str, number: int, images: int) -> np.ndarray:
    """Image numbers from the stored differences."""
    rows = _whole(arrays, name, (len(arrays[name]), number))
    differences = (rows << 8 * np.arange(len(rows))[:, None]).sum(axis=0)
    if (rows > 255).any() or (differences >= images).any():
        raise ValueError(f'{name} must be bytes of images from 0 to {images - 1}')
    return np.cumsum(differences) % max(1, images)
