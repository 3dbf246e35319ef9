"""The certainty of a difference: its variance, its interval, and tests. docs/claims.md has the formulas."""

import math
from bisect import bisect_left
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from scipy.stats import bartlett, beta, mannwhitneyu, multivariate_t, wilcoxon
from scipy.stats import t as student

#: Confidence level of the shown intervals.
CONFIDENCE = 0.95
#: Probability with which the stated numbers of seeds and images show a difference.
POWER = 0.8
#: Seeds per cell from which on a watched claim is looked at.
FIRST_LOOK = 3
#: Level of the tests of equal variances.
UNLIKELY = 0.01
#: Draws of the largest of several t values. They give a critical value with an error of 0.3 %.
_DRAWS = 200_000
#: Numbers of seeds that are looked at when asked how many would decide.
MOST_SEEDS = 1000

Interval = Tuple[float, float]


class Variance(NamedTuple):
    """An estimated variance and its degrees of freedom."""

    value: float
    freedom: int


class Side(NamedTuple):
    """One side of a comparison, or the differences of both if they come from the same trainings.

    Attributes:
        values (ndarray): (n,) the value of each training.
        left_out (ndarray, optional): (n, G) the values without each group of test images.
        training (Variance, optional): of one training's value; None if it is not known.
        interaction (Variance): the part of a training's variance over images that another training does not share.
    """

    values: np.ndarray
    left_out: Optional[np.ndarray] = None
    training: Optional[Variance] = None
    interaction: Variance = Variance(0.0, 1)


class Estimate(NamedTuple):
    """A difference.

    Attributes:
        effect (float): the left side's mean minus the right side's.
        training (float): its variance over trainings.
        image (float, optional): its variance over test images, without what the first one contains already.
        freedom (float): degrees of freedom of the sum of both variances.
        sides (tuple): the variance of one training of each side, and the number of its trainings.
    """

    effect: float
    training: float
    image: Optional[float]
    freedom: float
    sides: Tuple[Tuple[float, int], ...] = ()

    @property
    def error(self) -> float:
        """The standard error."""
        return math.sqrt(self.training + (self.image or 0.0))

    def interval(self, confidence: float = CONFIDENCE) -> Interval:
        """Student's t interval."""
        half = t_value(confidence, self.freedom) * self.error if self.error else 0.0
        return self.effect - half, self.effect + half


def t_value(confidence: float, freedom: float) -> float:
    """Student's t value of an interval."""
    return float(student.ppf((1 + confidence) / 2, freedom))


def estimate(sides: Sequence[Side]) -> Optional[Estimate]:
    """The difference of the first side and the others; None if the noise of training is not known.

    A value of a training varies with the training, sigma_T^2, and with what this training makes of these test images,
    sigma_E^2. The seeds' variance is the sum of both. The images' own variance is that of all groups of images, less
    the sigma_E^2 that it contains.
    """
    pools: Dict[Variance, float] = {}  # sides of one pool have one variance between them
    for side in sides:
        if side.training is None:
            return None
        pools[side.training] = pools.get(side.training, 0.0) + 1 / len(side.values)
    terms = [(share * pool.value, pool.freedom) for pool, share in pools.items()]
    training = sum(variance for variance, _ in terms)
    image = None
    groups = _group_differences(sides)
    if groups is not None:
        own = [(-side.interaction.value / len(side.values), side.interaction.freedom) for side in sides]
        total = float(jackknife_covariance(groups[None])[0, 0]), groups.size - 1
        image = max(0.0, total[0] + sum(variance for variance, _ in own))
        terms += [total, *own] if image else []
    below = sum(variance**2 / degrees for variance, degrees in terms)
    freedom = (training + (image or 0.0)) ** 2 / below if below else math.inf  # Satterthwaite
    of_sides = tuple((side.training.value, len(side.values)) for side in sides if side.training)
    return Estimate(_difference([side.values for side in sides]), training, image, freedom, of_sides)


def estimate_of_both(first: Estimate, second: Estimate, shared: bool = False) -> Estimate:
    """The first difference minus the second one.

    Args:
        first, second (Estimate): the differences.
        shared (bool): whether a training is behind both. Otherwise their variances add up. With one, they may go
            against each other, and then their errors do, which is the most.
    """
    whole = [each.error**2 for each in (first, second)]
    below = sum(variance**2 / each.freedom for variance, each in zip(whole, (first, second)))
    images = [each.image for each in (first, second) if each.image is not None]
    both = _of_errors if shared else sum
    return Estimate(
        first.effect - second.effect,
        both([first.training, second.training]),
        both(images) if len(images) == 2 else None,
        sum(whole) ** 2 / below if below else math.inf,  # Satterthwaite
        first.sides + second.sides,
    )


def _of_errors(variances: Sequence[float]) -> float:
    """The variance of a sum whose parts have these variances and correlate fully."""
    return sum(map(math.sqrt, variances)) ** 2


def _difference(of_sides: Sequence[np.ndarray]) -> float:
    first, *others = (float(values.mean()) for values in of_sides)
    return first - sum(others)


def _group_differences(sides: Sequence[Side]) -> Optional[np.ndarray]:
    """(G,) the difference without each group of images; None if a side lacks it or has other groups."""
    left_out = [side.left_out for side in sides if side.left_out is not None]
    if len(left_out) < len(sides) or len({values.shape[1] for values in left_out}) > 1:
        return None
    first, *others = (values.mean(axis=0) for values in left_out)
    return first - sum(others)


def jackknife_covariance(left_out: np.ndarray) -> np.ndarray:
    """(k, k) covariances over test images of k values, from (k, G) values without each group of images."""
    centred = left_out - left_out.mean(axis=1, keepdims=True)
    number = left_out.shape[1]
    return (number - 1) / number * centred @ centred.T


def interaction(left_out: Sequence[np.ndarray]) -> Variance:
    """The variance over images that a training does not share with others, from (n, G) values of several cells."""
    squares, freedom = 0.0, 0
    for cell in left_out:
        if len(cell) > 1:
            squares += float(np.trace(jackknife_covariance(cell - cell.mean(axis=0))))
            freedom += len(cell) - 1
    groups = max((cell.shape[1] for cell in left_out), default=2)
    return Variance(squares / freedom, freedom * (groups - 1)) if freedom else Variance(0.0, 1)


def pooled(cells: Sequence[np.ndarray]) -> Optional[Variance]:
    """The variance of one value within cells; None if no cell has two values."""
    freedom = sum(len(values) - 1 for values in cells)
    squares = sum(float(((values - values.mean()) ** 2).sum()) for values in cells)
    return Variance(squares / freedom, freedom) if freedom else None


def equal_variances(cells: Sequence[np.ndarray]) -> bool:
    """Whether Bartlett's test lets all cells of two and more values have the same variance.

    Cells of equal values do not take part: a method that learns nothing says nothing of noise.
    """
    spread = [values for values in cells if len(values) > 1 and np.ptp(values) > 0]
    return len(spread) < 2 or not bartlett(*spread).pvalue < UNLIKELY  # NaN if they are equal to the last digit


def outliers(cells: Sequence[np.ndarray]) -> List[int]:
    """Indices of the cells whose variance is far above the others', by Cochran's test, the largest first.

    If all variances are equal, a cell's share of the sum of squares follows a beta distribution. The test is repeated
    without the cell that it finds. Cells of one value have no variance.
    """
    squares = {i: float(((values - values.mean()) ** 2).sum()) for i, values in enumerate(cells) if len(values) > 1}
    found: List[int] = []
    while len(squares) > 1 and any(squares.values()):
        freedom, total = sum(len(cells[i]) - 1 for i in squares), sum(squares.values())
        chances = {
            i: float(beta.sf(own / total, (len(cells[i]) - 1) / 2, (freedom - len(cells[i]) + 1) / 2))
            for i, own in squares.items()
        }
        least = min(chances, key=lambda i: chances[i])
        if len(squares) * chances[least] >= UNLIKELY:  # Bonferroni's correction for the choice of the cell
            break
        found.append(least)
        del squares[least]
    return found


def alike(cells: Sequence[np.ndarray]) -> Tuple[List[int], List[int], bool]:
    """Which cells may be pooled: their indices, those of cells with far more noise, and whether the former are equal.

    Cells with far more noise must be few, one or one in twenty. Otherwise the variances differ in general, and no cell
    is left out.
    """
    heavy = outliers(cells)
    kept = [i for i in range(len(cells)) if i not in heavy]
    if len(heavy) <= max(1, len(cells) // 20) and equal_variances([cells[i] for i in kept]):
        return kept, heavy, True
    return list(range(len(cells))), [], False


def rank_interval(sides: Sequence[Side], confidence: float) -> Optional[Interval]:
    """An interval of a shift; None if there are too few values for this level.

    It has all shifts that an exact test by ranks does not reject: Mann and Whitney's for two sides, Wilcoxon's for the
    differences of one. The former is for equal spreads, or for sides of :func:`no_longer`. The tests know nothing of
    the images. Their error is added as for independent errors.
    """
    image, middle = image_error(sides) or 0.0, rank_effect(sides)
    shifts = _shifts(sides)
    ends = np.unique(shifts)
    middles = np.concatenate(([ends[0] - 1], (ends[1:] + ends[:-1]) / 2, [ends[-1] + 1]))
    kept = np.array([_rank_test(sides, shift) > 1 - confidence for shift in middles])
    if kept[0] or kept[-1] or not kept.any():
        return None
    first, last = np.flatnonzero(kept)[[0, -1]]
    more = t_value(confidence, 99) * image
    low, high = middle - ends[first - 1], ends[last] - middle
    return middle - math.hypot(low, more), middle + math.hypot(high, more)


def no_longer(sides: Sequence[Side]) -> List[Side]:
    """The sides, the one that varies less cut to its first values, if it has more than the other.

    A test by ranks of all values is wrong too often there. With 5 values that vary three times as much as 12 others, it
    is in 10 % of cases instead of 5 %.
    """
    most = len(max(sides, key=lambda side: side.values.var()).values)
    return [
        side._replace(values=side.values[:most], left_out=None if side.left_out is None else side.left_out[:most])
        for side in sides
    ]


def rank_effect(sides: Sequence[Side]) -> float:
    """Hodges and Lehmann's estimate of the shift: the median of all differences."""
    return float(np.median(_shifts(sides)))


def image_error(sides: Sequence[Side]) -> Optional[float]:
    """The standard error over test images, with all that these trainings make of them; None if it is not known."""
    groups = _group_differences(sides)
    return None if groups is None else math.sqrt(jackknife_covariance(groups[None])[0, 0])


def _shifts(sides: Sequence[Side]) -> np.ndarray:
    first = sides[0].values
    if len(sides) == 2:
        return np.subtract.outer(first, sides[1].values).ravel()
    return ((first[:, None] + first) / 2)[np.triu_indices(len(first))]


def _rank_test(sides: Sequence[Side], shift: float) -> float:
    if len(sides) == 2:
        return float(mannwhitneyu(sides[0].values - shift, sides[1].values, method='exact').pvalue)
    return float(wilcoxon(sides[0].values - shift, method='exact').pvalue)


def best_interval(
    candidate: Side, others: Sequence[Side], sign: int = 1, confidence: float = CONFIDENCE
) -> Optional[Interval]:
    """Hsu's interval of how far a cell is above the best of the others; None if the noise of training is not known.

    If it lies above 0, the cell is the best one; if it lies below, it is not. Either end alone may be wrong, so the
    interval that is stretched to 0 has this confidence level. The critical value is Dunnett's for one side, with the
    correlations that the differences have.

    Args:
        candidate (Side): the cell.
        others (sequence): the others.
        sign (int): -1 if lower values are better.
        confidence (float): confidence level.
    """
    estimates = [estimate((candidate, other)) for other in others]
    known = [each for each in estimates if each is not None]
    if len(known) < len(estimates):
        return None
    effects, errors = np.array([sign * each.effect for each in known]), np.array([each.error for each in known])
    critical = largest_t(_correlations(candidate, others, errors), min(each.freedom for each in known), confidence)
    return float((effects - critical * errors).min()), float((effects + critical * errors).min())


def control_confidence(control: Side, others: Sequence[Side], confidence: float = CONFIDENCE) -> Optional[float]:
    """Dunnett's level: that of each interval of a difference from one control, so that all of them hold at once.

    The intervals have two sides. None if the noise of training is not known.

    Args:
        control (Side): the control.
        others (sequence): the cells that are compared with it.
        confidence (float): confidence level of all intervals together.
    """
    known = [each for each in (estimate((other, control)) for other in others) if each is not None]
    if len(known) < len(others):
        return None
    freedom = min(each.freedom for each in known)
    correlations = _correlations(control, others, np.array([each.error for each in known]))
    critical = largest_t(correlations, freedom, confidence, two_sided=True)
    return float(2 * student.cdf(critical, freedom) - 1)


def largest_t(correlations: np.ndarray, freedom: float, confidence: float, two_sided: bool = False) -> float:
    """The quantile of the largest of several t values with these correlations, by simulation.

    With ``two_sided``, it is the quantile of the largest magnitude."""
    draws = multivariate_t.rvs(shape=correlations, df=freedom, size=_DRAWS, random_state=0).reshape(_DRAWS, -1)
    return float(np.quantile((np.abs(draws) if two_sided else draws).max(axis=1), confidence))


def _correlations(candidate: Side, others: Sequence[Side], errors: np.ndarray) -> np.ndarray:
    """(k, k) correlations of a cell's differences from the others. The cell's own noise is in all of them."""
    assert candidate.training is not None
    shared = np.full((len(others),) * 2, candidate.training.value / len(candidate.values))
    groups = [_group_differences((candidate, other)) for other in others]
    there = [each for each in groups if each is not None]
    if len(there) == len(groups):
        shared += jackknife_covariance(np.stack(there)) - candidate.interaction.value / len(candidate.values)
    scale = np.where(errors > 0, errors, 1.0)
    found = shared / np.outer(scale, scale)
    np.fill_diagonal(found, 1.0)
    values, vectors = np.linalg.eigh(found)  # a difference of variances may leave it slightly indefinite
    found = (vectors * values.clip(1e-9)) @ vectors.T
    return found / np.sqrt(np.outer(np.diag(found), np.diag(found)))


def log_ratios(times: np.ndarray) -> Variance:
    """The variance of one timing on a log scale, from (methods, sittings) logarithms, NaN where there is none.

    Each method has its speed and each sitting its own, and what is left is noise.
    """
    method, sitting = np.nonzero(np.isfinite(times))
    design = np.zeros((len(method), sum(times.shape)))
    design[np.arange(len(method)), method] = 1
    design[np.arange(len(method)), len(times) + sitting] = 1
    fitted, _, rank, _ = np.linalg.lstsq(design, times[method, sitting], rcond=None)
    freedom = len(method) - int(rank)
    squares = float(((times[method, sitting] - design @ fitted) ** 2).sum())
    return Variance(squares / freedom if freedom else math.nan, freedom)


def seeds_to_settle(estimated: Estimate, level: float) -> Optional[int]:
    """How many seeds per cell would leave 0 out of the interval with probability ``POWER``; None if no number would.

    The true difference and the noise are taken as estimated. A cell that has more seeds already keeps them.
    """
    left = _error_to_settle(estimated, level) ** 2 - (estimated.image or 0.0)
    least = min(number for _, number in estimated.sides)

    def settled(number: int) -> bool:
        return sum(variance / max(number, there) for variance, there in estimated.sides) < left

    numbers = range(least + 1, MOST_SEEDS + 1)
    first = bisect_left(numbers, True, key=settled)
    return numbers[first] if first < len(numbers) else None


def needs_images(estimated: Estimate, level: float) -> bool:
    """Whether the error over test images alone would leave 0 in the interval."""
    return bool(estimated.image) and (estimated.image or 0.0) >= _error_to_settle(estimated, level) ** 2


def images_to_settle(estimated: Estimate, level: float) -> Optional[float]:
    """How many times as many test images would do that, with the seeds as they are. None if no number would.

    The images' part of the seeds' noise would fall too, which is left out here.
    """
    left = _error_to_settle(estimated, level) ** 2 - estimated.training
    if left <= 0 or not estimated.image:
        return None
    return max(1.0, estimated.image / left)


def _error_to_settle(estimated: Estimate, level: float) -> float:
    """The standard error at which a difference is shown with probability ``POWER``."""
    return abs(estimated.effect) / (t_value(level, estimated.freedom) + float(student.ppf(POWER, estimated.freedom)))


def watched_confidence(seeds: int) -> Optional[float]:
    """The confidence level of a look at a claim that is looked at after every seed. None: too early for a look.

    The looks at n = 3, 4, ... seeds per cell spend 2 x 5 % / (n (n - 1)), which adds up to 5 % over all n. So whenever
    training stops, a wrong verdict has at most that probability, however the looks depend on each other. The level of
    a look depends on the number of seeds alone, so a watch may be stopped and go on.
    """
    return 1 - 2 * (1 - CONFIDENCE) / (seeds * (seeds - 1)) if seeds >= FIRST_LOOK else None
