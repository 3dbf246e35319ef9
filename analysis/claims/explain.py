"""Explains verdicts in words, as Markdown and as JSON: the reason for each verdict, and its evidence."""

import json
import math
from collections import Counter
from itertools import groupby
from typing import Any, Dict, List, Optional, Sequence, Tuple

import pandas as pd

from analysis.claims.judge import FAILS, HOLDS, UNDECIDED, Finding, Verdict
from analysis.claims.statistics import ENOUGH_SEEDS
from analysis.tables.render import table


def counts(verdicts: List[Verdict]) -> str:
    """Counts in words: '12 claims: 5 hold, 3 fail, 4 undecided'."""
    number = Counter(verdict.verdict for verdict in verdicts)
    claims = f'{len(verdicts)} claim{"" if len(verdicts) == 1 else "s"}'
    return f'{claims}: {number[HOLDS]} hold, {number[FAILS]} fail, {number[UNDECIDED]} undecided'


def why(verdict: Verdict) -> str:
    """Why a claim holds, fails or is undecided, and which errors its intervals leave out."""
    sentences = {HOLDS: _why_holds, FAILS: _why_fails, UNDECIDED: _why_undecided}[verdict.verdict](verdict)
    return ' '.join(sentences + _limits(verdict))


def effect(found: Finding) -> str:
    """The effect: '+0.83 points', or a dash if there is none."""
    return '–' if found.effect is None else f'{signed(found.effect)} {found.unit}'


def interval(found: Finding) -> str:
    """The interval: '−0.20 to +1.40', or a dash if there is none."""
    return _range(found.interval)


def deciding(verdict: Verdict) -> Optional[Finding]:
    """The deciding comparison: the one furthest from the claimed side, among those that fail if any fails."""
    found = [each for each in verdict.findings if each.effect is not None]
    failing = [each for each in found if each.verdict == FAILS]
    return min(failing or found, key=lambda each: each.towards, default=None)


def settled_with(verdict: Verdict) -> Optional[Tuple[int, int]]:
    """How many more seeds per cell, and how many in total, would settle an undecided claim, if effects and spread stay
    the same. Settled means that one comparison fails, or else that all hold. None if no number would, or if unknown."""
    open_ = [each for each in verdict.findings if each.verdict != HOLDS]
    if any(each.effect is None for each in open_):
        return None
    against = [each.seeds for each in open_ if each.towards < 0]
    if against:
        total = min((seeds for seeds in against if seeds is not None), default=None)
    else:
        enough = [each.seeds for each in open_ if each.seeds is not None]
        total = max(enough) if len(enough) == len(open_) else None
    return None if total is None else (total - min(map(_seeds, open_)), total)


def side(each: pd.Series) -> str:
    """One side of a comparison: 'AP without NMS, K 7: 38.97 (seeds 0, 1: 38.90, 39.04)'."""
    values = each.dropna()
    if values.empty:
        return f'{each.name}: not measured'
    seeds = f'seed{"s" if len(values) > 1 else ""} {", ".join(map(str, values.index))}'
    numbers = f': {", ".join(f"{value:.2f}" for value in values)}' if len(values) > 1 else ''
    return f'{each.name}: {values.mean():.2f} ({seeds}{numbers})'


def errors(found: Finding) -> str:
    """The errors: 'standard error 0.41 from trainings, 0.20 from test images'. Unknown errors are named as missing."""
    speed = found.unit != 'points'
    noise = ('timings' if speed else 'trainings') + (' (of other cells of this table)' if found.borrowed else '')
    known = [
        f'{error:.2f} from {name}'
        for error, name in ((found.training_error, noise), (found.image_error, 'test images'))
        if error is not None
    ]
    if found.interval is None:
        return 'nothing is known of its error'
    missing = [
        name
        for error, name in ((found.training_error, 'training noise'), (found.image_error, 'the choice of test images'))
        if error is None and not speed  # speeds hardly depend on the choice of images
    ]
    return f'standard error {", ".join(known)}' + ''.join(f'; without {name}' for name in missing)


def signed(number: float) -> str:
    """A number with its sign: '+0.83' or '−0.20'."""
    return f'{round(number, 2) + 0.0:+.2f}'.replace('-', '−')  # + 0.0 turns -0.0 into 0.0


def _why_holds(verdict: Verdict) -> List[str]:
    number = len(verdict.findings)
    least = deciding(verdict)
    assert least is not None  # a claim that holds was measured
    if number == 1:
        return [f'The difference is {effect(least)}, 95 % interval {interval(least)}.']
    return [
        f'All {number} differences lie on the claimed side; the smallest is {effect(least)}, '
        f'95 % interval {interval(least)}.'
    ]


def _why_fails(verdict: Verdict) -> List[str]:
    failing = [each for each in verdict.findings if each.verdict == FAILS]
    worst = deciding(verdict)
    assert worst is not None  # a comparison that fails was measured
    level = f'{100 * worst.level:.3g} % interval {_range(worst.corrected)}'
    if len(verdict.findings) == 1:
        return [f'The difference is {effect(worst)}, {level}: on the other side.']
    several = f'{len(failing)} of {len(verdict.findings)} differences lie on the other side'
    return [f'{several}; the clearest is {effect(worst)}, {level} (corrected for {len(verdict.findings)} comparisons).']


def _why_undecided(verdict: Verdict) -> List[str]:
    sides = [each for found in verdict.findings for each in (found.left, found.right)]
    missing = list(dict.fromkeys(str(each.name) for each in sides if not each.count()))
    if missing:
        more = f' and {len(missing) - 3} more' if len(missing) > 3 else ''
        return [f'Not measured: {"; ".join(missing[:3])}{more}.']
    if any(found.interval is None for found in verdict.findings):
        return [f'Nothing is known of the error: at least {ENOUGH_SEEDS} seeds of each cell would show it.']
    open_ = [found for found in verdict.findings if found.verdict != HOLDS]
    if len(verdict.findings) == 1:
        sentence = f'The difference is {effect(open_[0])}, and its 95 % interval, {interval(open_[0])}, contains 0.'
    else:
        sentence = f'{len(open_)} of {len(verdict.findings)} differences may lie on either side of 0.'
    return [sentence, _what_would_settle(verdict, open_)]


def _what_would_settle(verdict: Verdict, open_: List[Finding]) -> str:
    if any(found.training_error is None for found in open_):
        return f'At least {ENOUGH_SEEDS} seeds of each cell would show how many it takes.'
    settled = settled_with(verdict)
    if settled is None:
        images = ' for these test images' if any(found.image_error is not None for found in open_) else ''
        return f'More seeds alone would not settle it: the differences are too small{images}.'
    more, total = settled
    seeds = f'{more} more seed{"" if more == 1 else "s"}'
    return f'About {seeds} per cell ({total} in all) would settle it, if differences and spread stay as they are.'


def _limits(verdict: Verdict) -> List[str]:
    """Which errors the intervals leave out."""
    shown = [found for found in verdict.findings if found.interval is not None]
    sentences = []
    if any(found.training_error is None for found in shown):
        sentences.append(
            'Intervals over test images alone contain no training noise: this is about these trainings, and others may '
            'turn out otherwise.'
        )
    if any(found.borrowed for found in shown):
        sentences.append(
            f'Where a cell has fewer than {ENOUGH_SEEDS} seeds, its training noise is that of other cells of the table.'
        )
    if any(found.image_error is None and found.unit == 'points' for found in shown):
        sentences.append('Intervals over seeds alone are about these test images.')
    return sentences


def _seeds(found: Finding) -> int:
    return min(found.left.count(), found.right.count())


def _range(ends: Optional[Tuple[float, float]]) -> str:
    return '–' if ends is None or not all(map(math.isfinite, ends)) else f'{signed(ends[0])} to {signed(ends[1])}'


SUFFIXES = {'markdown': '.md', 'json': '.json'}


def render(verdicts: List[Verdict], format: str = 'markdown') -> str:
    """Verdicts as text that ends in one newline. ``format`` is a key of ``SUFFIXES``."""
    return {'markdown': _markdown, 'json': _json}[format](verdicts)


def _markdown(verdicts: List[Verdict]) -> str:
    profile = f' (profile {verdicts[0].plan.profile})' if verdicts else ''
    parts = [f'# Claims{profile}', f'{counts(verdicts)}.', _summary(verdicts)]
    for _, group in groupby(verdicts, key=lambda verdict: verdict.plan.name):
        of_table = list(group)
        parts.append(f'## {of_table[0].plan.name}: {_line(of_table[0].plan.title)}')
        parts += [_claim(verdict) for verdict in of_table]
    return '\n\n'.join(parts) + '\n'


def brief(verdicts: List[Verdict]) -> str:
    """A table with a row for each claim: its statement and the deciding comparison."""
    rows = [['table', 'what is claimed', 'difference', '95 % interval']]
    for verdict in verdicts:
        rows.append([verdict.plan.name, f'{_line(verdict.claim.statement)} (`{verdict.claim.id}`)', *_numbers(verdict)])
    return table(rows)


def headline(verdicts: List[Verdict], ids: Sequence[str]) -> str:
    """A table of the judged claims with these ids, in this order, and the counts of all verdicts."""
    by_id = {verdict.claim.id: verdict for verdict in verdicts}
    rows = [['what the paper claims', 'here', 'difference', '95 % interval']]
    for verdict in (by_id[id_] for id_ in ids if id_ in by_id):
        rows.append([_line(verdict.claim.statement), verdict.verdict, *_numbers(verdict)])
    return f'{table(rows)}\n\n{counts(verdicts)}.'


def evidence(verdict: Verdict) -> str:
    """A claim's comparisons: the values on each side, and the error of the difference."""
    return '\n'.join([f'`{verdict.claim.id}`', '', *map(_finding, verdict.findings)])


def _summary(verdicts: List[Verdict]) -> str:
    """A line for each claim, with the deciding comparison."""
    rows = [['table', 'claim', 'verdict', 'claimed', 'difference', '95 % interval']]
    for verdict in verdicts:
        claimed = (deciding(verdict) or verdict.findings[0]).relation
        rows.append([verdict.plan.name, verdict.claim.id, verdict.verdict, claimed, *_numbers(verdict)])
    return table(rows)


def _numbers(verdict: Verdict) -> List[str]:
    """Effect and interval of the deciding comparison; dashes if none was measured."""
    found = deciding(verdict)
    return [effect(found), interval(found)] if found else ['–', '–']


def _claim(verdict: Verdict) -> str:
    claim = verdict.claim
    lines = [
        f'### {claim.id}: {verdict.verdict}',
        f'Claimed: {_line(claim.statement)} ({_line(claim.where)}). Paper: "{_line(claim.quote)}"',
        f'**{verdict.verdict.capitalize()}.** {why(verdict)}',
        '\n'.join(map(_finding, verdict.findings)),
    ]
    return '\n\n'.join(lines)


def _finding(found: Finding) -> str:
    text = f'- {side(found.left)}; claimed to be {found.relation} than {side(found.right)}.'
    if found.effect is not None:
        text += f' Difference {effect(found)}, 95 % interval {interval(found)} ({errors(found)}).'
    return f'{text} {found.verdict.capitalize()}.'


def _json(verdicts: List[Verdict]) -> str:
    content = dict(schema=2, claims=[_claim_content(verdict) for verdict in verdicts])
    return json.dumps(content, indent=1, ensure_ascii=False) + '\n'


def _claim_content(verdict: Verdict) -> Dict[str, Any]:
    plan, claim = verdict.plan, verdict.claim
    return dict(
        table=plan.name,
        title=plan.title,
        profile=plan.profile,
        **claim.model_dump(exclude={'comparisons'}),
        verdict=verdict.verdict,
        findings=[_finding_content(verdict, found) for found in verdict.findings],
        why=why(verdict),
    )


def _finding_content(verdict: Verdict, found: Finding) -> Dict[str, Any]:
    sides = {}
    for name, quantity, values in zip(
        ('left', 'right'), (found.comparison.left, found.comparison.right), (found.left, found.right)
    ):
        by_seed = values.astype(object).where(values.notna(), None).to_dict()
        runs = verdict.plan.cell_at(quantity.at).runs
        sides[name] = dict(words=values.name, at=quantity.at, runs=runs, values=by_seed)
    told = ('relation', 'unit', 'level', 'effect', 'interval', 'corrected', 'training_error', 'borrowed', 'image_error')
    return dict(**sides, **{key: getattr(found, key) for key in (*told, 'seeds', 'verdict')})


def _line(text: str) -> str:
    return ' '.join(text.split())
