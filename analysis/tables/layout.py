"""Lays a table out as in the paper: the text of each cell, before any output format.

Measured numbers and the paper's are two tables of the same layout. A third one has their differences, if they mean
something: the profiles that train on generated scenes do not measure what the paper measured.
"""

import math
from dataclasses import dataclass, replace
from itertools import groupby, product
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

from analysis.results import Results
from experiments.spec.schema import Axis, Cell, Position, StoredPlan, Value, lower_is_better

DASH = '–'

_METRIC = '/metric'  # name of the axis of metrics
_Path = Tuple[Tuple[Optional[str], str], ...]  # from the top of the header down to a column: (identity, text)


@dataclass(frozen=True)
class TableLayout:
    """The layout of a table.

    ``labels`` are the headers of the label columns. ``header`` has the levels of (text, columns it spans) over all
    other columns. ``body`` has the rows, labels first. ``breaks`` are the rows at which a new value of the outermost of
    several row axes begins. ``cells`` are the plan's cells behind the body without its labels, None where there is
    none. ``best`` are the best numbers, as shown, of each column, or of each row if the table has no row axis: (row,
    column, index of the number in its cell). If all numbers are equal, none is the best.
    """

    labels: List[str]
    header: List[List[Tuple[str, int]]]
    body: List[List[str]]
    breaks: Set[int]
    cells: List[List[Optional[Cell]]]
    best: Set[Tuple[int, int, int]]


def measured(plan: StoredPlan, results: Results) -> TableLayout:
    """The table of measured numbers, with a dash for missing ones."""
    seeds = len(set(plan.runs.values()))
    return _grid(plan, lambda cell, metric: _cell_text(results.shown(cell, metric), seeds))


def paper(plan: StoredPlan) -> Optional[TableLayout]:
    """The table of the paper's numbers; None if it has none."""
    if not any(cell.paper for cell in plan.cells):
        return None
    return _grid(plan, lambda cell, metric: DASH if cell.paper.get(metric, '-') == '-' else cell.paper[metric])


def difference(plan: StoredPlan, results: Results) -> Optional[TableLayout]:
    """The table of measured minus the paper's numbers; None if the two are not comparable."""
    if not plan.comparable or not any(cell.paper for cell in plan.cells):
        return None

    def text(cell: Cell, metric: str) -> str:
        numbers = [number.difference for number in results.shown(cell, metric)]
        return '/'.join(map(_signed, numbers)) if any(map(math.isfinite, numbers)) else DASH

    return replace(_grid(plan, text), best=set())


def _cell_text(numbers: List[Any], seeds: int) -> str:
    """'27.1/28.1', with ' ±0.3/0.2' over several seeds and ' (n=2)' if the cell has fewer seeds than the table."""
    counts = [number.seeds for number in numbers if number.seeds]
    if not counts:
        return DASH
    text = '/'.join(_decimal(number.mean) for number in numbers)
    if max(counts) > 1:
        text += ' ±' + '/'.join(_decimal(number.std) for number in numbers)
    return text + (f' (n={min(counts)})' if min(counts) < seeds else '')


def _decimal(number: float) -> str:
    return DASH if math.isnan(number) else f'{number:.1f}'


def _signed(number: float) -> str:
    return DASH if math.isnan(number) else f'{number:+.1f}'


def _grid(plan: StoredPlan, text: Callable[[Cell, str], str]) -> TableLayout:
    """Lay a table out. ``text(cell, metric)`` gives the text of a cell. Cells without the metric have a dash."""
    rows, columns = _sides(plan)
    cells = {tuple(sorted(cell.at.items())): cell for cell in plan.cells}

    def behind(place: Position) -> Optional[Cell]:
        return cells.get(tuple(sorted((axis, value) for axis, value in place.items() if axis != _METRIC)))

    def content(place: Position) -> str:
        cell = behind(place)
        return text(cell, place.get(_METRIC, next(iter(plan.metrics)))) if cell else DASH

    across = _across(plan, columns)
    body = [
        labels + [content({**down, **place}) for place in across] for down, labels in zip(_places(rows), _labels(rows))
    ]
    outer = len(body) // len(rows[0].values)
    metrics = [
        [place.get(_METRIC) or down.get(_METRIC) or next(iter(plan.metrics)) for place in across]
        for down in _places(rows)
    ]
    lower = [[lower_is_better(plan.metrics[metric].keys) for metric in row] for row in metrics]
    return TableLayout(
        labels=[word for axis in rows for word in (axis.label, *axis.describe)],
        header=_header([_path(plan, columns, place) for place in across]),
        body=body,
        breaks=set(range(outer, len(body), outer)) if len(rows) > 1 else set(),
        cells=[[behind({**down, **place}) for place in across] for down in _places(rows)],
        best=_best(body, lower, across_rows=not plan.rows),
    )


def _best(body: List[List[str]], lower: List[List[bool]], across_rows: bool) -> Set[Tuple[int, int, int]]:
    """The best numbers, see :class:`TableLayout`. ``lower`` says for each cell of the body whether lower is better."""
    labels = len(body[0]) - len(lower[0])
    groups: Dict[Tuple[int, int], List[Tuple[float, Tuple[int, int, int]]]] = {}
    for i, row in enumerate(body):
        for j, text in enumerate(row[labels:]):
            for part, number in enumerate(text.partition(' ')[0].split('/')):
                if number != DASH:
                    value = -float(number) if lower[i][j] else float(number)
                    groups.setdefault((i if across_rows else j, part), []).append((value, (i, labels + j, part)))
    best = set()
    for numbers in groups.values():
        values = [value for value, _ in numbers]
        if min(values) < max(values):
            best |= {place for value, place in numbers if value == max(values)}
    return best


def _sides(plan: StoredPlan) -> Tuple[Tuple[Axis, ...], Tuple[Axis, ...]]:
    """Axes down and across. Several metrics become the innermost columns. In a table without row axes they become the
    rows, and the label of its innermost column axis moves to the corner."""
    metric = Axis(name=_METRIC, label='', values={name: Value(label=name) for name in plan.metrics})
    if not plan.rows:
        *outer, inner = plan.column_axes
        return (_labelled(metric, inner.label),), (*outer, _labelled(inner, ''))
    several = len(plan.metrics) > 1 or not plan.columns
    return plan.row_axes, (*plan.column_axes, metric) if several else plan.column_axes


def _labelled(axis: Axis, label: str) -> Axis:
    return axis.model_copy(update=dict(label=label))


def _places(axes: Tuple[Axis, ...]) -> List[Position]:
    return [dict(zip((axis.name for axis in axes), values)) for values in product(*(axis.values for axis in axes))]


def _across(plan: StoredPlan, columns: Tuple[Axis, ...]) -> List[Position]:
    """The positions of the columns. Metrics that are limited to some values of column axes come last."""
    free: List[Position] = []
    limited: List[Position] = []
    for place in _places(columns):
        limit = _limit(plan, place)
        if all(place[axis] in values for axis, values in limit.items()):
            (limited if limit else free).append(place)
    return free + limited


def _limit(plan: StoredPlan, place: Position) -> Dict[str, Tuple[str, ...]]:
    """The values of column axes to which the metric of a column is limited."""
    metric = plan.metrics[place[_METRIC]] if _METRIC in place else None
    return {axis: values for axis, values in metric.at.items() if axis in place} if metric else {}


def _labels(rows: Tuple[Axis, ...]) -> List[List[str]]:
    """The label and descriptions of each row, left out if they repeat those of the row above."""
    blocks = [math.prod(len(axis.values) for axis in rows[depth + 1 :]) for depth in range(len(rows))]
    lines = []
    for i, values in enumerate(product(*(axis.values.values() for axis in rows))):
        line = []
        for value, block in zip(values, blocks):
            words = [value.label, *value.describe]
            line += words if i % block == 0 else [''] * len(words)
        lines.append(line)
    return lines


def _path(plan: StoredPlan, columns: Tuple[Axis, ...], place: Position) -> _Path:
    """The header over a column, empty for the axes to one of whose values its metric is limited."""
    limit = _limit(plan, place)
    path: List[Tuple[Optional[str], str]] = []
    for axis in columns:
        value = place[axis.name]
        entries = [(axis.name, axis.label)] if axis.label else []
        entries.append((value, axis.values[value].label))
        path += [(None, '')] * len(entries) if len(limit.get(axis.name, ())) == 1 else entries
    return tuple(path)


def _header(paths: List[_Path]) -> List[List[Tuple[str, int]]]:
    return [_level([path[: depth + 1] for path in paths]) for depth in range(len(paths[0]))] or [[('', 1)]]


def _level(paths: List[_Path]) -> List[Tuple[str, int]]:
    """The last entries of ``paths``. Neighbours with equal paths from the top are merged."""
    return [(path[-1][1], len(list(same))) for path, same in groupby(paths)]
