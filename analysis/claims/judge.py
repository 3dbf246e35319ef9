"""Which of the paper's claims hold, from the stored runs; docs/claims.md says how that is judged and why.

A claim holds where every comparison's 95 % interval lies on the claimed side: to ask that of all is strict enough. It
fails where the interval of one lies on the other side. As one of many may lie there by chance, these intervals are
Bonferroni's, 1 - 0.05 / m for m comparisons. Otherwise it is undecided.
"""

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import variance
from typing import Callable, Iterable, List, Optional, Sequence, Tuple

import numpy as np
import pandas as pd

from analysis.claims.evidence import Evidence, load_evidence, unit
from analysis.claims.statistics import (
    CONFIDENCE,
    ENOUGH_SEEDS,
    SAMPLES,
    Trainings,
    interval,
    seeds_to_settle,
    training_error,
)
from analysis.results import is_speed, load_plan
from experiments.spec.schema import GREATER, Claim, Comparison, StoredPlan

HOLDS, FAILS, UNDECIDED = 'holds', 'fails', 'undecided'


@dataclass(frozen=True)
class Finding:
    """One comparison, as it was found.

    Attributes:
        comparison (Comparison): what is claimed.
        left, right (Series): its sides: the value of each seed in ``unit``, NaN where it was not measured; the name of
            the series says what it is, such as 'AP without NMS, K 7'.
        unit (str): 'points', 'ms' or '1/s'.
        effect (float, optional): left less right; None where a side was not measured.
        interval (tuple, optional): its 95 % interval; None where nothing is known of its error.
        corrected (tuple, optional): its interval at ``level``.
        level (float): the level at which a comparison of this claim fails.
        training_error (float, optional): the effect's standard error over trainings; None where it is not known, and
            then it is not in the intervals.
        borrowed (bool): whether the noise of some training is that of other cells of the table.
        image_error (float, optional): likewise the standard error over test images.
        seeds (int, optional): with how many seeds per cell it would be settled; None where it is, or nobody knows.
        verdict (str): 'holds', 'fails' or 'undecided'.
    """

    comparison: Comparison
    left: pd.Series
    right: pd.Series
    unit: str
    level: float
    effect: Optional[float] = None
    interval: Optional[Tuple[float, float]] = None
    corrected: Optional[Tuple[float, float]] = None
    training_error: Optional[float] = None
    borrowed: bool = False
    image_error: Optional[float] = None
    seeds: Optional[int] = None
    verdict: str = UNDECIDED

    @property
    def relation(self) -> str:
        """'less' or 'greater', what the left side is claimed to be."""
        return self.comparison.relation

    @property
    def towards(self) -> float:
        """The effect, positive where it is on the claimed side; NaN where there is none."""
        effect = math.nan if self.effect is None else self.effect
        return effect if self.relation == GREATER else -effect


def finding(evidence: Evidence, comparison: Comparison, level: float) -> Finding:
    """Hold a comparison against the evidence; it fails where its interval at ``level`` is on the wrong side of 0."""
    left, right = evidence.over_seeds(comparison.left), evidence.over_seeds(comparison.right)
    found = partial(Finding, comparison, left, right, unit(comparison.left.key), level)
    sides = zip((comparison.left, comparison.right), (left, right))
    runs = [[evidence.plan.cell_at(side.at).runs[seed] for seed in values.dropna().index] for side, values in sides]
    if not all(runs):
        return found()
    effect, trainings, image_error, images = _difference(evidence, comparison, runs)
    errors = effect, trainings, image_error, images
    at_95, corrected = interval(*errors), interval(*errors, confidence=level)
    verdict = _verdict(at_95, corrected, comparison.relation)
    claimed = (effect > 0) == (comparison.relation == GREATER)
    undecided = verdict == UNDECIDED
    return found(
        effect=effect,
        interval=at_95,
        corrected=corrected,
        training_error=training_error(trainings),
        borrowed=any(number < ENOUGH_SEEDS and variance is not None for number, variance, _ in trainings),
        image_error=image_error,
        seeds=seeds_to_settle(*errors, confidence=CONFIDENCE if claimed else level) if undecided else None,
        verdict=verdict,
    )


def _difference(
    evidence: Evidence, comparison: Comparison, runs: List[List[str]]
) -> Tuple[float, List[Trainings], Optional[float], int]:
    """The difference of the sides' means, and what :func:`interval` needs to know of its errors."""
    left, right = comparison.left, comparison.right
    shared = [run for run in runs[0] if run in runs[1]]
    timed = _timed_together(evidence, comparison, runs)

    def less(run: str, other: str) -> Optional[float]:
        values = evidence.value(run, left), evidence.value(other, right)
        return None if values[0] is None or values[1] is None else values[0] - values[1]

    if shared:  # both sides are of the same trainings, so it is their differences that vary
        runs = [shared, shared]
        trainings = [_trainings(evidence, lambda run: less(run, run), shared)]
    elif timed:  # how fast the machine was at that hour cancels out
        runs = [list(of_side) for of_side in zip(*timed)]
        differences = _known(less(run, other) for run, other in timed)
        spread = variance(differences) if len(timed) >= ENOUGH_SEEDS else None
        trainings = [(len(timed), spread, len(timed) - 1)]
    else:
        trainings = [
            _trainings(evidence, partial(evidence.value, quantity=quantity), of_side)
            for quantity, of_side in zip((left, right), runs)
        ]
    means = [
        np.mean([evidence.value(run, quantity) for run in of_side]) for quantity, of_side in zip((left, right), runs)
    ]
    return float(means[0] - means[1]), trainings, *_image_error(evidence, comparison, runs)


def _timed_together(evidence: Evidence, comparison: Comparison, runs: List[List[str]]) -> List[Tuple[str, str]]:
    """For two speeds the runs of equal seeds; the detectors of a table are timed in turns, image by image, and all of a
    seed in one sitting (experiments/training/speed.py)."""
    sides = comparison.left, comparison.right
    if not is_speed(tuple(side.key for side in sides)):
        return []
    left, right = (evidence.plan.cell_at(side.at).runs for side in sides)
    pairs = [(left[seed], right[seed]) for seed in left if seed in right]
    return [(run, other) for run, other in pairs if run in runs[0] and other in runs[1]]


def _trainings(evidence: Evidence, value: Callable[[str], Optional[float]], runs: List[str]) -> Trainings:
    """The trainings of a side. Where they are too few, their spread is taken from the cells of the table that have
    enough."""
    if len(runs) >= ENOUGH_SEEDS:
        return len(runs), variance(_known(map(value, runs))), len(runs) - 1
    cells = dict.fromkeys(tuple(cell.runs.values()) for cell in evidence.plan.cells)
    values = [_known(map(value, cell)) for cell in cells]
    values = [of_cell for of_cell in values if len(of_cell) >= ENOUGH_SEEDS]
    freedom = sum(len(of_cell) - 1 for of_cell in values)
    pooled = sum(variance(of_cell) * (len(of_cell) - 1) for of_cell in values)
    return len(runs), pooled / freedom if freedom else None, freedom


def _known(values: Iterable[Optional[float]]) -> List[float]:
    return [value for value in values if value is not None]


def _image_error(evidence: Evidence, comparison: Comparison, runs: List[List[str]]) -> Tuple[Optional[float], int]:
    """The difference's standard error over test images and their number; None where a side has no matches, or they are
    of other images."""
    means, evaluated = [], set()
    for quantity, of_side in zip((comparison.left, comparison.right), runs):
        found = {run: evidence.on_samples(run, quantity) for run in of_side}
        samples = {run: values for run, values in found.items() if values is not None}
        if not samples:
            return None, 0
        means.append(np.mean(list(samples.values()), axis=0))
        evaluated |= {(evidence.matches[run].evaluated, evidence.matches[run].images) for run in samples}
    if len(evaluated) > 1:
        return None, 0
    [(_, images)] = evaluated
    return float(np.std(means[0] - means[1], ddof=1)), images


def _verdict(interval: Optional[Tuple[float, float]], corrected: Optional[Tuple[float, float]], relation: str) -> str:
    if interval is None or corrected is None:
        return UNDECIDED
    if relation == GREATER:
        return HOLDS if interval[0] > 0 else FAILS if corrected[1] < 0 else UNDECIDED
    return HOLDS if interval[1] < 0 else FAILS if corrected[0] > 0 else UNDECIDED


@dataclass(frozen=True)
class Verdict:
    """A claim of a plan, what was found of its comparisons, and whether it holds: 'holds', 'fails' or 'undecided'."""

    plan: StoredPlan
    claim: Claim
    verdict: str
    findings: Tuple[Finding, ...]


def judge(runs: Path, profile: str, names: Sequence[str], samples: int = SAMPLES) -> Tuple[List[Verdict], List[str]]:
    """Check every claim of some tables.

    Args:
        runs (Path): folder of the runs.
        profile (str): their profile.
        names (sequence): names of the tables' plans.
        samples (int): how many samples of the test images are drawn.

    Returns:
        tuple: the verdicts, and a line for each stored file that is broken.

    Raises:
        UserError: a plan is missing or broken.
    """
    plans = [load_plan(runs, profile, name) for name in names]
    evidence, warnings = load_evidence(runs, profile, plans, samples)
    verdicts = [_claim_verdict(each, claim) for each in evidence for claim in each.plan.claims]
    return verdicts, warnings


def _claim_verdict(evidence: Evidence, claim: Claim) -> Verdict:
    level = 1 - (1 - CONFIDENCE) / len(claim.comparisons)
    findings = tuple(finding(evidence, comparison, level) for comparison in claim.comparisons)
    found = {each.verdict for each in findings}
    verdict = FAILS if FAILS in found else HOLDS if found == {HOLDS} else UNDECIDED
    return Verdict(evidence.plan, claim, verdict, findings)
