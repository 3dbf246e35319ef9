"""One table as Markdown, LaTeX, CSV or JSON.

Markdown is also readable in a terminal. LaTeX is for pdflatex and needs only booktabs and graphicx.
"""

import json
import re
from typing import List, Set, Tuple

import pandas as pd

from analysis.results import Results
from analysis.tables import layout, notes
from analysis.tables.layout import DASH, TableLayout
from experiments.spec.schema import StoredPlan

SUFFIXES = {'markdown': '.md', 'latex': '.tex', 'csv': '.csv', 'json': '.json'}


def render(plan: StoredPlan, results: Results, format: str = 'markdown') -> str:
    """A table as text that ends in one newline. ``format`` is a key of ``SUFFIXES``."""
    return {'markdown': markdown, 'latex': latex, 'csv': _csv, 'json': _json}[format](plan, results)


#: The written columns of :attr:`analysis.results.Results.statistics`.
_WRITTEN = ['metric', 'key', 'unit', 'mean', 'std', 'seeds', 'paper', 'difference']


def _written(plan: StoredPlan, results: Results) -> pd.DataFrame:
    """The statistics, without the difference from the paper if the two are not comparable."""
    frame = results.statistics
    return frame if plan.comparable else frame.assign(difference=float('nan'))


def _csv(plan: StoredPlan, results: Results) -> str:
    """One line for each key of each metric of each cell. Axes have the names of ``results.load``."""
    frame = _written(plan, results)
    axes = [*plan.rows, *plan.columns]
    at = {cell.label: cell.at for cell in plan.cells}
    places = pd.DataFrame([at[label] for label in frame['cell']], columns=axes).add_prefix('axis ')
    whole = pd.concat([places, frame[_WRITTEN]], axis=1)
    whole.insert(0, 'table', plan.table)
    whole.insert(1, 'profile', plan.profile)
    return whole.to_csv(
        index=False, lineterminator='\n', header=['table', 'profile', *(f'axis_{axis}' for axis in axes), *_WRITTEN]
    )


def _json(plan: StoredPlan, results: Results) -> str:
    """All data of the table: its texts, the statistics of each cell, and where each number was measured."""
    frame = _written(plan, results)
    shown = json.loads(frame.to_json(orient='records', double_precision=15))
    cells = [
        dict(
            at=cell.at,
            runs=cell.runs,
            readings=[{key: row[key] for key in _WRITTEN} for row in shown if row['cell'] == cell.label],
        )
        for cell in plan.cells
    ]
    measured_on = ('device', 'versions', 'image', 'repeats')
    content = {key: getattr(plan, key) for key in ('table', 'title', 'caption', 'source', 'profile', 'overrides')}
    content.update(
        notes=notes.notes(plan, results),
        runs_planned=len(plan.runs),
        missing_cells=results.missing_cells,
        cells=cells,
        provenance={run: result.provenance.model_dump(exclude_unset=True) for run, result in results.runs.items()},
        speeds={run: {key: getattr(speed, key) for key in measured_on} for run, speed in results.speeds.items()},
    )
    return json.dumps({'schema': 2, **content}, indent=1, ensure_ascii=False) + '\n'


def markdown(plan: StoredPlan, results: Results) -> str:
    """The title, the source, and the body."""
    return '\n\n'.join(part for part in (f'## {plan.title}', plan.source, body(plan, results)) if part)


def body(plan: StoredPlan, results: Results) -> str:
    """The measured numbers, the paper's numbers, and the notes, as Markdown without a heading."""
    paper, difference = layout.paper(plan), layout.difference(plan, results)
    parts = [
        f'{notes.measured_title(plan)}:',
        _table(layout.measured(plan, results)),
        *([f'{notes.paper_title(plan)}:', _table(paper)] if paper else []),
        *([f'{notes.difference_title()}:', _table(difference)] if difference else []),
        notes.caption(plan),
        '\n'.join(notes.notes(plan, results)),
    ]
    return '\n\n'.join(part for part in parts if part) + '\n'


def _table(grid: TableLayout) -> str:
    lines = [
        [''] * len(grid.labels) + [word for text, span in level for word in [text] + [''] * (span - 1)]
        for level in grid.header
    ]
    lines[-1][: len(grid.labels)] = grid.labels
    return table(lines + grid.body, headers=len(grid.header))


def table(lines: List[List[str]], headers: int = 1) -> str:
    """Lines of texts as a Markdown table. The first line is its header.

    Markdown has one header row; further ``headers`` are bold rows.
    """
    lines = [[re.sub(r'([\\|<*])', r'\\\1', ' '.join(text.split())) for text in line] for line in lines]
    for line in lines[1:headers]:
        line[:] = [f'**{text}**' if text else '' for text in line]
    widths = [max(3, *map(len, column)) for column in zip(*lines)]
    lines.insert(1, ['-' * width for width in widths])
    return '\n'.join('| ' + ' | '.join(map(str.ljust, line, widths)) + ' |' for line in lines)


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
    '*': '{*}',  # \\ would take a [ or * at the beginning of the next row as its argument
    DASH: '--',
}


def latex(plan: StoredPlan, results: Results) -> str:
    """A table environment with the measured numbers, the paper's numbers and the notes."""
    paper, difference = layout.paper(plan), layout.difference(plan, results)
    caption = f'{plan.title} ({plan.source}). ' if plan.source else f'{plan.title}. '
    lines = [
        '% needs \\usepackage{booktabs,graphicx}',
        '\\begin{table}[htbp]',
        '\\centering',
        '\\small',
        f'\\caption{{{_escape(caption + notes.caption(plan))}}}',
        f'\\label{{tab:{re.sub("[^A-Za-z0-9-]", "-", plan.name)}}}',
        '\\par\\medskip',
        f'{_escape(notes.measured_title(plan))}\\\\[2pt]',
        *_tabular(layout.measured(plan, results)),
    ]
    if paper:
        lines += ['\\\\[8pt]', f'{_escape(notes.paper_title(plan))}\\\\[2pt]', *_tabular(paper)]
    if difference:
        lines += ['\\\\[8pt]', f'{_escape(notes.difference_title())}\\\\[2pt]', *_tabular(difference)]
    footnotes = [_escape(note) for note in [*notes.notes(plan, results), notes.best_note(plan)]]
    return '\n'.join([*lines, '\\par\\smallskip', f'{{\\footnotesize {" ".join(footnotes)}\\par}}', '\\end{table}', ''])


def _tabular(grid: TableLayout) -> List[str]:
    """The rows between booktabs' rules, shrunk if they are wider than the text of the document.

    pandas' Styler writes rows and rules. It supports neither rules in a header of several levels nor space between
    blocks, so these are added here.
    """
    left = len(grid.labels)
    spreads = any('±' in text for row in grid.body for text in row)
    cells = [
        [_cell(text, {part for *place, part in grid.best if place == [i, j]}) for j, text in enumerate(row)]
        for i, row in enumerate(grid.body)
    ]
    style = pd.DataFrame(cells).style.hide(axis='index').hide(axis='columns')
    columns = 'l' * left + 'c' * (len(grid.body[0]) - left)
    begin, top, middle, *rows, bottom, end = style.to_latex(column_format=columns, hrules=True).splitlines()
    rows = [_SPREAD.sub(r'\\,{\\scriptsize\1}', row) for row in rows]
    for i in sorted(grid.breaks, reverse=True):
        rows.insert(i, '\\addlinespace')
    return [
        f'\\setlength{{\\tabcolsep}}{{{3 if spreads else 6}pt}}',  # four columns with spreads just fit on a page
        f'\\sbox0{{{begin}',
        top,
        *_header(grid),
        middle,
        *rows,
        bottom,
        f'{end}}}%',
        '\\ifdim\\wd0>\\linewidth\\resizebox{\\linewidth}{!}{\\usebox0}\\else\\usebox0\\fi',
    ]


def _cell(text: str, best: Set[int]) -> str:
    """A cell's text, with the best numbers in bold."""
    if not best:
        return _escape(text)
    numbers, space, spread = text.partition(' ')
    parts = [_escape(part) for part in numbers.split('/')]
    bold = [f'\\textbf{{{part}}}' if i in best else part for i, part in enumerate(parts)]
    return '/'.join(bold) + space + _escape(spread)


def _header(grid: TableLayout) -> List[str]:
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
    """Rules under the texts of a header level that the level below divides further."""
    starts = {sum(span for _, span in below[:i]) for i in range(len(below))}
    rules, start = [], 0
    for text, span in level:
        if text and starts & set(range(start + 1, start + span)):
            rules.append(f'\\cmidrule(lr){{{left + start + 1}-{left + start + span}}}')
        start += span
    return rules


def _escape(text: str) -> str:
    """Text for LaTeX. X^word becomes math, and a character that plain pdflatex cannot set becomes a question mark."""
    parts = _MATH.split(' '.join(text.split()))
    return ''.join(_math(part) if i % 2 else ''.join(map(_letter, part)) for i, part in enumerate(parts))


def _letter(letter: str) -> str:
    plain = ' ' <= letter <= '~' or 'À' <= letter <= 'ÿ' and letter not in 'ÐÞðþ÷'
    return _LETTERS.get(letter, letter if plain else '?')


def _math(text: str) -> str:
    base, word = text.split('^')
    upper = f'\\{word}' if word in ('max', 'min') else f'\\mathrm{{{word}}}' if len(word) > 1 else word
    return f'${base}^{{{upper}}}$'
