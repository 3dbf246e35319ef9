"""Tests one comparison against the evidence."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Callable, List, Optional, Sequence, Set, Tuple

import numpy as np
import pandas as pd

from analysis.claims.evidence import Measure, Statistic, measure
from analysis.claims.noise import Noise, NoiseModel
from analysis.claims.statistics import (
    CONFIDENCE,
    Estimate,
    Interval,
    Side,
    Variance,
    estimate,
    estimate_of_both,
    image_error,
    images_to_settle,
    log_ratios,
    no_longer,
    rank_effect,
    rank_interval,
    seeds_to_settle,
)
from analysis.results import is_speed, paper_numbers
from experiments.spec.schema import GREATER, Comparison, OtherComparison, Quantity, StoredPlan, plan_name

HOLDS, FAILS, UNDECIDED = 'holds', 'fails', 'undecided'
#: How a difference compares with the one that the paper prints.
AS_PRINTED, SMALLER, LARGER = 'as printed', 'smaller', 'larger'
#: Whether a difference is larger than the smallest one of interest.
YES, NO, OPEN = 'yes', 'no', 'open'
#: The smallest difference of interest: percent of a speed or share, points of mMR, and points of AP and the like.
OF_INTEREST = {'%': 1.0, 'mMR': 0.5, 'points': 0.3}
#: Confidence level of the interval of an equivalence test at 5 %.
EQUIVALENCE = 0.90


@dataclass(frozen=True)
class Finding:
    """The result of one comparison.

    Attributes:
        comparison (Comparison): the claimed comparison.
        left, right (Series): its sides: the value of each seed, NaN if it was not measured. The name of the series
            describes the quantity, such as 'AP without NMS, K 7'.
        unit (str): 'points', or '%' for speeds and shares.
        level (float): the level at which a comparison of this claim fails.
        confidence (float): the level at which it holds, and that of ``interval``.
        paper (float, optional): the difference that the paper prints, in ``unit``.
        effect (float, optional): left minus right; of speeds by how many percent left is above right. None if a side
            was not measured.
        interval (tuple, optional): its interval at ``confidence``, by default 95 %; None if the noise of training is
            not known.
        corrected (tuple, optional): its interval at ``level``.
        training_error (float, optional): the effect's standard error over trainings, of speeds over timings.
        image_error (float, optional): likewise over test images. None if it is not known; then the intervals leave it
            out.
        freedom (float, optional): degrees of freedom of both errors together.
        noises (tuple[Noise]): what the noise of training was estimated from, of each side for which it is known.
        ranks (bool): whether it is judged by ranks, because the noise of a side is far above that of other cells.
        size (str, optional): whether the corrected interval has the paper's difference ('as printed'), or lies on its
            near side ('smaller') or beyond it ('larger'). None if the paper prints none.
        matters (str): whether the difference is larger than the smallest one of interest: 'yes', 'no' or 'open'.
        seeds (int, optional): number of seeds per cell that would settle it with 80 % probability, if effect and noise
            are as they seem; None if it is settled, if no number would, or if unknown.
        more_images (float, optional): likewise how many times as many test images would, with the seeds as they are.
        estimate (Estimate, optional): the difference behind the t interval, on a log scale for speeds.
        other (Finding, optional): that of the other table, if the claim is that the difference is larger than there.
            Then the effect is by how much it is larger, in the claimed direction of each.
        verdict (str): 'holds', 'fails' or 'undecided'.
    """

    comparison: Comparison
    left: pd.Series
    right: pd.Series
    unit: str
    level: float
    confidence: float = CONFIDENCE
    paper: Optional[float] = None
    effect: Optional[float] = None
    interval: Optional[Interval] = None
    corrected: Optional[Interval] = None
    training_error: Optional[float] = None
    image_error: Optional[float] = None
    freedom: Optional[float] = None
    noises: Tuple[Noise, ...] = ()
    ranks: bool = False
    size: Optional[str] = None
    matters: str = OPEN
    seeds: Optional[int] = None
    more_images: Optional[float] = None
    estimate: Optional[Estimate] = None
    other: Optional['Finding'] = None
    verdict: str = UNDECIDED

    @property
    def relation(self) -> str:
        """The claimed relation of the left side to the right: 'less' or 'greater'."""
        return self.comparison.relation

    @property
    def sign(self) -> int:
        """1 if the effect is claimed to be positive, else -1."""
        return 1 if self.relation == GREATER or self.comparison.more_than else -1

    @property
    def towards(self) -> float:
        """The effect, positive if it is on the claimed side; NaN if there is none."""
        return math.nan if self.effect is None else self.sign * self.effect

    @property
    def settling_level(self) -> float:
        """The level of the interval that must leave out 0 to settle it, if the effect stays on its side."""
        return self.confidence if self.towards > 0 else self.level

    @property
    def of_interest(self) -> float:
        """The smallest difference of interest."""
        key = self.comparison.left.key.rpartition('/')[2]
        return OF_INTEREST[key if self.unit == 'points' and key in OF_INTEREST else self.unit]


@dataclass(frozen=True)
class Comparer:
    """Tests comparisons of a plan.

    Args:
        noise (NoiseModel): the evidence and its noise.
        plan (StoredPlan): the plan.
        share (bool): compare gaps as a share of the metric with NMS.
        confidence (float): confidence level at which a comparison holds.
    """

    noise: NoiseModel
    plan: StoredPlan
    share: bool = False
    confidence: float = CONFIDENCE

    def finding(self, comparison: Comparison, level: float) -> Finding:
        """Test a comparison. It fails if its interval at ``level`` is on the wrong side of 0."""
        if comparison.more_than is not None:
            return self._across(comparison, comparison.more_than, level)
        asked = self._measure(comparison.left)
        left, right = (self.noise.evidence.over_seeds(self.plan, side, self.share) for side in _quantities(comparison))
        paper = None if self.share else paper_difference(self.plan, comparison)
        if is_speed(asked.keys):
            left, right = _with_ratios(left), _with_ratios(right)
        found = Finding(comparison, left, right, asked.unit, level, self.confidence, paper)
        if not left.count() or not right.count():
            return found
        if is_speed(asked.keys):
            return self._speeds(found)
        sides, noises, heavy = self.sides(*_quantities(comparison))
        found = dataclasses.replace(found, noises=tuple(noise for noise in noises if noise))
        return _by_ranks(found, sides) if heavy else _by_estimate(found, sides)

    def _across(self, comparison: Comparison, than: OtherComparison, level: float) -> Finding:
        """Whether a difference is larger than one of another table, or elsewhere in this one."""
        pair = Comparison(left=than.left, relation=than.relation, right=than.right)
        plan = self.noise.evidence.plans.get(plan_name(than.table, self.plan.overrides))
        own = self.finding(comparison.model_copy(update=dict(more_than=None)), level)
        if plan is None or any(side.at not in [cell.at for cell in plan.cells] for side in _quantities(pair)):
            other = _unplanned(pair, than.table)
        else:
            other = dataclasses.replace(self, plan=plan).finding(pair, level)
        found = Finding(comparison, own.left, own.right, own.unit, level, self.confidence, other=other)
        if own.effect is None or other.effect is None:
            return found
        if own.paper is not None and other.paper is not None:
            found = dataclasses.replace(found, paper=own.sign * own.paper - other.sign * other.paper)
        effect = own.towards - other.towards
        if own.estimate is None or other.estimate is None:
            return dataclasses.replace(found, effect=effect, ranks=own.ranks or other.ranks)
        both = (own.estimate._replace(effect=own.towards), other.estimate._replace(effect=other.towards))
        shared = plan is not None and _runs_behind(comparison, self.plan) & _runs_behind(pair, plan)
        found = dataclasses.replace(found, noises=own.noises + other.noises)
        return _of_estimate(found, estimate_of_both(*both, shared=bool(shared)))

    def sides(self, *quantities: Quantity) -> Tuple[List[Side], List[Optional[Noise]], bool]:
        """The sides of a comparison, or the one side of differences if both quantities are of the same trainings.

        Returns:
            tuple: the sides; the noise of each; and whether a side's noise is far above that of other cells.
        """
        runs = [self._runs(quantity) for quantity in quantities]
        statistics = [Statistic(self._measure(quantity)) for quantity in quantities]
        shared = [run for run in runs[0] if len(runs) == 2 and run in runs[1]]
        if shared:
            runs, statistics = [shared], [Statistic(statistics[0].measure, statistics[1].measure)]
        noises = [self.noise.of(of_side[0], asked) for of_side, asked in zip(runs, statistics)]
        heavy = any(
            self.noise.is_heavy(self.plan, quantity.at, of_side[0], asked)
            for quantity, of_side, asked in zip(quantities, runs, statistics)
        )
        same_images = self.noise.evidence.same_images([run for of_side in runs for run in of_side])
        return [self._side(*each, same_images) for each in zip(runs, statistics, noises)], noises, heavy

    def _side(self, runs: List[str], asked: Statistic, noise: Optional[Noise], same_images: bool) -> Side:
        evidence = self.noise.evidence
        values = np.array([evidence.value(run, asked) for run in runs], float)
        left_out = evidence.left_out_of(runs, asked) if same_images else None
        return Side(values, left_out, noise.training, noise.interaction) if noise else Side(values, left_out)

    def measured(self, quantity: Quantity) -> bool:
        """Whether a run has this quantity."""
        return bool(self._runs(quantity))

    def _runs(self, quantity: Quantity) -> List[str]:
        """The runs of a quantity's cell in which it was measured."""
        asked = Statistic(self._measure(quantity))
        runs = self.plan.cell_at(quantity.at).runs.values()
        return [run for run in runs if self.noise.evidence.value(run, asked) is not None]

    def _measure(self, quantity: Quantity) -> Measure:
        return measure(quantity, self.share)

    def _speeds(self, found: Finding) -> Finding:
        """Compare speeds as ratios. The detectors of a table are timed in turns, and all of one seed in one sitting."""
        logs = np.log(pd.concat([found.left, found.right], axis=1)).dropna().to_numpy()
        if not len(logs):
            return dataclasses.replace(found, effect=100 * (found.left.mean() / found.right.mean() - 1))
        noise = log_ratios(self._timings(found.comparison))
        of_ratio = Variance(2 * noise.value, noise.freedom) if noise.freedom else None
        ratio = Side(logs[:, 0] - logs[:, 1], training=of_ratio)
        return _by_estimate(found, [ratio], lambda log: 100 * math.expm1(log))

    def _timings(self, comparison: Comparison) -> np.ndarray:
        """(methods, sittings) logarithms of all speeds of this kind in the table."""
        kind = comparison.left.key.rpartition('/')[2]
        shown = [(cell, key) for cell in self.plan.cells for keys in cell.keys.values() for key in keys]
        shown += [(self.plan.cell_at(side.at), side.key) for side in _quantities(comparison)]
        timed = dict.fromkeys((tuple(cell.runs.items()), key) for cell, key in shown if is_speed((key,)))
        rows = [
            {seed: self.noise.evidence.value(run, Statistic(Measure(key))) for seed, run in runs}
            for runs, key in timed
            if key.rpartition('/')[2] == kind
        ]
        speeds = pd.DataFrame(rows, dtype=float)
        return np.log(speeds.where(speeds > 0)).to_numpy()


def _unplanned(comparison: Comparison, table: str) -> Finding:
    """The finding of a comparison in a table that has no plan with its cells."""

    def side(quantity: Quantity) -> pd.Series:
        name = f'{quantity.key} of {", ".join(quantity.at.values())} in {table}, which has no plan'
        return pd.Series(dtype=float, name=name)

    return Finding(comparison, side(comparison.left), side(comparison.right), unit='points', level=CONFIDENCE)


def _runs_behind(comparison: Comparison, plan: StoredPlan) -> Set[str]:
    return {run for side in _quantities(comparison) for run in plan.cell_at(side.at).runs.values()}


def _with_ratios(speeds: pd.Series) -> pd.Series:
    """Speeds that can be compared as ratios: those above 0."""
    if not (speeds == 0).any():
        return speeds
    return speeds.where(speeds > 0).rename(f'{speeds.name} (0, which has no ratio)')


def _quantities(comparison: Comparison) -> Tuple[Quantity, Quantity]:
    return comparison.left, comparison.right


def paper_difference(plan: StoredPlan, comparison: Comparison) -> Optional[float]:
    """The difference that the paper prints, in its text or else in the table. None if it prints none.

    It is in points, and for speeds in percent of the right side.
    """
    if comparison.size is not None:
        return comparison.size if comparison.relation == GREATER else -comparison.size
    sides = []
    for quantity in _quantities(comparison):
        printed = paper_numbers(plan.cell_at(quantity.at))
        if (
            quantity.times != 1
            or quantity.plus
            or quantity.epoch is not None
            or any(key not in printed for key in measure(quantity).keys)
        ):
            return None
        sides.append(printed[quantity.key] - (printed[quantity.minus] if quantity.minus else 0))
    if is_speed((comparison.left.key,)):
        return 100 * (sides[0] / sides[1] - 1) if sides[1] else None
    return round(sides[0] - sides[1], 6)


def _by_estimate(
    found: Finding, sides: Sequence[Side], shown: Callable[[float], float] = lambda value: value
) -> Finding:
    """The finding by a t interval. ``shown`` turns a difference into ``found.unit``."""
    estimated = estimate(sides)
    if estimated is None:
        effect = sides[0].values.mean() - sum(side.values.mean() for side in sides[1:])
        return dataclasses.replace(found, effect=shown(effect), image_error=image_error(sides))

    return _of_estimate(found, estimated, shown)


def _of_estimate(found: Finding, estimated: Estimate, shown: Callable[[float], float] = lambda value: value) -> Finding:
    """The finding by the t interval of an estimate."""

    def at(confidence: float) -> Interval:
        low, high = estimated.interval(confidence)
        return shown(low), shown(high)

    found = dataclasses.replace(
        found,
        effect=shown(estimated.effect),
        training_error=shown(math.sqrt(estimated.training)),
        image_error=None if estimated.image is None else math.sqrt(estimated.image),
        freedom=estimated.freedom,
        estimate=estimated,
    )
    found = _judged(found, at)
    if found.verdict != UNDECIDED:
        return found
    level = found.settling_level
    return dataclasses.replace(
        found, seeds=seeds_to_settle(estimated, level), more_images=images_to_settle(estimated, level)
    )


def _by_ranks(found: Finding, sides: Sequence[Side]) -> Finding:
    sides = no_longer(sides)
    found = dataclasses.replace(found, effect=rank_effect(sides), image_error=image_error(sides), ranks=True, noises=())
    return _judged(found, lambda confidence: rank_interval(sides, confidence))


def _judged(found: Finding, at: Callable[[float], Optional[Interval]]) -> Finding:
    """The finding with its intervals, which ``at`` gives for a confidence level, and what follows from them."""
    interval, corrected, ninety = at(found.confidence), at(found.level), at(EQUIVALENCE)
    verdict = UNDECIDED
    if interval and min(found.sign * end for end in interval) > 0:
        verdict = HOLDS
    elif corrected and max(found.sign * end for end in corrected) < 0:
        verdict = FAILS
    return dataclasses.replace(
        found,
        interval=interval,
        corrected=corrected,
        verdict=verdict,
        size=compared(found.paper, corrected, found.sign),
        matters=_matters(found.of_interest, interval, ninety),
    )


def compared(paper: Optional[float], interval: Optional[Interval], sign: int) -> Optional[str]:
    """The measured difference against the paper's, in the claimed direction ``sign``."""
    if paper is None or interval is None:
        return None
    low, high = sorted(sign * end for end in interval)
    return AS_PRINTED if low <= sign * paper <= high else SMALLER if high < sign * paper else LARGER


def _matters(of_interest: float, interval: Optional[Interval], ninety: Optional[Interval]) -> str:
    if ninety and -of_interest < ninety[0] and ninety[1] < of_interest:
        return NO
    if interval and (interval[0] > of_interest or interval[1] < -of_interest):
        return YES
    return OPEN
