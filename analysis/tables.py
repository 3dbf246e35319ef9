"""One table: laid out as in the paper from its plan and results, and formatted as Markdown, LaTeX, CSV or JSON.

Measured numbers and the paper's stand in two tables of the same layout and are never subtracted: the profiles that
train on generated scenes do not measure what the paper measured.
"""
import csv
import io
import json
import math
import re
import statistics
from dataclasses import dataclass
from itertools import product
from typing import Callable, List, Optional, Tuple

from analysis.results import Axis, Cell, Plan, Results

SUFFIXES = {'markdown': '.md', 'latex': '.tex', 'csv': '.csv', 'json': '.json'}
DATA = {'desk': 'generated scenes, not COCO', 'smoke': 'a dozen generated images, not COCO'}
DASH = '–'

_METRIC = '/metric'  # the axis that the metrics make where a table shows several; no plan can name one of its own so
_MATH = re.compile(r'\b([A-Za-z]\^[A-Za-z]+)\b')
_LATEX = {
    '\\': r'\textbackslash{}', '{': r'\{', '}': r'\}', '$': r'\$', '&': r'\&', '#': r'\#', '%': r'\%', '_': r'\_',
    '^': r'\textasciicircum{}', '~': r'\textasciitilde{}', '<': r'\textless{}', '>': r'\textgreater{}',
    '|': r'\textbar{}', '"': "''", '[': '{[}', '*': '{*}',  # \\ would take a [ or * that begins the next row
    '–': '--', '±': r'$\pm$', '×': r'$\times$', '·': r'$\cdot$', '→': r'$\to$', '↑': r'$\uparrow$',
    '↓': r'$\downarrow$', '≤': r'$\le$', '≥': r'$\ge$', '√': r'$\surd$', '✓': r'$\surd$', '✗': r'$\times$',
    'α': r'$\alpha$', 'β': r'$\beta$', 'γ': r'$\gamma$', 'ρ': r'$\rho$', 'σ': r'$\sigma$', 'Ω': r'$\Omega$',
}


@dataclass(frozen=True)
class Reading:
    """One metric of one cell in one reading (with or without NMS), over its seeds, in percent; None where missing.

    ``std`` is the sample standard deviation, ``seeds`` how many values were averaged.
    """
    metric: str
    key: str
    mean: Optional[float]
    std: Optional[float]
    seeds: int
    paper: Optional[float]


@dataclass(frozen=True)
class Grid:
    """A table laid out: labels of the row axes, header levels of (text, columns it spans), and rows, labels first."""
    labels: List[str]
    header: List[List[Tuple[str, int]]]
    body: List[List[str]]


def render(plan: Plan, results: Results, format: str = 'markdown') -> str:
    """A table as text that ends in one newline. ``format`` is a key of ``SUFFIXES``."""
    return {'markdown': _markdown, 'latex': _latex, 'csv': _csv, 'json': _json}[format](plan, results)


def readings(plan: Plan, results: Results, cell: Cell, metric: str) -> List[Reading]:
    """What a cell shows for a metric, one reading for each key of the metric."""
    numbers = []
    paper = cell.paper.get(metric, DASH).split('/')
    for i, key in enumerate(plan.metrics[metric]):
        stored = [results.runs[run]['metrics'][key] for run in cell.runs.values() if run in results.runs]
        values = [100 * value for value in stored if value is not None]
        mean = statistics.fmean(values) if values else None
        std = statistics.stdev(values) if len(values) > 1 else None
        numbers.append(Reading(metric, key, mean, std, len(values), _number(paper[i]) if i < len(paper) else None))
    return numbers


def missing_cells(plan: Plan, results: Results) -> int:
    """How many cells of the plan lack a number that they should show, of any seed and any reading."""
    return sum(
        not cell.runs or any(reading.seeds < len(cell.runs) for metric in plan.metrics
                             for reading in readings(plan, results, cell, metric)) for cell in plan.cells)


def _measured(plan: Plan, results: Results) -> Grid:
    return _grid(plan, lambda cell, metric: _cell_text(readings(plan, results, cell, metric), len(cell.runs)))


def _paper(plan: Plan) -> Optional[Grid]:
    if not any(cell.paper for cell in plan.cells):
        return None
    return _grid(plan, lambda cell, metric: cell.paper.get(metric, '-').replace('-', DASH))


def _cell_text(numbers: List[Reading], seeds: int) -> str:
    """'27.1/28.1', with ' ±0.3/0.2' over several seeds and ' (n=2)' where some of them are missing."""
    counts = [number.seeds for number in numbers if number.seeds]
    if not counts:
        return DASH
    text = '/'.join(_percent(number.mean) for number in numbers)
    if max(counts) > 1:
        text += ' ±' + '/'.join(_percent(number.std) for number in numbers)
    return text + (f' (n={min(counts)})' if min(counts) < seeds else '')


def _grid(plan: Plan, text: Callable[[Cell, str], str]) -> Grid:
    """Lay a table out; ``text(cell, metric)`` is what stands in a cell."""
    rows, columns = _sides(plan)
    names = [axis.name for axis in rows + columns]
    cells = {tuple(sorted(cell.at.items())): cell for cell in plan.cells}

    def content(place: Tuple[str, ...]) -> str:
        at = dict(zip(names, place))
        metric = at.pop(_METRIC, next(iter(plan.metrics)))
        cell = cells.get(tuple(sorted(at.items())))
        return text(cell, metric) if cell else DASH

    body = []
    for i, down in enumerate(product(*(axis.values for axis in rows))):
        blocks = [math.prod(len(axis.values) for axis in rows[depth + 1:]) for depth in range(len(rows))]
        labels = [value if i % block == 0 else '' for value, block in zip(down, blocks)]
        body.append(labels + [content(down + across) for across in product(*(axis.values for axis in columns))])
    return Grid([axis.label for axis in rows], _header(columns), body)


def _sides(plan: Plan) -> Tuple[Tuple[Axis, ...], Tuple[Axis, ...]]:
    """Axes down and across. Several metrics are the innermost columns, or the rows of a table without row axes."""
    metric = (Axis(_METRIC, '', tuple(plan.metrics)), )
    if not plan.rows:
        return metric, plan.columns
    several = len(plan.metrics) > 1 or not plan.columns
    return plan.rows, plan.columns + metric if several else plan.columns


def _header(columns: Tuple[Axis, ...]) -> List[List[Tuple[str, int]]]:
    total = math.prod(len(axis.values) for axis in columns)
    levels, groups = [], 1
    for axis in columns:
        if axis.label:
            levels.append([(axis.label, total // groups)] * groups)
        levels.append([(value, total // groups // len(axis.values)) for value in axis.values] * groups)
        groups *= len(axis.values)
    return levels or [[('', 1)]]


def _markdown(plan: Plan, results: Results) -> str:
    paper = _paper(plan)
    parts = [
        f'## {plan.title}', plan.source, f'{_measured_title(plan)}:', _markdown_table(_measured(plan, results)),
        *([f'{_paper_title(plan)}:', _markdown_table(paper)] if paper else []), plan.caption,
        '\n'.join(_notes(plan, results))
    ]
    return '\n\n'.join(part for part in parts if part) + '\n'


def _markdown_table(grid: Grid) -> str:
    lines = [[''] * len(grid.labels) + [word for text, span in level for word in [text] + [''] * (span - 1)]
             for level in grid.header]
    lines[-1][:len(grid.labels)] = grid.labels
    lines = [[re.sub(r'([\\|<*])', r'\\\1', ' '.join(text.split())) for text in line] for line in lines + grid.body]
    for line in lines[1:len(grid.header)]:  # Markdown has one header row; further levels are bold rows
        line[:] = [f'**{text}**' if text else '' for text in line]
    widths = [max(3, *map(len, column)) for column in zip(*lines)]
    lines.insert(1, ['-' * width for width in widths])
    return '\n'.join('| ' + ' | '.join(map(str.ljust, line, widths)) + ' |' for line in lines)


def _latex(plan: Plan, results: Results) -> str:
    paper = _paper(plan)
    caption = f'{plan.title} ({plan.source}). {plan.caption}' if plan.source else f'{plan.title}. {plan.caption}'
    lines = [
        '% needs \\usepackage{booktabs}', '\\begin{table}[htbp]', '\\centering', '\\small',
        f'\\caption{{{_escape(caption)}}}', f'\\label{{tab:{re.sub("[^A-Za-z0-9-]", "-", plan.table)}}}',
        f'{_escape(_measured_title(plan))}\\\\[2pt]', *_latex_tabular(_measured(plan, results))
    ]
    if paper:
        lines += ['\\\\[8pt]', f'{_escape(_paper_title(plan))}\\\\[2pt]', *_latex_tabular(paper)]
    notes = [_escape(note) for note in _notes(plan, results)]
    return '\n'.join([*lines, '\\par\\smallskip', f'{{\\footnotesize {" ".join(notes)}\\par}}', '\\end{table}', ''])


def _latex_tabular(grid: Grid) -> List[str]:
    left = len(grid.labels)
    lines = [f'\\begin{{tabular}}{{{"l" * left}{"c" * (len(grid.body[0]) - left)}}}', '\\toprule']
    for depth, level in enumerate(grid.header):
        last = depth == len(grid.header) - 1
        words = [f'\\multicolumn{{{span}}}{{c}}{{{_escape(text)}}}' if span > 1 else _escape(text) for text, span in level]
        lines.append(' & '.join([_escape(label) if last else '' for label in grid.labels] + words) + ' \\\\')
        if not last and len(grid.header[depth + 1]) > len(level):
            ends = [left + sum(span for _, span in level[:i + 1]) for i in range(len(level))]
            lines.append(' '.join(f'\\cmidrule(lr){{{end - span + 1}-{end}}}' for end, (_, span) in zip(ends, level)))
    lines.append('\\midrule')
    for i, row in enumerate(grid.body):
        if i and left > 1 and row[0]:
            lines.append('\\addlinespace')
        lines.append(' & '.join(map(_escape, row)) + ' \\\\')
    return lines + ['\\bottomrule', '\\end{tabular}']


def _escape(text: str) -> str:
    """Text for LaTeX: X^word becomes math, and a character that plain pdflatex cannot set becomes a question mark."""
    words = _MATH.split(' '.join(text.split()))
    return ''.join(_math(word) if i % 2 else ''.join(map(_letter, word)) for i, word in enumerate(words))


def _letter(letter: str) -> str:
    plain = ' ' <= letter <= '~' or 'À' <= letter <= 'ÿ' and letter not in 'ÐÞðþ÷'
    return _LATEX.get(letter, letter if plain else '?')


def _math(text: str) -> str:
    base, word = text.split('^')
    upper = f'\\{word}' if word in ('max', 'min') else f'\\mathrm{{{word}}}' if len(word) > 1 else word
    return f'${base}^{{{upper}}}$'


def _csv(plan: Plan, results: Results) -> str:
    file = io.StringIO()
    write = csv.writer(file, lineterminator='\n').writerow
    write(['table', 'profile', *(axis.name for axis in plan.rows + plan.columns), 'metric', 'key', 'mean_percent',
           'std_percent', 'seeds', 'paper_percent'])
    for cell in plan.cells:
        for number in (number for metric in plan.metrics for number in readings(plan, results, cell, metric)):
            write([plan.table, plan.profile, *(cell.at[axis.name] for axis in plan.rows + plan.columns), number.metric,
                   number.key, _rounded(number.mean), _rounded(number.std), number.seeds, number.paper])
    return file.getvalue()


def _json(plan: Plan, results: Results) -> str:
    cells = [{
        'at': cell.at,
        'runs': cell.runs,
        'readings': [{'metric': number.metric, 'key': number.key, 'mean_percent': _rounded(number.mean),
                      'std_percent': _rounded(number.std), 'seeds': number.seeds, 'paper_percent': number.paper}
                     for metric in plan.metrics for number in readings(plan, results, cell, metric)],
    } for cell in plan.cells]
    content = {key: getattr(plan, key) for key in ('table', 'title', 'caption', 'source', 'profile', 'overrides')}
    content.update(notes=_notes(plan, results), runs_planned=len(plan.runs), missing_cells=missing_cells(plan, results),
                   cells=cells, provenance={run: result['provenance'] for run, result in results.runs.items()})
    return json.dumps({'schema': 1, **content}, indent=1, ensure_ascii=False) + '\n'


def _measured_title(plan: Plan) -> str:
    """'Measured (profile desk), AP in %, without NMS / with NMS'."""
    shown = {}
    for metric, keys in plan.metrics.items():
        words = [key.rpartition('/')[0].replace('_', ' ').replace('nms', 'NMS') for key in keys]
        shown.setdefault(' / '.join(filter(None, words)), []).append(metric)
    texts = [f'{", ".join(metrics)} in %' + (f', {words}' if words else '') for words, metrics in shown.items()]
    return f'Measured (profile {plan.profile}), {"; ".join(texts)}'


def _paper_title(plan: Plan) -> str:
    return f'Paper ({plan.setting or plan.source or "as published"})'


def _notes(plan: Plan, results: Results) -> List[str]:
    """The line of provenance, and for every profile but the paper's a plain word on what its numbers are not."""
    seeds = sorted(set(plan.runs.values()))
    few = f'seed {seeds[0]}' if len(seeds) == 1 else f'seeds {", ".join(map(str, seeds))}' if seeds else 'no seed'
    spread = ' (mean ± sample standard deviation)' if len(seeds) > 1 else ''
    lacking = missing_cells(plan, results)
    sources = [result['provenance'] for result in results.runs.values()]
    commits = {f'commit {source["commit"] or "unknown"}' + ' with local changes' * bool(source['dirty'])
               for source in sources}
    line = (f'{len(results.runs)} of {len(plan.runs)} runs, {few}{spread}, profile {plan.profile}'
            + (f': {DATA[plan.profile]}' if plan.profile in DATA else '') + '.'
            + (f' {lacking} of {len(plan.cells)} cells incomplete.' if lacking else ''))
    facts = [*sorted({source['device'] for source in sources}), *sorted(commits)]
    line += f' From {"; ".join(facts)}.' if facts else ''
    if plan.overrides:
        line += f' Overridden: {", ".join(f"{key}={value}" for key, value in plan.overrides.items())}.'
    name = plan.profile.capitalize()
    return [line] + ([] if plan.profile == 'paper' else
                     [f'{name} numbers are not COCO numbers: compare them with each other, not with the paper\'s.'])


def _percent(number: Optional[float]) -> str:
    return DASH if number is None else f'{number:.1f}'


def _rounded(number: Optional[float]) -> Optional[float]:
    return None if number is None else round(number, 6)


def _number(text: str) -> Optional[float]:
    try:
        return float(text)
    except ValueError:
        return None
