"""How sure a difference is: its errors over trainings and test images, its interval, seeds that would settle it."""

import math
from bisect import bisect_left
from typing import Dict, Iterable, List, Optional, Sequence, Tuple

import numpy as np
from scipy.stats import t as student

from analysis.claims.matches import StoredMatches

#: A cell shows the noise of its training from so many seeds on.
ENOUGH_SEEDS = 3
#: What the shown intervals cover.
CONFIDENCE = 0.95
_MANY = 1000


#: The trainings of one side of a comparison, or of both where they are the same: how many, the variance of the value of
#: one of them (None where it is not known), and the degrees of freedom of that variance.
Trainings = Tuple[int, Optional[float], int]


def training_error(trainings: Sequence[Trainings]) -> Optional[float]:
    """A difference's standard error over trainings; None where nothing is known of one of its sides.

    Args:
        trainings (sequence): one entry where both sides are the same trainings, else one for each.
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
    """Student's interval of a difference with the errors that are known; None where none is.

    Args:
        effect (float): the left side less the right side.
        trainings (sequence): see :func:`training_error`.
        image_error (float, optional): its standard error over test images, None where there are no matches.
        images (int): how many images those are.
        confidence (float): what the interval covers.
    """
    half = _half_width(trainings, image_error, images, confidence)
    return None if half is None else (effect - half, effect + half)


def seeds_to_settle(
    effect: float, trainings: Sequence[Trainings], image_error: Optional[float], images: int, confidence: float
) -> Optional[int]:
    """With how many seeds per cell, all in all, the interval would leave 0 out.

    The effect and the spread are taken to stay as they are. None where nothing is known of the noise of trainings, or
    the images alone leave it open.
    """
    if training_error(trainings) is None:
        return None
    numbers = range(max(2, 1 + max(number for number, _, _ in trainings)), _MANY)

    def settled(number: int) -> bool:
        # With so many the spread would be known from them.
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
    # Welch and Satterthwaite's degrees of freedom of a sum of variances.
    of_sum = total**2 / sum(variance**2 / degrees for variance, degrees in parts)
    return float(student.ppf((1 + confidence) / 2, of_sum) * np.sqrt(total))


#: Samples of the images; the error of a standard error is then 2 %.
SAMPLES = 1000
#: So many samples are evaluated at once, for the memory.
_AT_ONCE = 250


def over_images(
    matches: Dict[str, StoredMatches], wanted: Iterable[Tuple[str, str]], samples: int = SAMPLES
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


def _on_shared_images(matches: Dict[str, StoredMatches], pairs: List[Tuple[str, str]], samples: int) -> np.ndarray:
    """(pairs, samples) values."""
    images = matches[pairs[0][0]].images
    sets = list(dict.fromkeys((run, matches[run].prefix(key)) for run, key in pairs))
    # How often each image is in each sample.
    drawn = np.random.default_rng(0).multinomial(images, np.full(images, 1 / images), size=samples)
    parts = []
    for times in np.array_split(drawn, -(-samples // _AT_ONCE)):
        found = {(run, prefix): matches[run].metrics(prefix, times) for run, prefix in sets}
        parts.append(np.stack([found[run, matches[run].prefix(key)][key] for run, key in pairs]))
    return np.concatenate(parts, axis=1)
