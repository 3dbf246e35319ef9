"""Looks at one claim after each seed, with error control, and names the cells that it needs.

``run.py TABLE --claim ID --seeds auto`` trains seed by seed and looks after each. Plain 95 % intervals would then be
wrong more often than they say, because each look is another chance. Here the looks share the 5 %
(:func:`analysis.claims.statistics.watched_confidence`).
"""

from pathlib import Path
from typing import Dict, List, Optional

from analysis.claims.judge import Verdict, judge
from analysis.claims.statistics import watched_confidence
from experiments.spec.schema import Claim, Position, Table
from experiments.store.errors import UserError


def claim_of(table: Table, name: str) -> Claim:
    """The claim of a table by its id.

    Raises:
        UserError: the table has no such claim.
    """
    known = {claim.id: claim for claim in table.claims}
    if name not in known:
        raise UserError(f'--claim {name}: {table.name} has no such claim; it has {", ".join(known) or "none"}')
    return known[name]


def cells_of(table: str, claim: Claim) -> Dict[str, List[Position]]:
    """The positions of the cells that a claim compares, by table. The claim's own table comes first."""
    found: Dict[str, List[Position]] = {table: []}
    for comparison in claim.every_comparison:
        sides = [(table, comparison.left), (table, comparison.right)]
        if comparison.more_than is not None:
            other = comparison.more_than
            sides += [(other.table, other.left), (other.table, other.right)]
        for name, side in sides:
            places = found.setdefault(name, [])
            if side.at not in places:
                places.append(side.at)
    return found


def look(runs: Path, profile: str, plan: str, claim: str, seeds: int) -> Optional[Verdict]:
    """The verdict with ``seeds`` seeds per cell at the confidence level of this look; None if it is too early.

    Raises:
        UserError: the plan is missing or broken.
    """
    confidence = watched_confidence(seeds)
    if confidence is None:
        return None
    verdicts, _ = judge(runs, profile, [plan], confidence)
    return next(verdict for verdict in verdicts if verdict.claim.id == claim)
