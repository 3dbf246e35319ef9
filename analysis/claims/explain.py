"""Explains verdicts in words, as Markdown and as JSON: the reason for each verdict, and its evidence."""

import json
import math
from collections import Counter
from itertools import groupby
from typing import Any, Dict, List, Optional, Sequence, Tuple

import pandas as pd

from analysis.claims.finding import AS_PRINTED, FAILS, HOLDS, LARGER, NO, SMALLER, UNDECIDED, YES, Finding
from analysis.claims.judge import Judgement, Verdict, paper_lead
from analysis.claims.noise import Noise
from analysis.claims.statistics import CONFIDENCE, FIRST_LOOK, MOST_SEEDS, needs_images
from analysis.tables.notes import seeds_in_words
from analysis.tables.render import table


def counts(verdicts: List[Verdict]) -> str:
    """Counts in words: '12 claims: 5 hold, 3 fail, 4 undecided'; the paper's, those of studies and those judged with
    other settings (``--set``) apart."""
    kinds = zip(apart(verdicts), (' of the paper', ' of studies', ' with other settings'))
    found = [(of_kind, whose) for of_kind, whose in kinds if of_kind]
    if len(found) > 1:
        return '; '.join(_counts(of_kind, whose) for of_kind, whose in found)
    return _counts(verdicts)


def apart(verdicts: List[Verdict]) -> Tuple[List[Verdict], List[Verdict], List[Verdict]]:
    """Verdicts on claims of the paper, those on claims of studies, and those on either in tables with ``--set``."""
    as_written = [each for each in verdicts if not each.plan.overrides]
    return (
        [each for each in as_written if not each.plan.question],
        [each for each in as_written if each.plan.question],
        [each for each in verdicts if each.plan.overrides],
    )


def _counts(verdicts: List[Verdict], whose: str = '') -> str:
    number = Counter(verdict.verdict for verdict in verdicts)
    claims = f'{len(verdicts)} claim{"" if len(verdicts) == 1 else "s"}{whose}'
    return f'{claims}: {number[HOLDS]} hold, {number[FAILS]} fail, {number[UNDECIDED]} undecided'


def why(verdict: Verdict) -> str:
    """Why a claim holds, fails or is undecided; the paper's size; what else was judged; and what the intervals lack."""
    by_words = bool(verdict.claim.comparisons)
    sentences = [] if by_words else [f"Judged by this suite's own threshold: {_threshold(verdict)}."]
    sentences += _direction(verdict) if verdict.best is None else [_best(verdict)]
    sentences += [_size(verdict), _matters(verdict)]
    if verdict.share:
        sentences.append(f'As a share of {_whole(verdict)}, this {_verb(verdict.share)} ({_shown(verdict.share)}).')
    if verdict.threshold and by_words:
        shown = f'{_verb(verdict.threshold)} ({_shown(verdict.threshold)})'
        sentences.append(f"This suite's own threshold, {_threshold(verdict)}, {shown}.")
    return ' '.join(each for each in sentences + _limits(verdict) if each)


def effect(found: Finding) -> str:
    """The effect: '+0.83 points', or a dash if there is none."""
    return '–' if found.effect is None else f'{signed(found.effect)} {found.unit}'


def interval(found: Finding) -> str:
    """The interval: '−0.20 to +1.40', with its level if that is not 95 %, or a dash if there is none."""
    usual = found.interval is None or math.isclose(found.confidence, CONFIDENCE)
    return _range(found.interval) + ('' if usual else f' ({100 * found.confidence:.3g} %)')


def with_level(found: Finding) -> str:
    """The interval after its level: '95 % interval −0.20 to +1.40'."""
    return f'{100 * found.confidence:.3g} % interval {_range(found.interval)}'


def watched(claim: str, seeds: int, verdict: Optional[Verdict]) -> str:
    """A line about a look at a claim: its verdict and the interval of the deciding comparison at the look's level."""
    look = f'{claim}, {seeds} seed{"s" * (seeds > 1)} per cell'
    if verdict is None:
        return f'{look}: the first look is at {FIRST_LOOK} seeds'
    found = deciding(verdict.findings, verdict.claim.control)
    if found is None or found.interval is None:
        return f'{look}: {verdict.verdict}; {_why_undecided(verdict.findings)[0]}'
    level = f'{100 * found.confidence:.2f} % interval {_range(found.interval)}'
    if verdict.verdict == FAILS:
        level = f'{100 * found.level:.2f} % interval {_range(found.corrected)}'
    return f'{look}: {verdict.verdict}; difference {effect(found)}, {level}'


def deciding(findings: Sequence[Finding], one_is_enough: bool = False) -> Optional[Finding]:
    """The deciding comparison: the one furthest from the claimed side, among those that fail if any fails.

    If one is enough for the claim, it is the one furthest on the claimed side."""
    found = [each for each in findings if each.effect is not None]
    if one_is_enough:
        return max(found, key=lambda each: each.towards, default=None)
    failing = [each for each in found if each.verdict == FAILS]
    return min(failing or found, key=lambda each: each.towards, default=None)


def settled_with(findings: Sequence[Finding]) -> Optional[Tuple[int, int]]:
    """How many more seeds the cells need at most, and how many in total, to settle an undecided claim, if effects and
    spread stay the same. Settled means that one comparison fails, or else that all hold. None if no number would, or if
    unknown."""
    open_ = [each for each in findings if each.verdict != HOLDS]
    if any(each.effect is None for each in open_):
        return None
    against = [each for each in open_ if each.towards < 0]
    known = [
        (each.seeds, min(number for _, number in each.estimate.sides))
        for each in against or open_
        if each.seeds is not None and each.estimate is not None
    ]
    if not known or not against and len(known) < len(open_):
        return None
    needed = [min(known)] if against else known
    return max(total - fewest for total, fewest in needed), max(total for total, _ in needed)


def side(each: pd.Series) -> str:
    """One side of a comparison: 'AP without NMS, K 7: 38.97 (seeds 0, 1: 38.90, 39.04)'."""
    values = each.dropna()
    if values.empty:
        return f'{each.name}: not measured'
    seeds = seeds_in_words(values.index)
    numbers = f': {", ".join(f"{value:.2f}" for value in values)}' if len(values) > 1 else ''
    return f'{each.name}: {values.mean():.2f} ({seeds}{numbers})'


def than(found: Finding) -> str:
    """The difference of another table that the claimed one is larger than; '' if there is none."""
    if found.other is None or found.comparison.more_than is None:
        return ''
    other, table = found.other, _tables([found.comparison.more_than.table])
    return f', by more than in {table} {side(other.left)} is {other.relation} than {side(other.right)}'


def errors(found: Finding) -> str:
    """The errors: 'standard error 0.41 from trainings, 0.20 from test images; 72 degrees of freedom'."""
    speed = found.comparison.left.key.startswith('speed/')
    if found.interval is None:
        return 'by ranks: too few seeds for an interval' if found.ranks else 'nothing is known of its error'
    images = '' if found.image_error is None else f'{found.image_error:.2f} from test images'
    if found.ranks:
        return f'by ranks; standard error {images}' if images else 'by ranks; without the choice of test images'
    known = [f'{found.training_error:.2f} from {"timings" if speed else "trainings"}', *([images] if images else [])]
    freedom = f'; {found.freedom:.0f} degrees of freedom' if found.freedom and math.isfinite(found.freedom) else ''
    missing = '' if images or speed else '; without the choice of test images'  # speeds hardly depend on images
    return f'standard error {", ".join(known)}{freedom}{missing}'


def paper(found: Finding) -> str:
    """The paper's difference: '+1.40', or a dash if it prints none."""
    return '–' if found.paper is None else signed(found.paper)


def noise(findings: Sequence[Finding]) -> List[str]:
    """What the noise of training was estimated from, a sentence for each source."""
    sources = {(noise.training, noise.groups): noise for each in findings for noise in each.noises}
    return [_noise(each) for each in sources.values()]


def signed(number: float) -> str:
    """A number with its sign: '+0.83' or '−0.20'."""
    return f'{round(number, 2) + 0.0:+.2f}'.replace('-', '−')  # + 0.0 turns -0.0 into 0.0


def _direction(verdict: Verdict) -> List[str]:
    if verdict.claim.control:
        return _control(verdict)
    return {HOLDS: _why_holds, FAILS: _why_fails, UNDECIDED: _why_undecided}[verdict.verdict](verdict.findings)


def _control(verdict: Verdict) -> List[str]:
    """How the cells differ from their control."""
    findings = verdict.findings
    first = deciding(findings, one_is_enough=True)
    unmeasured = verdict.verdict == UNDECIDED and any(each.effect is None for each in findings)
    if first is None or first.interval is None or unmeasured:
        return _why_undecided(findings)
    shown = f'{effect(first)}, {with_level(first)}'
    if verdict.verdict == HOLDS:
        number = sum(each.verdict == HOLDS for each in findings)
        sentence = f'{number} of {len(findings)} differences from the control lie on the claimed side'
        return [f'{sentence}; the clearest is {shown} ({_level(first, len(findings))}).']
    if verdict.verdict == FAILS:
        every = f'All {len(findings)} differences from the control lie on the other side'
        return [
            f'{every}; the smallest is {effect(first)}, {100 * first.level:.3g} % interval {_range(first.corrected)}.'
        ]
    sentence = f'None of {len(findings)} differences from the control is shown to lie on the claimed side'
    sentence += f'; the largest is {shown} ({_level(first, len(findings))}).'
    return [sentence, _what_would_settle([first], [first])] if first.towards > 0 else [sentence]


def _level(found: Finding, number: int) -> str:
    """Whose level an interval of several differences from one control has."""
    bonferroni = math.isclose(found.confidence, 1 - (1 - found.level) / number)
    return f"{'Bonferroni' if bonferroni else 'Dunnett'}'s level for {number} comparison{'s' * (number > 1)}"


def _why_holds(findings: Sequence[Finding]) -> List[str]:
    least = deciding(findings)
    assert least is not None  # a claim that holds was measured
    if len(findings) == 1:
        return [f'The difference is {effect(least)}, {with_level(least)}.']
    return [
        f'All {len(findings)} differences lie on the claimed side; the smallest is {effect(least)}, '
        f'{with_level(least)}.'
    ]


def _why_fails(findings: Sequence[Finding]) -> List[str]:
    failing = [each for each in findings if each.verdict == FAILS]
    worst = deciding(findings)
    assert worst is not None  # a comparison that fails was measured
    level = f'{100 * worst.level:.3g} % interval {_range(worst.corrected)}'
    if len(findings) == 1:
        return [f'The difference is {effect(worst)}, {level}: on the other side.']
    several = f'{len(failing)} of {len(findings)} differences lie on the other side'
    return [f'{several}; the clearest is {effect(worst)}, {level} (corrected for {len(findings)} comparisons).']


def _why_undecided(findings: Sequence[Finding]) -> List[str]:
    every = [each for found in findings for each in (found, found.other) if each]
    sides = [each for found in every for each in (found.left, found.right)]
    missing = list(dict.fromkeys(str(each.name) for each in sides if not each.count()))
    if missing:
        more = f' and {len(missing) - 3} more' if len(missing) > 3 else ''
        return [f'Not measured: {"; ".join(missing[:3])}{more}.']
    if any(found.interval is None and found.ranks and found.other for found in findings):
        return ['The seeds of a cell differ far more than those of other cells, and there is no test of four by ranks.']
    if any(found.interval is None and found.ranks for found in findings):
        return ['The seeds of a cell differ far more than those of other cells, and are too few for a test by ranks.']
    if any(found.interval is None for found in findings):
        return ['Nothing is known of the noise of training: several seeds of some cells would show it.']
    open_ = [found for found in findings if found.verdict != HOLDS]
    if len(findings) == 1:
        sentence = f'The difference is {effect(open_[0])}, {with_level(open_[0])}, which contains 0.'
    else:
        sentence = f'{len(open_)} of {len(findings)} differences may lie on either side of 0.'
    return [sentence, _what_would_settle(findings, open_)]


def _what_would_settle(findings: Sequence[Finding], open_: List[Finding]) -> str:
    settled = settled_with(findings)
    images = max((found.more_images or 0.0 for found in open_), default=0.0)
    enough = f'{images:.1f} times as many test images' if images and all(f.more_images for f in open_) else ''
    if settled is None:
        if any(found.estimate is None for found in open_):
            return ''  # by ranks: what more seeds would show is not known
        instead = f' About {enough} would, with these seeds.' if enough else ''
        if any(found.estimate and needs_images(found.estimate, found.settling_level) for found in open_):
            return (
                f'More seeds alone would not settle it: the differences are too small for these test images.{instead}'
            )
        return f'{MOST_SEEDS} seeds per cell would not settle it: the differences are too small.{instead}'
    more, total = settled
    seeds = f'{more} more seed{"" if more == 1 else "s"}'
    instead = f', or {enough} with these seeds,' if enough else ''
    return (
        f'About {seeds} per cell ({total} in all){instead} would settle it with a probability of 80 %, '
        'if differences and spread are as they seem.'
    )


def _best(verdict: Verdict) -> str:
    """How far the claimed best cell may be from the best of the others."""
    assert verdict.best is not None
    low, high = verdict.best
    unit = verdict.findings[0].unit
    others = f'the best of {len(verdict.findings)} others' if len(verdict.findings) > 1 else 'the other'
    low, high = low + 0.0, high + 0.0  # no -0.0
    if verdict.verdict == HOLDS:
        return f'It is better than {others}, by at most {high:.2f} {unit}, with 95 % confidence.'
    if verdict.verdict == FAILS:
        return f'It is worse than {others}, by at most {-low:.2f} {unit}, with 95 % confidence.'
    return f'It is at most {-low:.2f} {unit} below {others} and at most {high:.2f} above, with 95 % confidence.'


def _size(verdict: Verdict) -> str:
    """The paper's difference beside the measured one."""
    if verdict.size is None:
        return ''
    lead = paper_lead(verdict.findings)
    if verdict.claim.best and lead is not None:
        number = f'Its lead in the paper is {signed(lead)} {verdict.findings[0].unit}'
    elif len(verdict.findings) == 1:
        number = f"The paper's difference is {paper(verdict.findings[0])}"
    else:
        number = ''
    if number:
        return {
            AS_PRINTED: f'{number}, inside the interval.',
            SMALLER: f'{number}: the measured one is smaller.',
            LARGER: f'{number}: the measured one is larger.',
        }[verdict.size]
    return {
        AS_PRINTED: "The paper's differences are inside the intervals.",
        SMALLER: 'The paper prints a larger difference than the intervals allow.',
        LARGER: 'The paper prints a smaller difference than the intervals allow.',
    }[verdict.size]


def _matters(verdict: Verdict) -> str:
    limit = f'{verdict.findings[0].of_interest:g} {verdict.findings[0].unit}'
    what = 'The difference is' if len(verdict.findings) == 1 else 'All differences are'
    if verdict.matters == NO:
        return f'{what} smaller than {limit}: no difference that matters (equivalence test at 5 %).'
    if verdict.matters == YES and verdict.verdict != FAILS:
        return f'{what} larger than {limit}, the smallest of interest.'
    return ''


def _verb(judgement: Judgement) -> str:
    return {HOLDS: 'holds', FAILS: 'fails', UNDECIDED: 'is undecided'}[judgement.verdict]


def _shown(judgement: Judgement) -> str:
    found = deciding(judgement.findings)
    return f'{effect(found)}, {with_level(found)}' if found else 'not measured'


def _threshold(verdict: Verdict) -> str:
    return _line(verdict.claim.threshold.statement) if verdict.claim.threshold else ''


def _whole(verdict: Verdict) -> str:
    """What a share is a share of: 'AP with NMS'."""
    return str(verdict.share.findings[0].left.name).split(') / ')[1].split(',')[0] if verdict.share else ''


def _limits(verdict: Verdict) -> List[str]:
    """Whose noise the intervals have, and what they leave out."""
    shown = [found for found in verdict.findings if found.interval is not None]
    sentences = []
    borrowed = [noise for found in shown for noise in found.noises if noise.borrowed]
    if borrowed:
        boxes = ' (of boxes)' if any('mask_' in found.comparison.left.key for found in shown) else ''
        sources = [f'{_tables(noise.tables)} with {noise.epochs} epochs' for noise in borrowed]
        sentences.append(f'The noise of training is that of {", and of ".join(dict.fromkeys(sources))}{boxes}.')
    if any(found.ranks for found in shown):
        sentences.append("A cell's seeds differ far more than those of other cells, so ranks are compared.")
    if any(found.image_error is None and not found.comparison.left.key.startswith('speed/') for found in shown):
        sentences.append('The intervals are about these test images.')
    return sentences


def _noise(source: Noise) -> str:
    """'Training noise: standard deviation 0.96 points, from 36 cells of Tables 1 to 5, 12 epochs, ...'."""
    measures = ' − '.join(dict.fromkeys(key for each in source.statistic.measures for key in each.keys))
    several = f'{len(source.groups)} cells of' if len(source.groups) > 1 else ''
    cells = f'{several or f"the {source.training.freedom + 1} seeds of one cell of"} {_tables(source.tables)}'
    spread = f'standard deviation {math.sqrt(source.training.value):.2f}, from {cells} with {source.epochs} epochs'
    text = f'Noise of one training, {measures}: {spread}, {source.training.freedom} degrees of freedom'
    if source.interaction.value:
        text += f'; {math.sqrt(source.interaction.value):.2f} of it with these test images'
    if source.heavy:
        text += f'; {len(source.heavy)} cell{"" if len(source.heavy) == 1 else "s"} with far more noise left out'
    return text + ('.' if source.equal else "; the cells' variances differ.")


def _tables(names: Sequence[str]) -> str:
    """Names of tables in words: 'Tables 1, 3 and Fig. 5'."""
    numbers = sorted(name.removeprefix('table') for name in names if name.startswith('table'))
    words = ([f'Table{"s" * (len(numbers) > 1)} {", ".join(numbers)}'] if numbers else []) + sorted(
        f'Fig. {name.removeprefix("fig")}' if name.startswith('fig') else name for name in names if name[:5] != 'table'
    )
    return ' and '.join(words)


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
    rows = [['table', 'what is claimed', *_NUMBERS]]
    for verdict in verdicts:
        rows.append([verdict.plan.name, f'{_line(verdict.claim.statement)} (`{verdict.claim.id}`)', *_numbers(verdict)])
    return table(rows)


def headline(verdicts: List[Verdict], ids: Sequence[str]) -> str:
    """A table of the paper's claims with these ids, in this order, and the counts of all verdicts."""
    by_id = {verdict.claim.id: verdict for verdict in apart(verdicts)[0]}
    rows = [['what the paper claims', 'here', *_NUMBERS]]
    for verdict in (by_id[id_] for id_ in ids if id_ in by_id):
        rows.append([_line(verdict.claim.statement), verdict.verdict, *_numbers(verdict)])
    return f'{table(rows)}\n\n{counts(verdicts)}.'


def evidence(verdict: Verdict) -> str:
    """A claim's comparisons: the values on each side, and the error of the difference."""
    lines = [f'`{verdict.claim.id}`', '', *map(_finding, verdict.findings)]
    for title, judgement in parts(verdict):
        lines += ['', f'{title}: {judgement.verdict}.', '', *map(_finding, judgement.findings)]
    for note in noise(verdict.findings):
        lines += ['', note]  # a paragraph each
    return '\n'.join(lines)


def parts(verdict: Verdict) -> List[Tuple[str, Judgement]]:
    """What is judged beside the paper's words: titles and judgements."""
    found = []
    if verdict.share:
        found.append((f'As a share of {_whole(verdict)}', verdict.share))
    if verdict.threshold and verdict.claim.comparisons:
        found.append((f"The suite's own threshold: {_threshold(verdict)}", verdict.threshold))
    return found


#: Headers of :func:`_numbers`.
_NUMBERS = ('difference', '95 % interval', 'paper', 'size')


def _numbers(verdict: Verdict) -> List[str]:
    """Effect and interval of the deciding comparison, the paper's difference, and its size; dashes if none was
    measured."""
    found = deciding(verdict.findings, verdict.claim.control)
    if found is None:
        return ['–'] * len(_NUMBERS)
    size = verdict.size if verdict.claim.best else found.size
    return [effect(found), interval(found), paper(found), size or '–']


def _summary(verdicts: List[Verdict]) -> str:
    """A line for each claim, with the deciding comparison."""
    rows = [['table', 'claim', 'verdict', 'claimed', *_NUMBERS, 'matters', 'own threshold']]
    for verdict in verdicts:
        claimed = (
            'greater' if (deciding(verdict.findings, verdict.claim.control) or verdict.findings[0]).sign > 0 else 'less'
        )
        own = verdict.threshold.verdict if verdict.threshold else '–'
        numbers = _numbers(verdict)
        rows.append([verdict.plan.name, verdict.claim.id, verdict.verdict, claimed, *numbers, verdict.matters, own])
    return table(rows)


def _claim(verdict: Verdict) -> str:
    claim = verdict.claim
    quote = f' Paper: "{_line(claim.quote)}"' if claim.quote else ''
    lines = [
        f'### {claim.id}: {verdict.verdict}',
        f'Claimed: {_line(claim.statement)} ({_line(claim.where)}).{quote}',
        f'**{verdict.verdict.capitalize()}.** {why(verdict)}',
        evidence(verdict).partition('\n\n')[2],
    ]
    return '\n\n'.join(lines)


def _finding(found: Finding) -> str:
    text = f'- {side(found.left)}; claimed to be {found.relation} than {side(found.right)}{than(found)}.'
    if found.effect is not None:
        printed = '' if found.paper is None else f' The paper has {paper(found)}.'
        text += f' Difference {effect(found)}, {with_level(found)} ({errors(found)}).{printed}'
    return f'{text} {found.verdict.capitalize()}.'


def _json(verdicts: List[Verdict]) -> str:
    content = dict(schema=3, claims=[_claim_content(verdict) for verdict in verdicts])
    return json.dumps(content, indent=1, ensure_ascii=False) + '\n'


def _claim_content(verdict: Verdict) -> Dict[str, Any]:
    plan, claim = verdict.plan, verdict.claim
    return dict(
        table=plan.name,
        title=plan.title,
        profile=plan.profile,
        **claim.model_dump(include={'id', 'statement', 'quote', 'where'}),
        verdict=verdict.verdict,
        judged_by='words' if claim.comparisons else 'threshold',
        size=verdict.size,
        matters=verdict.matters,
        best=verdict.best,
        findings=[_finding_content(verdict, found) for found in verdict.findings],
        share=verdict.share and _judgement_content(verdict, verdict.share),
        threshold=verdict.threshold
        and dict(statement=_threshold(verdict), **_judgement_content(verdict, verdict.threshold)),
        why=why(verdict),
    )


def _judgement_content(verdict: Verdict, judgement: Judgement) -> Dict[str, Any]:
    findings = [_finding_content(verdict, found) for found in judgement.findings]
    return dict(verdict=judgement.verdict, findings=findings)


_TOLD = (
    *('relation', 'unit', 'level', 'effect', 'interval', 'confidence', 'corrected', 'training_error', 'image_error'),
    *('freedom', 'ranks', 'paper', 'size', 'of_interest', 'matters', 'seeds', 'more_images', 'verdict'),
)


def _finding_content(verdict: Verdict, found: Finding) -> Dict[str, Any]:
    sides: Dict[str, Any] = {}
    if found.other is not None:
        sides['more_than'] = dict(than=than(found).removeprefix(', by more than '), effect=found.other.effect)
    for name, quantity, values in zip(
        ('left', 'right'), (found.comparison.left, found.comparison.right), (found.left, found.right)
    ):
        by_seed = values.astype(object).where(values.notna(), None).to_dict()
        runs = verdict.plan.cell_at(quantity.at).runs
        sides[name] = dict(words=values.name, at=quantity.at, runs=runs, values=by_seed)
    told = {key: getattr(found, key) for key in _TOLD}
    if told['freedom'] is not None and not math.isfinite(told['freedom']):
        told['freedom'] = None  # nothing varies
    return dict(**sides, **told, noises=[_noise_content(noise) for noise in found.noises])


def _noise_content(source: Noise) -> Dict[str, Any]:
    return dict(
        tables=source.tables,
        epochs=source.epochs,
        cells=[group.runs for group in source.groups],
        left_out=[group.runs for cell in source.heavy for group in cell],
        equal=source.equal,
        variance=source.training.value,
        freedom=source.training.freedom,
        interaction=source.interaction.value,
    )


def _line(text: str) -> str:
    return ' '.join(text.split())
