"""The certainty of a difference: its errors over trainings and test images, its interval, the seeds to settle it."""

import math
from bisect import bisect_left
from typing import Dict, Iterable, List, Optional, Sequence, Tuple

import numpy as np
from scipy.stats import t as student

from analysis.claims.matches import StoredMatches

#: From this number of seeds on, a cell gives an estimate of its training noise.
ENOUGH_SEEDS = 3
#: Confidence level of the shown intervals.
CONFIDENCE = 0.95
_MANY = 1000


#: The trainings of one side of a comparison, or of both if they are the same: their number, the variance of a single
#: value (None if it is not known), and the degrees of freedom of that variance.
Trainings = Tuple[int, Optional[float], int]


def training_error(trainings: Sequence[Trainings]) -> Optional[float]:
    """A difference's standard error over trainings; None if nothing is known about one of its sides.

    Args:
        trainings (sequence): one entry if both sides are the same trainings, else one for each side.
    """
    known = [variance / number for number, variance, _ in trainings if variance is not None]
    return math.sqrt(sum(known)) if len(known) == len(trainings) else None


def interval(
    effect: float,
    trainings: Sequence[Trainings],
    image_error: Optional[float],
    images: int,
    confidence: float = CONFIDENCE,
) -> Optional[Tuple[float, float]]:
    """Student's t interval of a difference, from the known errors; None if none is known.

    Args:
        effect (float): the left side minus the right side.
        trainings (sequence): see :func:`training_error`.
        image_error (float, optional): its standard error over test images; None if there are no matches.
        images (int): number of test images.
        confidence (float): confidence level of the interval.
    """
    half = _half_width(trainings, image_error, images, confidence)
    return None if half is None else (effect - half, effect + half)


def seeds_to_settle(
    effect: float, trainings: Sequence[Trainings], image_error: Optional[float], images: int, confidence: float
) -> Optional[int]:
    """The total number of seeds per cell at which the interval would exclude 0.

    The effect and the spread are assumed to stay the same. None if nothing is known about training noise, or if the
    error over images alone leaves the sign open.
    """
    if training_error(trainings) is None:
        return None
    numbers = range(max(2, 1 + max(number for number, _, _ in trainings)), _MANY)

    def settled(number: int) -> bool:
        # With this many seeds, the spread would be estimated from them.
        then = [(number, variance, max(freedom, number - 1)) for _, variance, freedom in trainings]
        half = _half_width(then, image_error, images, confidence)
        return half is not None and half < abs(effect)

    first = bisect_left(numbers, True, key=settled)
    return numbers[first] if first < len(numbers) else None


def _half_width(
    trainings: Sequence[Trainings], image_error: Optional[float], images: int, confidence: float
) -> Optional[float]:
    parts = [] if image_error is None else [(image_error**2, images - 1)]  # (variance, degrees of freedom)
    parts += [(variance / number, freedom) for number, variance, freedom in trainings if variance is not None]
    if not parts or image_error is None and training_error(trainings) is None:
        return None
    total = sum(variance for variance, _ in parts)
    if total == 0:
        return 0.0
    # Welch-Satterthwaite degrees of freedom of a sum of variances.
    of_sum = total**2 / sum(variance**2 / degrees for variance, degrees in parts)
    return float(student.ppf((1 + confidence) / 2, of_sum) * np.sqrt(total))


#: Number of samples of the images. It gives a standard error with an error of 2 %.
SAMPLES = 1000
#: Number of samples that are evaluated at once, to limit memory.
_AT_ONCE = 250


def over_images(
    matches: Dict[str, StoredMatches], wanted: Iterable[Tuple[str, str]], samples: int = SAMPLES
) -> Dict[Tuple[str, str], np.ndarray]:
    """The values of metrics on samples of the test images, drawn with replacement.

    Runs that were evaluated on the same images share each sample, so their differences are paired.

    Args:
        matches (dict): matches by run id.
        wanted (iterable): pairs of a run id and the key of a metric. Pairs without matches are left out.
        samples (int): number of samples.

    Returns:
        dict: (samples,) fractions by run id and key.
    """
    groups: Dict[str, List[Tuple[str, str]]] = {}
    for run, key in dict.fromkeys(wanted):
        if run in matches and key in matches[run].keys:
            groups.setdefault(matches[run].evaluated, []).append((run, key))
    values: Dict[Tuple[str, str], np.ndarray] = {}
    for pairs in groups.values():
        values.update(zip(pairs, _on_shared_images(matches, pairs, samples)))
    return values


def _on_shared_images(matches: Dict[str, StoredMatches], pairs: List[Tuple[str, str]], samples: int) -> np.ndarray:
    """(pairs, samples) values of runs that share their test images."""
    images = matches[pairs[0][0]].images
    sets = list(dict.fromkeys((run, matches[run].prefix(key)) for run, key in pairs))
    # The count of each image in each sample.
    drawn = np.random.default_rng(0).multinomial(images, np.full(images, 1 / images), size=samples)
    parts = []
    for times in np.array_split(drawn, -(-samples // _AT_ONCE)):
        found = {(run, prefix): matches[run].metrics(prefix, times) for run, prefix in sets}
        parts.append(np.stack([found[run, matches[run].prefix(key)][key] for run, key in pairs]))
    return np.concatenate(parts, axis=1)
