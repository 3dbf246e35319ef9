"""Judges which of the paper's claims hold, from the stored runs. docs/claims.md explains the method.

A claim holds if every comparison's 95 % interval lies on the claimed side. It needs no correction, because all must
hold. A claim fails if the interval of one comparison lies on the other side. One of many may lie there by chance, so
these intervals have Bonferroni's correction: level 1 - 0.05 / m for m comparisons. Otherwise the claim is undecided.
That one cell is the best of several is judged by Hsu's multiple comparisons with the best, and that at least one is
better than a control by Dunnett's comparisons with a control.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

from analysis.claims.evidence import load_evidence
from analysis.claims.finding import (
    AS_PRINTED,
    FAILS,
    HOLDS,
    LARGER,
    NO,
    OPEN,
    SMALLER,
    UNDECIDED,
    YES,
    Comparer,
    Finding,
    compared,
)
from analysis.claims.noise import NoiseModel
from analysis.claims.statistics import CONFIDENCE, Interval, best_interval, control_confidence
from analysis.results import is_speed, load_plan
from experiments.spec.schema import GREATER, Claim, Comparison, Quantity, StoredPlan


@dataclass(frozen=True)
class Judgement:
    """A verdict, and the findings of the comparisons behind it."""

    verdict: str
    findings: Tuple[Finding, ...]


@dataclass(frozen=True)
class Verdict:
    """A claim of a plan, and what was found about it.

    Attributes:
        plan (StoredPlan): the plan.
        claim (Claim): the claim.
        verdict (str): 'holds', 'fails' or 'undecided': by the paper's words, or by the suite's threshold if the words
            compare nothing.
        findings (tuple[Finding]): the comparisons behind it.
        size (str, optional): the measured differences against the paper's: 'as printed' if all of them may be that,
            'smaller' if one is smaller, else 'larger'. None if the paper prints none.
        matters (str): 'no' if no difference matters, 'yes' if all do, else 'open'.
        best (tuple, optional): how far the cell that is claimed to be the best is above the best of the others: Hsu's
            interval or, where cells share trainings, one of Bonferroni's; its ends are at most and at least 0.
        share (Judgement, optional): the same of gaps as a share of the metric with NMS.
        threshold (Judgement, optional): the suite's own threshold.
    """

    plan: StoredPlan
    claim: Claim
    verdict: str
    findings: Tuple[Finding, ...]
    size: Optional[str] = None
    matters: str = OPEN
    best: Optional[Interval] = None
    share: Optional[Judgement] = None
    threshold: Optional[Judgement] = None

    @property
    def decided(self) -> bool:
        """Whether it holds or fails."""
        return self.verdict != UNDECIDED


def judge(
    runs: Path, profile: str, names: Sequence[str], confidence: float = CONFIDENCE
) -> Tuple[List[Verdict], List[str]]:
    """Judge every claim of some tables.

    Args:
        runs (Path): folder of the runs.
        profile (str): their profile.
        names (sequence): names of the tables' plans.
        confidence (float): confidence level of the verdicts.

    Returns:
        tuple: the verdicts, and a line for each broken file.

    Raises:
        UserError: a plan is missing or broken.
    """
    plans = [load_plan(runs, profile, name) for name in names]
    evidence, warnings = load_evidence(runs, profile, plans)
    noise = NoiseModel(evidence)
    return [
        _verdict(Comparer(noise, plan, confidence=confidence), claim) for plan in plans for claim in plan.claims
    ], warnings


def _verdict(comparer: Comparer, claim: Claim) -> Verdict:
    plan = comparer.plan
    threshold = _judgement(comparer, claim.threshold.comparisons) if claim.threshold else None
    if not claim.comparisons:
        assert threshold is not None  # a claim compares something
        return Verdict(plan, claim, threshold.verdict, threshold.findings, threshold=threshold)
    words = (_against_control if claim.control else _judgement)(comparer, claim.comparisons)
    sides = [side for each in claim.comparisons for side in (each.left, each.right)]
    gaps = all(side.minus and side.times == 1 and not side.plus for side in sides)  # points cannot be added to a share
    share = _judgement(replace(comparer, share=True), claim.comparisons) if gaps else None
    verdict, size, best = words.verdict, _size(words.findings), None
    if claim.best:
        lead = _lead(comparer, words.findings)
        verdict, size = _of_lead(lead), compared(paper_lead(words.findings), lead, 1)
        best = lead and (min(0.0, lead[0]), max(0.0, lead[1]))
    return Verdict(plan, claim, verdict, words.findings, size, _matters(words.findings), best, share, threshold)


def _judgement(comparer: Comparer, comparisons: Sequence[Comparison]) -> Judgement:
    level = 1 - (1 - comparer.confidence) / len(comparisons)
    findings = tuple(comparer.finding(comparison, level) for comparison in comparisons)
    found = {each.verdict for each in findings}
    return Judgement(FAILS if FAILS in found else HOLDS if found == {HOLDS} else UNDECIDED, findings)


def _against_control(comparer: Comparer, comparisons: Sequence[Comparison]) -> Judgement:
    """Whether at least one cell is better than the control: Dunnett's intervals, or Bonferroni's where these are not
    known or cells share trainings. It fails if all are worse, which needs no correction."""
    cells = (comparisons[0].right, *(each.left for each in comparisons))
    confidence = None
    apart = not is_speed((cells[0].key,)) and not _share_runs(comparer.plan, cells)
    if apart and all(comparer.measured(cell) for cell in cells):
        sides, _, heavy = comparer.sides(*cells)
        confidence = None if heavy else control_confidence(sides[0], sides[1:], comparer.confidence)
    each_level = confidence or 1 - (1 - comparer.confidence) / len(comparisons)
    one = replace(comparer, confidence=each_level)
    findings = tuple(one.finding(comparison, comparer.confidence) for comparison in comparisons)
    found = {each.verdict for each in findings}
    return Judgement(HOLDS if HOLDS in found else FAILS if found == {FAILS} else UNDECIDED, findings)


def _lead(comparer: Comparer, findings: Sequence[Finding]) -> Optional[Interval]:
    """How far the claimed best cell is above the best of the others, in the claimed direction. None if that is unknown:
    something was not measured, a comparison by ranks has no interval, or it is a speed.

    Cells that are compared by ranks are left out of Hsu's interval. Its upper end is an upper bound without them too,
    and its lower end is at most the lower ends of their own intervals. If cells share trainings, it is made of
    Bonferroni's intervals, which hold however the cells vary together.
    """
    every = (findings[0].comparison.left, *(each.comparison.right for each in findings))
    if _share_runs(comparer.plan, every) and not is_speed((every[0].key,)):
        own = [sorted(each.sign * end for end in each.corrected) for each in findings if each.corrected]
        return (min(low for low, _ in own), min(high for _, high in own)) if len(own) == len(findings) else None
    by_ranks = [each for each in findings if each.ranks]
    rest = [each.comparison for each in findings if not each.ranks]
    if not rest or any(each.interval is None for each in by_ranks):
        return None
    cells = (rest[0].left, *(each.right for each in rest))
    if is_speed((cells[0].key,)) or not all(comparer.measured(cell) for cell in cells):
        return None
    sides, _, _ = comparer.sides(*cells)
    sign = 1 if rest[0].relation == GREATER else -1
    lead = best_interval(sides[0], sides[1:], sign, comparer.confidence)
    ends = [sign * end for each in by_ranks for end in each.interval or ()]
    return lead and (min([lead[0], *ends]), lead[1])


def _share_runs(plan: StoredPlan, quantities: Sequence[Quantity]) -> bool:
    """Whether a training is behind two of the quantities, so that they do not vary independently."""
    runs = [run for quantity in quantities for run in set(plan.cell_at(quantity.at).runs.values())]
    return len(set(runs)) < len(runs)


def _of_lead(lead: Optional[Interval]) -> str:
    return UNDECIDED if lead is None else HOLDS if lead[0] > 0 else FAILS if lead[1] < 0 else UNDECIDED


def paper_lead(findings: Sequence[Finding]) -> Optional[float]:
    """How far the paper's best cell is above its second best one."""
    printed = [each.sign * each.paper for each in findings if each.paper is not None]
    return min(printed) if len(printed) == len(findings) else None


def _size(findings: Sequence[Finding]) -> Optional[str]:
    sizes = {each.size for each in findings if each.size}
    return next((size for size in (SMALLER, LARGER, AS_PRINTED) if size in sizes), None)


def _matters(findings: Sequence[Finding]) -> str:
    found = {each.matters for each in findings}
    return found.pop() if found in ({YES}, {NO}) else OPEN
