"""A table as LaTeX for pdflatex, with booktabs and graphicx and no other package."""

import re
from typing import List, Set, Tuple

from analysis import layout, words
from analysis.layout import DASH, Grid
from analysis.plans import Plan
from analysis.results import Results

_MATH = re.compile(r'\b([A-Za-z]\^[A-Za-z]+)\b')
_SPREAD = re.compile(r' (\$\\pm\$\S+(?: \(n=\d+\))?)')
_SYMBOLS = 'pm times cdot to uparrow downarrow le ge surd surd times alpha beta gamma rho sigma Omega'.split()
_LETTERS = {
    **{letter: f'$\\{name}$' for letter, name in zip('±×·→↑↓≤≥√✓✗αβγρσΩ', _SYMBOLS)},
    '\\': r'\textbackslash{}',
    '{': r'\{',
    '}': r'\}',
    '$': r'\$',
    '&': r'\&',
    '#': r'\#',
    '%': r'\%',
    '_': r'\_',
    '^': r'\textasciicircum{}',
    '~': r'\textasciitilde{}',
    '<': r'\textless{}',
    '>': r'\textgreater{}',
    '|': r'\textbar{}',
    '"': "''",
    '[': '{[}',
    '*': '{*}',  # \\ would take a [ or * that begins the next row
    DASH: '--',
}


def latex(plan: Plan, results: Results) -> str:
    """A table environment with what was measured, the paper's numbers and the notes."""
    paper, difference = layout.paper(plan), layout.difference(plan, results)
    caption = f'{plan.title} ({plan.source}). ' if plan.source else f'{plan.title}. '
    lines = [
        '% needs \\usepackage{booktabs,graphicx}',
        '\\begin{table}[htbp]',
        '\\centering',
        '\\small',
        f'\\caption{{{_escape(caption + words.caption(plan))}}}',
        f'\\label{{tab:{re.sub("[^A-Za-z0-9-]", "-", plan.name)}}}',
        '\\par\\medskip',
        f'{_escape(words.measured_title(plan))}\\\\[2pt]',
        *_tabular(layout.measured(plan, results)),
    ]
    if paper:
        lines += ['\\\\[8pt]', f'{_escape(words.paper_title(plan))}\\\\[2pt]', *_tabular(paper)]
    if difference:
        lines += ['\\\\[8pt]', f'{_escape(words.difference_title())}\\\\[2pt]', *_tabular(difference)]
    notes = [_escape(note) for note in [*words.notes(plan, results), words.best_note(plan)]]
    return '\n'.join([*lines, '\\par\\smallskip', f'{{\\footnotesize {" ".join(notes)}\\par}}', '\\end{table}', ''])


def _tabular(grid: Grid) -> List[str]:
    """The rows between booktabs' rules, shrunk where they are wider than the text of the document."""
    left = len(grid.labels)
    spreads = any('±' in text for row in grid.body for text in row)
    lines = [
        f'\\setlength{{\\tabcolsep}}{{{3 if spreads else 6}pt}}',  # four columns with spreads just fit a page
        f'\\sbox0{{\\begin{{tabular}}{{{"l" * left}{"c" * (len(grid.body[0]) - left)}}}',
        '\\toprule',
        *_header(grid),
        '\\midrule',
    ]
    for i, row in enumerate(grid.body):
        lines += ['\\addlinespace'] if i in grid.breaks else []
        cells = [_cell(text, {part for *place, part in grid.best if place == [i, j]}) for j, text in enumerate(row)]
        lines.append(_SPREAD.sub(r'\\,{\\scriptsize\1}', ' & '.join(cells)) + ' \\\\')
    fit = '\\ifdim\\wd0>\\linewidth\\resizebox{\\linewidth}{!}{\\usebox0}\\else\\usebox0\\fi'
    return lines + ['\\bottomrule', '\\end{tabular}}%', fit]


def _cell(text: str, best: Set[int]) -> str:
    """A cell's text; the numbers that are best are bold."""
    if not best:
        return _escape(text)
    numbers, space, spread = text.partition(' ')
    parts = [_escape(part) for part in numbers.split('/')]
    bold = [f'\\textbf{{{part}}}' if i in best else part for i, part in enumerate(parts)]
    return '/'.join(bold) + space + _escape(spread)


def _header(grid: Grid) -> List[str]:
    lines = []
    for level, below in zip(grid.header, [*grid.header[1:], None]):
        texts = [
            f'\\multicolumn{{{span}}}{{c}}{{{_escape(text)}}}' if span > 1 else _escape(text) for text, span in level
        ]
        labels = ['' if below else _escape(label) for label in grid.labels]
        lines.append(' & '.join(labels + texts) + ' \\\\')
        rules = _rules(level, below, len(grid.labels)) if below else []
        lines += [' '.join(rules)] if rules else []
    return lines


def _rules(level: List[Tuple[str, int]], below: List[Tuple[str, int]], left: int) -> List[str]:
    """A rule under each text of a header level that the level below divides further."""
    starts = {sum(span for _, span in below[:i]) for i in range(len(below))}
    rules, start = [], 0
    for text, span in level:
        if text and starts & set(range(start + 1, start + span)):
            rules.append(f'\\cmidrule(lr){{{left + start + 1}-{left + start + span}}}')
        start += span
    return rules


def _escape(text: str) -> str:
    """Text for LaTeX: X^word becomes math, and a character that plain pdflatex cannot set becomes a question mark."""
    parts = _MATH.split(' '.join(text.split()))
    return ''.join(_math(part) if i % 2 else ''.join(map(_letter, part)) for i, part in enumerate(parts))


def _letter(letter: str) -> str:
    plain = ' ' <= letter <= '~' or 'À' <= letter <= 'ÿ' and letter not in 'ÐÞðþ÷'
    return _LETTERS.get(letter, letter if plain else '?')


def _math(text: str) -> str:
    base, word = text.split('^')
    upper = f'\\{word}' if word in ('max', 'min') else f'\\mathrm{{{word}}}' if len(word) > 1 else word
    return f'${base}^{{{upper}}}$'
