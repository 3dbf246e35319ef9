"""Which of the paper's claims hold, from the stored runs; docs/claims.md says how that is judged and why.

A claim holds where every comparison's 95 % interval lies on the claimed side: to ask that of all is strict enough. It
fails where the interval of one lies on the other side. As one of many may lie there by chance, these intervals are
Bonferroni's, 1 - 0.05 / m for m comparisons. Otherwise it is undecided.
"""

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np

from analysis.claims.claims import GREATER, Claim, Comparison, Quantity, cell_at, read_claims
from analysis.claims.evidence import Evidence, load_evidence, unit
from analysis.claims.statistics import CONFIDENCE, ENOUGH_SEEDS, SAMPLES, Difference, Trainings, spread_of_trainings
from analysis.plans import Plan
from analysis.readings import is_speed
from analysis.results import load_plan
from experiments.store.errors import UserError

HOLDS, FAILS, UNDECIDED = 'holds', 'fails', 'undecided'


@dataclass(frozen=True)
class Side:
    """One side of a comparison: what it is in words, the cell it is of, and each seed's run and value (in the
    comparison's unit, None where it was not measured)."""

    words: str
    at: Dict[str, str]
    runs: Dict[int, str]
    values: Dict[int, Optional[float]]

    @property
    def mean(self) -> Optional[float]:
        """Over the seeds that have a value."""
        values = [value for value in self.values.values() if value is not None]
        return float(np.mean(values)) if values else None


@dataclass(frozen=True)
class Finding:
    """One comparison, as it was found.

    Attributes:
        left, right (Side): its sides.
        relation (str): 'less' or 'greater', what the left side is claimed to be.
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

    left: Side
    right: Side
    relation: str
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
    def towards(self) -> float:
        """The effect, positive where it is on the claimed side; NaN where there is none."""
        effect = math.nan if self.effect is None else self.effect
        return effect if self.relation == GREATER else -effect


def finding(evidence: Evidence, comparison: Comparison, level: float) -> Finding:
    """Hold a comparison against the evidence; it fails where its interval at ``level`` is on the wrong side of 0."""
    left, right = (_side(evidence, quantity) for quantity in (comparison.left, comparison.right))
    found = partial(Finding, left, right, comparison.relation, unit(comparison.left.key), level)
    runs = [[run for seed, run in side.runs.items() if side.values[seed] is not None] for side in (left, right)]
    if not all(runs):
        return found()
    difference = _difference(evidence, comparison, runs)
    interval, corrected = difference.interval(), difference.interval(level)
    verdict = _verdict(interval, corrected, comparison.relation)
    claimed = (difference.effect > 0) == (comparison.relation == GREATER)
    settle = difference.seeds_to_settle(CONFIDENCE if claimed else level) if verdict == UNDECIDED else None
    return found(
        effect=difference.effect,
        interval=interval,
        corrected=corrected,
        training_error=difference.training_error,
        borrowed=any(each.number < ENOUGH_SEEDS and each.variance is not None for each in difference.trainings),
        image_error=difference.image_error,
        seeds=settle,
        verdict=verdict,
    )


def _side(evidence: Evidence, quantity: Quantity) -> Side:
    runs = cell_at(evidence.plan, quantity.at).runs
    values = {seed: evidence.value(run, quantity) for seed, run in runs.items()}
    return Side(quantity.words(evidence.plan), quantity.at, runs, values)


def _difference(evidence: Evidence, comparison: Comparison, runs: List[List[str]]) -> Difference:
    """The difference of the sides' means, and its errors."""
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
        differences = tuple(less(run, other) for run, other in timed)
        spread = spread_of_trainings(differences) if len(timed) >= ENOUGH_SEEDS else None
        trainings = [Trainings(len(timed), spread, len(timed) - 1)]
    else:
        trainings = [
            _trainings(evidence, partial(evidence.value, quantity=quantity), of_side)
            for quantity, of_side in zip((left, right), runs)
        ]
    means = [
        np.mean([evidence.value(run, quantity) for run in of_side]) for quantity, of_side in zip((left, right), runs)
    ]
    return Difference(float(means[0] - means[1]), trainings, *_image_error(evidence, comparison, runs))


def _timed_together(evidence: Evidence, comparison: Comparison, runs: List[List[str]]) -> List[Tuple[str, str]]:
    """For two speeds the runs of equal seeds; the detectors of a table are timed in turns, image by image, and all of a
    seed in one sitting (experiments/training/speed.py)."""
    sides = comparison.left, comparison.right
    if not is_speed(tuple(side.key for side in sides)):
        return []
    left, right = (cell_at(evidence.plan, side.at).runs for side in sides)
    pairs = [(left[seed], right[seed]) for seed in left if seed in right]
    return [(run, other) for run, other in pairs if run in runs[0] and other in runs[1]]


def _trainings(evidence: Evidence, value: Callable[[str], Optional[float]], runs: List[str]) -> Trainings:
    """The trainings of a side. Where they are too few, their spread is taken from the cells of the table that have
    enough."""
    if len(runs) >= ENOUGH_SEEDS:
        return Trainings(len(runs), spread_of_trainings(tuple(value(run) for run in runs)), len(runs) - 1)
    cells = dict.fromkeys(tuple(cell.runs.values()) for cell in evidence.plan.cells)
    values = [tuple(each for each in map(value, cell) if each is not None) for cell in cells]
    values = [of_cell for of_cell in values if len(of_cell) >= ENOUGH_SEEDS]
    freedom = sum(len(of_cell) - 1 for of_cell in values)
    pooled = sum(spread_of_trainings(of_cell) * (len(of_cell) - 1) for of_cell in values)
    return Trainings(len(runs), pooled / freedom if freedom else None, freedom)


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
    """A claim of a table, and whether it holds: 'holds', 'fails' or 'undecided'."""

    table: str
    title: str
    profile: str
    id: str
    says: str
    quote: str
    where: str
    verdict: str
    findings: Tuple[Finding, ...]


@dataclass(frozen=True)
class Judged:
    """The verdicts on some tables' claims, and a line for each stored file that is broken."""

    verdicts: List[Verdict]
    warnings: List[str]


def judge(runs: Path, profile: str, names: Sequence[str], samples: int = SAMPLES) -> Judged:
    """Check every claim of some tables.

    Args:
        runs (Path): folder of the runs.
        profile (str): their profile.
        names (sequence): names of the tables' plans.
        samples (int): how many samples of the test images are drawn.

    Raises:
        UserError: a plan is missing or broken.
    """
    plans = [load_plan(runs, profile, name) for name in names]
    claims = [claims_of(plan, runs) for plan in plans]
    evidence, warnings = load_evidence(runs, profile, plans, claims, samples)
    verdicts = [_claim_verdict(each, claim) for each, of_plan in zip(evidence, claims) for claim in of_plan]
    return Judged(verdicts, warnings)


def claims_of(plan: Plan, runs: Path) -> Tuple[Claim, ...]:
    """The claims of a plan of the folder ``runs``.

    Raises:
        UserError: one is broken; the message names the file and the key.
    """
    try:
        return read_claims(plan)
    except ValueError as error:
        path = Path(runs) / plan.profile / 'tables' / f'{plan.name}.json'
        raise UserError(f'{path}: {error}: delete it and run the table again') from error


def _claim_verdict(evidence: Evidence, claim: Claim) -> Verdict:
    level = 1 - (1 - CONFIDENCE) / len(claim.comparisons)
    findings = tuple(finding(evidence, comparison, level) for comparison in claim.comparisons)
    found = {each.verdict for each in findings}
    plan = evidence.plan
    return Verdict(
        table=plan.name,
        title=plan.title,
        profile=plan.profile,
        id=claim.id,
        says=claim.says,
        quote=claim.quote,
        where=claim.where,
        verdict=FAILS if FAILS in found else HOLDS if found == {HOLDS} else UNDECIDED,
        findings=findings,
    )
