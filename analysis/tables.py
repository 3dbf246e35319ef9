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
from dataclasses import asdict, astuple, dataclass, fields
from itertools import product
from typing import Callable, List, Optional, Tuple

from analysis.results import Axis, Cell, Plan, Results

SUFFIXES = {'markdown': '.md', 'latex': '.tex', 'csv': '.csv', 'json': '.json'}
DATA = {'desk': 'generated scenes, not COCO', 'smoke': 'a dozen generated images, not COCO'}
DASH = '–'

_METRIC = '/metric'  # name of the axis that the metrics make where a table shows several
_NUMBER = re.compile(r'[0-9]+(\.[0-9]+)?')
_MATH = re.compile(r'\b([A-Za-z]\^[A-Za-z]+)\b')
_SPREAD = re.compile(r' (\$\\pm\$\S+(?: \(n=\d+\))?)')
_SYMBOLS = 'pm times cdot to uparrow downarrow le ge surd surd times alpha beta gamma rho sigma Omega'.split()
_LATEX = {
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


@dataclass(frozen=True)
class Reading:
    """One metric of one cell in one reading (with or without NMS), over its seeds; None where missing.

    The standard deviation is the sample's; ``seeds`` is how many values were averaged.
    """

    metric: str
    key: str
    mean_percent: Optional[float]
    std_percent: Optional[float]
    seeds: int
    paper_percent: Optional[float]


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
    paper = [float(text) if _NUMBER.fullmatch(text) else None for text in cell.paper.get(metric, '').split('/')]
    for i, key in enumerate(plan.metrics[metric]):
        stored = [results.runs[run]['metrics'][key] for run in cell.runs.values() if run in results.runs]
        values = [100 * value for value in stored if value is not None]
        mean = round(statistics.fmean(values), 6) if values else None
        std = round(statistics.stdev(values), 6) if len(values) > 1 else None
        numbers.append(Reading(metric, key, mean, std, len(values), paper[i] if i < len(paper) else None))
    return numbers


def _all_readings(plan: Plan, results: Results, cell: Cell) -> List[Reading]:
    return [reading for metric in plan.metrics for reading in readings(plan, results, cell, metric)]


def missing_cells(plan: Plan, results: Results) -> int:
    """How many cells of the plan lack a number that they should show, of any seed and any reading."""
    return sum(
        any(reading.seeds < max(1, len(cell.runs)) for reading in _all_readings(plan, results, cell))
        for cell in plan.cells
    )


def _measured(plan: Plan, results: Results) -> Grid:
    seeds = len(set(plan.runs.values()))
    return _grid(plan, lambda cell, metric: _cell_text(readings(plan, results, cell, metric), seeds))


def _paper(plan: Plan) -> Optional[Grid]:
    if not any(cell.paper for cell in plan.cells):
        return None
    return _grid(plan, lambda cell, metric: DASH if cell.paper.get(metric, '-') == '-' else cell.paper[metric])


def _cell_text(numbers: List[Reading], seeds: int) -> str:
    """'27.1/28.1', with ' ±0.3/0.2' over several seeds and ' (n=2)' where it has fewer than the table."""
    counts = [number.seeds for number in numbers if number.seeds]
    if not counts:
        return DASH
    text = '/'.join(_percent(number.mean_percent) for number in numbers)
    if max(counts) > 1:
        text += ' ±' + '/'.join(_percent(number.std_percent) for number in numbers)
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
        blocks = [math.prod(len(axis.values) for axis in rows[depth + 1 :]) for depth in range(len(rows))]
        labels = [value if i % block == 0 else '' for value, block in zip(down, blocks)]
        body.append(labels + [content(down + across) for across in product(*(axis.values for axis in columns))])
    return Grid([axis.label for axis in rows], _header(columns), body)


def _sides(plan: Plan) -> Tuple[Tuple[Axis, ...], Tuple[Axis, ...]]:
    """Axes down and across. Several metrics are the innermost columns, or the rows of a table without row axes."""
    metric = (Axis(_METRIC, '', tuple(plan.metrics)),)
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
        f'## {plan.title}',
        plan.source,
        f'{_measured_title(plan)}:',
        _markdown_table(_measured(plan, results)),
        *([f'{_paper_title(plan)}:', _markdown_table(paper)] if paper else []),
        _caption(plan),
        '\n'.join(_notes(plan, results)),
    ]
    return '\n\n'.join(part for part in parts if part) + '\n'


def _markdown_table(grid: Grid) -> str:
    lines = [
        [''] * len(grid.labels) + [word for text, span in level for word in [text] + [''] * (span - 1)]
        for level in grid.header
    ]
    lines[-1][: len(grid.labels)] = grid.labels
    lines = [[re.sub(r'([\\|<*])', r'\\\1', ' '.join(text.split())) for text in line] for line in lines + grid.body]
    for line in lines[1 : len(grid.header)]:  # Markdown has one header row; further levels are bold rows
        line[:] = [f'**{text}**' if text else '' for text in line]
    widths = [max(3, *map(len, column)) for column in zip(*lines)]
    lines.insert(1, ['-' * width for width in widths])
    return '\n'.join('| ' + ' | '.join(map(str.ljust, line, widths)) + ' |' for line in lines)


def _latex(plan: Plan, results: Results) -> str:
    paper = _paper(plan)
    caption = f'{plan.title} ({plan.source}). ' if plan.source else f'{plan.title}. '
    lines = [
        '% needs \\usepackage{booktabs}',
        '\\begin{table}[htbp]',
        '\\centering',
        '\\small',
        f'\\caption{{{_escape(caption + _caption(plan))}}}',
        f'\\label{{tab:{re.sub("[^A-Za-z0-9-]", "-", plan.name)}}}',
        '\\par\\medskip',
        f'{_escape(_measured_title(plan))}\\\\[2pt]',
        *_latex_tabular(_measured(plan, results)),
    ]
    if paper:
        lines += ['\\\\[8pt]', f'{_escape(_paper_title(plan))}\\\\[2pt]', *_latex_tabular(paper)]
    notes = [_escape(note) for note in _notes(plan, results)]
    return '\n'.join([*lines, '\\par\\smallskip', f'{{\\footnotesize {" ".join(notes)}\\par}}', '\\end{table}', ''])


def _latex_tabular(grid: Grid) -> List[str]:
    left = len(grid.labels)
    spreads = any('±' in text for row in grid.body for text in row)
    lines = [
        f'\\setlength{{\\tabcolsep}}{{{3 if spreads else 6}pt}}',  # four columns with spreads just fit a page
        f'\\begin{{tabular}}{{{"l" * left}{"c" * (len(grid.body[0]) - left)}}}',
        '\\toprule',
    ]
    for depth, level in enumerate(grid.header):
        last = depth == len(grid.header) - 1
        words = [
            f'\\multicolumn{{{span}}}{{c}}{{{_escape(text)}}}' if span > 1 else _escape(text) for text, span in level
        ]
        lines.append(' & '.join([_escape(label) if last else '' for label in grid.labels] + words) + ' \\\\')
        if not last and len(grid.header[depth + 1]) > len(level):
            ends = [left + sum(span for _, span in level[: i + 1]) for i in range(len(level))]
            lines.append(' '.join(f'\\cmidrule(lr){{{end - span + 1}-{end}}}' for end, (_, span) in zip(ends, level)))
    lines.append('\\midrule')
    for i, row in enumerate(grid.body):
        if i and left > 1 and row[0]:
            lines.append('\\addlinespace')
        lines.append(_SPREAD.sub(r'\\,{\\scriptsize\1}', ' & '.join(map(_escape, row))) + ' \\\\')
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
    axes = [axis.name for axis in plan.rows + plan.columns]
    write(['table', 'profile', *axes, *(field.name for field in fields(Reading))])
    for cell in plan.cells:
        for reading in _all_readings(plan, results, cell):
            write([plan.table, plan.profile, *(cell.at[name] for name in axes), *astuple(reading)])
    return file.getvalue()


def _json(plan: Plan, results: Results) -> str:
    cells = [
        {'at': cell.at, 'runs': cell.runs, 'readings': [*map(asdict, _all_readings(plan, results, cell))]}
        for cell in plan.cells
    ]
    content = {key: getattr(plan, key) for key in ('table', 'title', 'caption', 'source', 'profile', 'overrides')}
    content.update(
        notes=_notes(plan, results),
        runs_planned=len(plan.runs),
        missing_cells=missing_cells(plan, results),
        cells=cells,
        provenance={run: result['provenance'] for run, result in results.runs.items()},
    )
    return json.dumps({'schema': 1, **content}, indent=1, ensure_ascii=False) + '\n'


def _measured_title(plan: Plan) -> str:
    """'Measured (profile desk), AP in %, without NMS / with NMS'; overrides stand beside the profile."""
    shown = {}
    for metric, keys in plan.metrics.items():
        words = [key.rpartition('/')[0].replace('_', ' ').replace('nms', 'NMS') for key in keys]
        shown.setdefault(' / '.join(filter(None, words)), []).append(metric)
    texts = [f'{", ".join(metrics)} in %' + (f', {words}' if words else '') for words, metrics in shown.items()]
    setting = [f'profile {plan.profile}', *(f'{key}={value}' for key, value in plan.overrides.items())]
    return f'Measured ({", ".join(setting)}), {"; ".join(texts)}'


def _paper_title(plan: Plan) -> str:
    return f'Paper ({plan.setting or plan.source or "as published"})'


def _caption(plan: Plan) -> str:
    """The caption, said to be the paper's: what it concludes need not hold for the numbers measured here."""
    return f'From the paper: {plan.caption}' if plan.caption else ''


def _notes(plan: Plan, results: Results) -> List[str]:
    """The line of provenance, and for every profile but the paper's a plain word on what its numbers are not."""
    seeds = sorted(set(plan.runs.values()))
    seed_words = ('seeds ' if len(seeds) > 1 else 'seed ') + (', '.join(map(str, seeds)) or 'none')
    spread = ' (mean ± sample standard deviation)' if len(seeds) > 1 else ''
    data = f': {DATA[plan.profile]}' if plan.profile in DATA else ''
    facts = f'{len(results.runs)} of {len(plan.runs)} runs, {seed_words}{spread}, profile {plan.profile}{data}.'
    lacking = missing_cells(plan, results)
    facts += f' {lacking} of {len(plan.cells)} cells incomplete.' if lacking else ''
    facts += f' {"; ".join(_sources(results))}.' if results.runs else ''
    name = plan.profile.capitalize()
    honest = f"{name} numbers are not COCO numbers: compare them with each other, not with the paper's."
    return [facts] if plan.profile == 'paper' else [facts, honest]


def _sources(results: Results) -> List[str]:
    """On which devices and from which commits the results came: 'Device cpu: Xeon', 'commit abc1234'."""
    stored = [result['provenance'] for result in results.runs.values()]
    devices = sorted({f'Device {source["device"]}' for source in stored})
    return devices + sorted(
        {f'commit {source["commit"] or "unknown"}' + ' with local changes' * bool(source['dirty']) for source in stored}
    )


def _percent(number: Optional[float]) -> str:
    return DASH if number is None else f'{number:.1f}'
