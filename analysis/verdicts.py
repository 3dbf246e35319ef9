"""Which of the paper's claims hold, as the stored runs have it; docs/claims.md says how that is judged and why.

A claim holds where every comparison's 95 % interval lies on the claimed side: to ask that of all is strict enough. It
fails where the interval of one lies on the other side; as one of many may lie there by chance, these intervals are
Bonferroni's, 1 - 0.05 / m for m comparisons. Else it is undecided.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import List, Sequence, Tuple

from analysis.bootstrap import SAMPLES
from analysis.claims import Claim, read_claims
from analysis.evidence import Evidence, load_evidence
from analysis.findings import FAILS, HOLDS, UNDECIDED, Finding, finding
from analysis.intervals import CONFIDENCE
from analysis.plans import Plan
from analysis.results import UserError, load_plan


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
    verdicts = [_verdict(each, claim) for each, of_plan in zip(evidence, claims) for claim in of_plan]
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


def _verdict(evidence: Evidence, claim: Claim) -> Verdict:
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
