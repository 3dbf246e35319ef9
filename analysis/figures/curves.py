"""Figures of values after each epoch: Fig. 5, the curves of any table, losses and positives."""

from functools import partial
from typing import Any, Callable, Dict, List, Optional, Tuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.figures.fit import Misfit, need_both_readings, need_few_lines
from analysis.figures.style import COLOURS, DASHES, MARKERS, NARROW, WIDE, line_style, mathematical, new_figure, note
from analysis.results import is_speed, over_seeds
from analysis.tables.notes import profile as profile_text
from analysis.tables.notes import seeds_in_words
from experiments.spec.schema import Axis, Cell, Epoch, StoredPlan

Stored = Dict[str, List[Epoch]]
Value = Callable[[Epoch], Optional[float]]
ValueOf = Callable[[Cell], Value]


class NotStored(ValueError):
    """The runs were stored without what a figure shows."""


def fig5(plan: StoredPlan, stored: Stored) -> Figure:
    """Fig. 5: AP without and with NMS after every epoch for each method, and below it the gap between the two.

    Args:
        plan (StoredPlan): a table whose metric has a value without and a value with NMS.
        stored (dict): the epochs of its runs by run id.

    Raises:
        Misfit: it has other metrics, or too many cells.
    """
    need_both_readings(plan)
    need_few_lines(plan, 2, len(MARKERS))
    figure = new_figure(NARROW, 4.4)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[2.2, 1])
    seeds = 0
    for i, cell in enumerate(plan.cells):
        without, with_nms = next(iter(cell.keys.values()))
        name = _name(plan, cell)
        for j, (key, reading) in enumerate([(without, 'without NMS'), (with_nms, 'with NMS')]):
            style = dict(color=COLOURS[i], linestyle=DASHES[j], marker=MARKERS[2 * i + j], markerfacecolor=_fill(j, i))
            series = over_seeds(stored, cell.runs, percent(key))
            seeds = max(seeds, _draw(top, series, f'{name} {reading}', style))
        gap = over_seeds(stored, cell.runs, partial(_gap, without=without, with_nms=with_nms))
        _draw(bottom, gap, name, dict(color=COLOURS[i], linestyle='-', marker=MARKERS[2 * i]))
    bottom.axhline(0, color='0.6', linewidth=0.8)
    top.set_ylabel('AP in %')
    bottom.set_ylabel('gap in points')
    _epochs_axis(bottom)
    top.legend(loc='lower right')
    note(figure, setting(plan, seeds))
    return figure


def curves(plan: StoredPlan, stored: Stored) -> Figure:
    """A table's first metric after every epoch, a line for each cell, without or with NMS as the cell says.

    Raises:
        Misfit: the table has speeds alone.
    """
    metric = next((name for name, metric in plan.metrics.items() if not is_speed(metric.keys)), None)
    if metric is None:
        raise Misfit('its metrics are speeds alone, which are not measured after an epoch')
    axis, _ = _panels(plan)
    lines = {i: _name(plan, cell, axis) for i, cell in enumerate(plan.cells) if metric in cell.keys}
    label = f'{metric} in %' + _reading({plan.cells[i].keys[metric][0] for i in lines})
    return _grid(plan, stored, lines, {label: lambda cell: percent(cell.keys[metric][0])}, height=2.4)


def losses(plan: StoredPlan, stored: Stored) -> Figure:
    """The mean training losses of every epoch: a row of panels for each loss, a line for each training of the table.

    Raises:
        NotStored: no run has losses.
    """
    names = sorted(_stored_names(stored, 'losses'), key=lambda name: name == 'loss')  # the sum is the last row
    axis, _ = _panels(plan)
    # Cells of one training, without and with NMS, are one line.
    first = {tuple(cell.runs.values()): i for i, cell in reversed(list(enumerate(plan.cells)))}
    lines = {i: _name(plan, plan.cells[i], axis, reading=False) for i in sorted(first.values())}

    def row(name: str) -> ValueOf:
        return lambda cell: _stored_value('losses', name)

    return _grid(plan, stored, lines, {name: row(name) for name in names}, height=1.7)


def positives(plan: StoredPlan, stored: Stored) -> Figure:
    """Mean number of positives per instance in every epoch, by kind, and the sum of their degrees if it is stored.

    Raises:
        NotStored: no run has numbers of positives.
        Misfit: the table has too many cells.
    """
    names = _stored_names(stored, 'positives')
    need_few_lines(plan, len(names), len(MARKERS))
    shown = {'certain': 'certain anchors', 'ambiguous': 'ambiguous anchors', 'degree': 'sum of degrees'}
    figure = new_figure(NARROW, 3.0)
    axes, seeds = figure.subplots(), 0
    for i, cell in enumerate(plan.cells):
        for j, name in enumerate(names):
            style = dict(color=COLOURS[i], linestyle=DASHES[j % len(DASHES)], marker=MARKERS[len(names) * i + j])
            series = over_seeds(stored, cell.runs, _stored_value('positives', name))
            seeds = max(seeds, _draw(axes, series, f'{_name(plan, cell)}: {shown.get(name, name)}', style))
    axes.set_ylabel('per instance')
    axes.set_ylim(bottom=0)
    _epochs_axis(axes)
    figure.legend(loc='outside upper center', ncols=2)
    note(figure, setting(plan, seeds))
    return figure


def mechanism(plan: StoredPlan, stored: Stored) -> Figure:
    """Duplicates per object and the score margin after every epoch without NMS, a line for each cell of the table.

    Raises:
        NotStored: no run has these metrics.
    """
    rows = {'duplicates per object': 'without_nms/duplicates', 'score margin': 'without_nms/score_margin'}
    if not {*rows.values()} & {*_stored_names(stored, 'metrics')}:
        raise NotStored('the stored runs have no duplicates and no score margin')
    lines = {i: _name(plan, cell, reading=False) for i, cell in enumerate(plan.cells)}

    def row(key: str) -> ValueOf:
        return lambda cell: _stored_value('metrics', key)

    return _grid(plan, stored, lines, {label: row(key) for label, key in rows.items()}, height=1.9)


def setting(plan: StoredPlan, seeds: int) -> str:
    """'Profile desk: generated scenes, not COCO; seed 0'. With several seeds, also the meaning of lines and bands."""
    numbers = sorted(set(plan.runs.values()))
    text = f'{seeds_in_words(numbers)}, {profile_text(plan.profile, plan.setting)}'
    return (
        text[:1].upper() + text[1:] + ('\nLine: mean; band: from the smallest to the largest seed' if seeds > 1 else '')
    )


def percent(key: str) -> Value:
    """A function that gives a metric of an epoch in percent."""

    def value(epoch: Epoch) -> Optional[float]:
        fraction = epoch.metrics.get(key)
        return None if fraction is None else 100 * fraction

    return value


def _gap(epoch: Epoch, without: str, with_nms: str) -> Optional[float]:
    low, high = percent(without)(epoch), percent(with_nms)(epoch)
    return None if low is None or high is None else high - low


def _draw(axes: Axes, series: pd.DataFrame, label: str, style: Dict[str, Any]) -> int:
    """Draw a line, and a band if there are several seeds. Returns the number of seeds."""
    if series.empty:
        return 0
    step = max(len(series) // 12, 1)  # so that markers stay apart in long trainings
    axes.plot(series.index, series['mean'], label=label, markevery=step, **style)
    seeds = int(series['count'].max())
    if seeds > 1:
        axes.fill_between(series.index, series['min'], series['max'], color=style['color'], alpha=0.15, linewidth=0)
    return seeds


def _fill(reading: int, cell: int) -> str:
    return 'white' if reading else COLOURS[cell]


def _epochs_axis(axes: Axes) -> None:
    axes.set(xlabel='epoch', xlim=(0.3, None))  # there is no epoch 0
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _stored_names(stored: Stored, part: str) -> List[str]:
    epochs = [epoch for each in stored.values() for epoch in each]
    names = list(dict.fromkeys(name for epoch in epochs for name in getattr(epoch, part)))
    if not names:
        raise NotStored(f'the stored runs have no {part}')
    return names


def _stored_value(part: str, name: str) -> Value:
    return lambda epoch: getattr(epoch, part).get(name)


def _name(plan: StoredPlan, cell: Cell, but: Optional[Axis] = None, reading: bool = True) -> str:
    """The name of a cell: labels and descriptions of its values, except on the axis ``but``. ``reading`` says whether
    to name NMS."""
    parts = []
    for axis in plan.row_axes + plan.column_axes:
        if axis is not but:
            value = axis.values[cell.at[axis.name]]
            numeric = value.label[:1].isdigit() and axis.label
            parts += [f'{axis.label} {value.label}' if numeric else value.label]
            parts += [word for word in value.describe if word not in ('✓', '✗')]
            parts += ['with NMS' for word in value.describe if word == '✓' and reading]
    return mathematical(' '.join(parts))


def _reading(keys: set) -> str:
    readings = {key.partition('/')[0] for key in keys}
    names = {'without_nms': ', without NMS', 'with_nms': ', with NMS'}
    return names.get(readings.pop(), '') if len(readings) == 1 else ''


def _panels(plan: StoredPlan) -> Tuple[Optional[Axis], Dict[str, Callable[[Cell], bool]]]:
    """The axis with a panel for each value, and by panel title a test whether the panel has a cell. A table with one
    axis has a single panel."""
    if len(plan.axes) < 2:
        return None, {'': lambda cell: True}
    axis = plan.column_axes[-1] if plan.columns else plan.row_axes[0]
    titles = {mathematical(f'{axis.label} {value.label}'.strip()): name for name, value in axis.values.items()}
    return axis, {title: partial(_is_at, axis.name, name) for title, name in titles.items()}


def _is_at(axis: str, value: str, cell: Cell) -> bool:
    return cell.at[axis] == value


def _grid(plan: StoredPlan, stored: Stored, lines: Dict[int, str], rows: Dict[str, ValueOf], height: float) -> Figure:
    """Panels side by side for an axis of the table, and a row of panels for each of ``rows``.

    Args:
        plan (StoredPlan): the table.
        stored (dict): the epochs of its runs by run id.
        lines (dict): index of each cell to draw -> name of its line. Equal names are lines of several panels.
        rows (dict): label of a row -> the value of an epoch for a cell.
        height (float): height of a row in inches.
    """
    names, (_, panels) = list(dict.fromkeys(lines.values())), _panels(plan)
    columns = 2 if len(names) <= 4 or max(map(len, names)) > 30 else 3
    width = NARROW if len(panels) == 1 else WIDE
    figure = new_figure(width, height * len(rows) + 0.15 * -(-len(names) // columns) + 0.55)
    grid = figure.subplots(len(rows), len(panels), sharex='col', sharey='row', squeeze=False)
    seeds, handles = 0, {}
    for (label, value_of), line in zip(rows.items(), grid):
        line[0].set_ylabel(label)
        for axes, has in zip(line, panels.values()):
            for i, name in lines.items():
                if has(plan.cells[i]):
                    series = over_seeds(stored, plan.cells[i].runs, value_of(plan.cells[i]))
                    seeds = max(seeds, _draw(axes, series, name, line_style(names.index(name))))
            handles.update({handle.get_label(): handle for handle in axes.get_lines()})
    for axes, title in zip(grid[0], panels):
        axes.set_title(title)
    for axes in grid[-1]:
        _epochs_axis(axes)
    shown = [name for name in names if name in handles]
    figure.legend([handles[name] for name in shown], shown, loc='outside upper center', ncols=columns)
    note(figure, setting(plan, seeds))
    return figure
