"""Verdicts as the page shows them: words, and each interval as a bar on the scale of its claim."""

from dataclasses import dataclass
from typing import List, Optional, Tuple

from analysis import verdict_words
from analysis.findings import FAILS, HOLDS, UNDECIDED, Finding
from analysis.verdicts import Verdict

#: Each verdict and the sign that stands before its word.
SIGNS = {HOLDS: '✓', FAILS: '✗', UNDECIDED: '?'}
#: Width of the bars' scale.
SCALE = 120


@dataclass(frozen=True)
class Bar:
    """An interval on a scale from 0 to ``SCALE``: its ends, the difference itself, where 0 lies, and from where to
    where the claimed side reaches."""

    low: float
    high: float
    effect: float
    zero: float
    claimed: Tuple[float, float]


@dataclass(frozen=True)
class Comparison:
    """A comparison of a claim: how it was found, words on it, and its bar where it has an interval."""

    found: Finding
    effect: str
    interval: str
    errors: str
    bar: Optional[Bar]


@dataclass(frozen=True)
class ClaimView:
    """A claim: its verdict, name in links, why it is so judged, the comparison that decides, and all of them."""

    verdict: Verdict
    anchor: str
    why: str
    deciding: Optional[Comparison]
    comparisons: Tuple[Comparison, ...]


def view(verdict: Verdict) -> ClaimView:
    """A verdict as it is shown."""
    scale = _scale(verdict.findings)
    comparisons = tuple(_comparison(found, scale) for found in verdict.findings)
    deciding = verdict_words.deciding(verdict)
    return ClaimView(
        verdict,
        f'claim-{verdict.table}-{verdict.id}',
        verdict_words.why(verdict),
        next((each for each in comparisons if each.found is deciding), None),
        comparisons,
    )


def _comparison(found: Finding, scale: Tuple[float, float]) -> Comparison:
    words = (verdict_words.effect(found), verdict_words.interval(found))
    return Comparison(found, *words, verdict_words.errors(found), _bar(found, scale))


def _scale(findings: Tuple[Finding, ...]) -> Tuple[float, float]:
    """The ends of a claim's scale: 0, every interval, and some room."""
    ends: List[float] = [0.0]
    for found in findings:
        ends += found.interval or ()
    room = 0.05 * (max(ends) - min(ends)) or 1.0
    return min(ends) - room, max(ends) + room


def _bar(found: Finding, scale: Tuple[float, float]) -> Optional[Bar]:
    if found.interval is None or found.effect is None:
        return None

    def at(value: float) -> float:
        return round(SCALE * (value - scale[0]) / (scale[1] - scale[0]), 1)

    claimed = (at(0), SCALE) if found.relation == 'greater' else (0, at(0))
    return Bar(at(found.interval[0]), at(found.interval[1]), at(found.effect), at(0), claimed)
