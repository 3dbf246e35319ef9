"""Verdicts as Markdown that also reads well in a terminal, or as JSON."""

import json
from dataclasses import asdict
from itertools import groupby
from typing import List, Sequence

from analysis import verdict_words as words
from analysis.findings import Finding
from analysis.markdown import table
from analysis.verdicts import Verdict

SUFFIXES = {'markdown': '.md', 'json': '.json'}


def render(verdicts: List[Verdict], format: str = 'markdown') -> str:
    """Verdicts as text that ends in one newline. ``format`` is a key of ``SUFFIXES``."""
    return {'markdown': _markdown, 'json': _json}[format](verdicts)


def _markdown(verdicts: List[Verdict]) -> str:
    profile = f' (profile {verdicts[0].profile})' if verdicts else ''
    parts = [f'# Claims{profile}', f'{words.counts(verdicts)}.', _summary(verdicts)]
    for _, group in groupby(verdicts, key=lambda verdict: verdict.table):
        of_table = list(group)
        parts.append(f'## {of_table[0].table}: {_line(of_table[0].title)}')
        parts += [_claim(verdict) for verdict in of_table]
    return '\n\n'.join(parts) + '\n'


def brief(verdicts: List[Verdict]) -> str:
    """Every claim in a line of a table, in its own words, with the comparison that decides."""
    rows = [['table', 'what is claimed', 'difference', '95 % interval']]
    for verdict in verdicts:
        rows.append([verdict.table, f'{_line(verdict.says)} (`{verdict.id}`)', *_numbers(verdict)])
    return table(rows)


def headline(verdicts: List[Verdict], ids: Sequence[str]) -> str:
    """The claims of these ids that were judged, in this order, as a table, and how all claims fell."""
    by_id = {verdict.id: verdict for verdict in verdicts}
    rows = [['what the paper claims', 'here', 'difference', '95 % interval']]
    for verdict in (by_id[id_] for id_ in ids if id_ in by_id):
        rows.append([_line(verdict.says), verdict.verdict, *_numbers(verdict)])
    return f'{table(rows)}\n\n{words.counts(verdicts)}.'


def evidence(verdict: Verdict) -> str:
    """A claim's comparisons: what was measured on each side, and how sure the difference is."""
    return '\n'.join([f'`{verdict.id}`', '', *map(_finding, verdict.findings)])


def _summary(verdicts: List[Verdict]) -> str:
    """Every claim in a line, with the comparison that decides."""
    rows = [['table', 'claim', 'verdict', 'claimed', 'difference', '95 % interval']]
    for verdict in verdicts:
        claimed = (words.deciding(verdict) or verdict.findings[0]).relation
        rows.append([verdict.table, verdict.id, verdict.verdict, claimed, *_numbers(verdict)])
    return table(rows)


def _numbers(verdict: Verdict) -> List[str]:
    """Effect and interval of the comparison that decides; dashes where none was measured."""
    found = words.deciding(verdict)
    return [words.effect(found), words.interval(found)] if found else ['–', '–']


def _claim(verdict: Verdict) -> str:
    lines = [
        f'### {verdict.id}: {verdict.verdict}',
        f'Claimed: {_line(verdict.says)} ({_line(verdict.where)}). Paper: "{_line(verdict.quote)}"',
        f'**{verdict.verdict.capitalize()}.** {words.why(verdict)}',
        '\n'.join(map(_finding, verdict.findings)),
    ]
    return '\n\n'.join(lines)


def _finding(found: Finding) -> str:
    text = f'- {words.side(found.left)}; claimed to be {found.relation} than {words.side(found.right)}.'
    if found.effect is not None:
        text += f' Difference {words.effect(found)}, 95 % interval {words.interval(found)} ({words.errors(found)}).'
    return f'{text} {found.verdict.capitalize()}.'


def _json(verdicts: List[Verdict]) -> str:
    claims = [dict(asdict(verdict), why=words.why(verdict)) for verdict in verdicts]
    return json.dumps(dict(schema=1, claims=claims), indent=1, ensure_ascii=False) + '\n'


def _line(text: str) -> str:
    return ' '.join(text.split())
