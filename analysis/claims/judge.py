"""Judges which of the paper's claims hold, from the stored runs. docs/claims.md explains the method.

A claim holds if every comparison's 95 % interval lies on the claimed side. It needs no correction, because all must
hold. A claim fails if the interval of one comparison lies on the other side. One of many may lie there by chance, so
these intervals have Bonferroni's correction: level 1 - 0.05 / m for m comparisons. Otherwise the claim is undecided.
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
    """The result of one comparison.

    Attributes:
        comparison (Comparison): the claimed comparison.
        left, right (Series): its sides: the value of each seed in ``unit``, NaN if it was not measured. The name of the
            series describes the quantity, such as 'AP without NMS, K 7'.
        unit (str): 'points', 'ms' or '1/s'.
        effect (float, optional): left minus right; None if a side was not measured.
        interval (tuple, optional): its 95 % interval; None if nothing is known about its error.
        corrected (tuple, optional): its interval at ``level``.
        level (float): the level at which a comparison of this claim fails.
        training_error (float, optional): the effect's standard error over trainings. None if it is not known; then the
            intervals leave it out.
        borrowed (bool): whether the training noise of a side is estimated from other cells of the table.
        image_error (float, optional): likewise the standard error over test images.
        seeds (int, optional): number of seeds per cell that would settle it; None if it is settled, or if unknown.
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
        """The claimed relation of the left side to the right: 'less' or 'greater'."""
        return self.comparison.relation

    @property
    def towards(self) -> float:
        """The effect, positive if it is on the claimed side; NaN if there is none."""
        effect = math.nan if self.effect is None else self.effect
        return effect if self.relation == GREATER else -effect


def finding(evidence: Evidence, comparison: Comparison, level: float) -> Finding:
    """Test a comparison against the evidence. It fails if its interval at ``level`` is on the wrong side of 0."""
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
    """The difference of the sides' means, and what :func:`interval` needs about its errors."""
    left, right = comparison.left, comparison.right
    shared = [run for run in runs[0] if run in runs[1]]
    timed = _timed_together(evidence, comparison, runs)

    def less(run: str, other: str) -> Optional[float]:
        values = evidence.value(run, left), evidence.value(other, right)
        return None if values[0] is None or values[1] is None else values[0] - values[1]

    if shared:  # both sides come from the same trainings, so only their differences vary
        runs = [shared, shared]
        trainings = [_trainings(evidence, lambda run: less(run, run), shared)]
    elif timed:  # the speed of the machine at that time cancels out
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
    """Pairs of runs of equal seeds, if both sides are speeds, else none. The detectors of a table are timed in turns,
    image by image, and all of a seed in one session (experiments/training/speed.py)."""
    sides = comparison.left, comparison.right
    if not is_speed(tuple(side.key for side in sides)):
        return []
    left, right = (evidence.plan.cell_at(side.at).runs for side in sides)
    pairs = [(left[seed], right[seed]) for seed in left if seed in right]
    return [(run, other) for run, other in pairs if run in runs[0] and other in runs[1]]


def _trainings(evidence: Evidence, value: Callable[[str], Optional[float]], runs: List[str]) -> Trainings:
    """The trainings of a side. If they are too few, their spread is pooled from the cells of the table that have
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
    """The difference's standard error over test images, and the number of images. None if a side has no matches, or if
    the sides have different images."""
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
    """A claim of a plan, the findings of its comparisons, and the verdict: 'holds', 'fails' or 'undecided'."""

    plan: StoredPlan
    claim: Claim
    verdict: str
    findings: Tuple[Finding, ...]


def judge(runs: Path, profile: str, names: Sequence[str], samples: int = SAMPLES) -> Tuple[List[Verdict], List[str]]:
    """Judge every claim of some tables.

    Args:
        runs (Path): folder of the runs.
        profile (str): their profile.
        names (sequence): names of the tables' plans.
        samples (int): number of samples of the test images.

    Returns:
        tuple: the verdicts, and a line for each broken file.

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
