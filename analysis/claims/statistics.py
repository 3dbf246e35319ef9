"""How sure a difference is: bootstraps over trainings and test images, intervals, seeds that would settle it."""

import math
from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache
from typing import Dict, Iterable, List, Optional, Sequence, Tuple

import numpy as np
from scipy.stats import bootstrap
from scipy.stats import t as student

from analysis.claims.matches import Matches

#: A cell shows the noise of its training from so many seeds on.
ENOUGH_SEEDS = 3
#: What the shown intervals cover.
CONFIDENCE = 0.95
_MANY = 1000


@dataclass(frozen=True)
class Trainings:
    """The trainings of one side of a comparison, or of both where they are the same.

    Attributes:
        number (int): how many there are.
        variance (float, optional): of the value of one training, None where it is not known.
        freedom (int): degrees of freedom of that variance.
    """

    number: int
    variance: Optional[float]
    freedom: int


@dataclass(frozen=True)
class Difference:
    """A difference and what is known of its error.

    Attributes:
        effect (float): the left side less the right side.
        trainings (sequence): one entry where both sides are the same trainings, else one for each.
        image_error (float, optional): its standard error over test images, None where there are no matches.
        images (int): how many images those are.
    """

    effect: float
    trainings: Sequence[Trainings]
    image_error: Optional[float]
    images: int

    @property
    def training_error(self) -> Optional[float]:
        """The standard error over trainings; None where nothing is known of one of them."""
        known = [each.variance / each.number for each in self.trainings if each.variance is not None]
        return math.sqrt(sum(known)) if len(known) == len(self.trainings) else None

    def interval(self, confidence: float = CONFIDENCE) -> Optional[Tuple[float, float]]:
        """Student's interval with the errors that are known; None where none is."""
        half = self._half_width(confidence, [each.number for each in self.trainings])
        return None if half is None else (self.effect - half, self.effect + half)

    def seeds_to_settle(self, confidence: float) -> Optional[int]:
        """With how many seeds per cell, all in all, the interval would leave 0 out if the effect and the spread stay as
        they are; None where nothing is known of the noise of trainings or the images alone leave it open."""
        if self.training_error is None:
            return None
        numbers = range(max(2, 1 + max(each.number for each in self.trainings)), _MANY)

        def settled(number: int) -> bool:
            half = self._half_width(confidence, [number] * len(self.trainings), more=True)
            return half is not None and half < abs(self.effect)

        first = bisect_left(numbers, True, key=settled)
        return numbers[first] if first < len(numbers) else None

    def _half_width(self, confidence: float, numbers: Sequence[int], more: bool = False) -> Optional[float]:
        """``more`` says that ``numbers`` are not the seeds there are: then the spread would be known from them."""
        parts = []  # (variance of the difference, degrees of freedom)
        if self.image_error is not None:
            parts.append((self.image_error**2, self.images - 1))
        for each, number in zip(self.trainings, numbers):
            if each.variance is not None:
                freedom = max(each.freedom, number - 1) if more else each.freedom
                parts.append((each.variance / number, freedom))
        if not parts or self.image_error is None and self.training_error is None:
            return None
        total = sum(variance for variance, _ in parts)
        if total == 0:
            return 0.0
        # Welch and Satterthwaite's degrees of freedom of a sum of variances.
        of_sum = total**2 / sum(variance**2 / degrees for variance, degrees in parts)
        return float(student.ppf((1 + confidence) / 2, of_sum) * np.sqrt(total))


#: Samples of the images; the error of a standard error is then 2 %.
SAMPLES = 1000
_OF_SEEDS = 9999


@lru_cache(maxsize=None)
def spread_of_trainings(values: Tuple[float, ...]) -> float:
    """The variance of one training's value, from those of at least two trainings that differ in their seed.

    A bootstrap's variance of a mean of n values is too small by (n - 1) / n, which is much for three.
    """
    rng = np.random.default_rng(0)
    drawn = bootstrap((values,), np.mean, n_resamples=_OF_SEEDS, method='percentile', rng=rng)
    return float(drawn.standard_error**2 * len(values) ** 2 / (len(values) - 1))


def over_images(
    matches: Dict[str, Matches], wanted: Iterable[Tuple[str, str]], samples: int = SAMPLES
) -> Dict[Tuple[str, str], np.ndarray]:
    """The values of metrics on samples of the test images, drawn with repetition.

    Runs that were evaluated on the same images share each sample, so differences between them are paired.

    Args:
        matches (dict): by run id.
        wanted (iterable): pairs of a run id and the key of a metric; what no matches give is left out.
        samples (int): how many.

    Returns:
        dict: (samples,) values as fractions by run id and key.
    """
    groups: Dict[str, List[Tuple[str, str]]] = {}
    for run, key in dict.fromkeys(wanted):
        if run in matches and key in matches[run].keys:
            groups.setdefault(matches[run].evaluated, []).append((run, key))
    values: Dict[Tuple[str, str], np.ndarray] = {}
    for pairs in groups.values():
        values.update(zip(pairs, _on_shared_images(matches, pairs, samples)))
    return values


def _on_shared_images(matches: Dict[str, Matches], pairs: List[Tuple[str, str]], samples: int) -> np.ndarray:
    """(pairs, samples) values."""
    images = matches[pairs[0][0]].images
    sets = list(dict.fromkeys((run, matches[run].prefix(key)) for run, key in pairs))

    def values(drawn: np.ndarray, axis: int) -> np.ndarray:
        """``drawn`` are (samples, images) numbers of images; the result is (pairs, samples)."""
        shifted = drawn + images * np.arange(len(drawn))[:, None]
        times = np.bincount(shifted.ravel(), minlength=drawn.size).reshape(drawn.shape)
        found = {(run, prefix): matches[run].metrics(prefix, times) for run, prefix in sets}
        return np.stack([found[run, matches[run].prefix(key)][key] for run, key in pairs])

    result = bootstrap(
        (np.arange(images),),
        values,
        n_resamples=samples,
        batch=250,
        vectorized=True,
        axis=-1,
        method='percentile',
        rng=np.random.default_rng(0),
    )
    return result.bootstrap_distribution
