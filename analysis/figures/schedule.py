"""Figures of the degrees' schedule: Eq. 3 itself, and the effect of T^min on the gap without and with NMS (Table 3)."""

from typing import List, Optional, Sequence, Tuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.figures.curves import setting
from analysis.figures.fit import Misfit, need_both_readings
from analysis.figures.style import WIDE, line_style, mathematical, new_figure, note
from analysis.results import Results, paper_numbers
from experiments.spec.schema import Cell, StoredPlan

#: The paper's values: section 4.2, and the '1×' schedule.
T_MAX, T_MIN, EPOCHS = (0.7, 0.6, 0.5, 0.4), 0.2, 12
DEFAULT_T_MAX = 0.6


def degree_schedule(t_max: Sequence[float] = T_MAX, t_min: float = T_MIN, epochs: int = EPOCHS) -> Figure:
    """Eq. 3: T^j after each epoch for several T^max, and t as a function of p / max p at the paper's T^max."""
    figure = new_figure(WIDE, 2.7)
    left, right = figure.subplots(1, 2)
    for number, value in enumerate(t_max):
        line = [_t(value, t_min, j, epochs) for j in range(epochs)]
        left.plot(range(1, epochs + 1), line, label=mathematical(f'T^max {value}'), **line_style(number))
    left.set(xlabel='epoch', ylabel='$T^j$', ylim=(0, 1))
    left.set_title(mathematical(f'from T^max to T^min = {t_min}'))
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.legend(loc='upper right', ncols=2)
    for number, j in enumerate(dict.fromkeys([0, epochs // 3, 2 * epochs // 3, epochs - 1])):
        style = dict(line_style(number), markevery=[1])
        right.plot([0, 1], [0, _t(DEFAULT_T_MAX, t_min, j, epochs)], label=f'epoch {j + 1}', clip_on=False, **style)
    right.set(xlabel='joint score p / max p', ylabel='positive degree t', xlim=(0, 1), ylim=(0, 1))
    right.set_title(mathematical(f'T^max = {DEFAULT_T_MAX}, T^min = {t_min}'))
    right.legend(loc='upper left', ncols=2)
    return figure


def gap(plan: StoredPlan, results: Results) -> Figure:
    """The gap between without and with NMS against T^min, a line for each T^max: measured, and the paper's numbers.

    Args:
        plan (StoredPlan): Table 3: one axis down, one across, and one metric with two keys.
        results (Results): its results.

    Raises:
        Misfit: the table has other axes or metrics, or a T^min that is no number.
    """
    _need_numbers(plan)
    need_both_readings(plan)
    figure = new_figure(WIDE, 2.9)
    left, right = figure.subplots(1, 2, sharey=True)
    measured = _gap_panel(left, plan, lambda cell: _measured(results, cell))
    _gap_panel(right, plan, _paper)
    left.set_title('Measured')
    right.set_title(f'Paper ({plan.setting or plan.source})')
    left.set_ylabel('AP with NMS − AP without NMS')
    left.set_ylim(bottom=min(0, left.get_ylim()[0]))
    handles, labels = (left if left.get_lines() else right).get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside upper center', ncols=4)
    note(figure, f'Measured: {setting(plan, measured)}'.replace('band', 'bars'))
    return figure


def _need_numbers(plan: StoredPlan) -> None:
    if (len(plan.rows), len(plan.columns)) != (1, 1):
        raise Misfit('it has not one axis down and one across')
    for value in plan.row_axes[0].values:
        try:
            float(value)
        except ValueError as error:
            raise Misfit(f'its {plan.rows[0]} {value} is no number') from error


def _t(t_max: float, t_min: float, j: int, epochs: int) -> float:
    """T^j of Eq. 3, j from 0."""
    return t_max + (t_min - t_max) * j / max(epochs - 1, 1)


def _gap_panel(axes: Axes, plan: StoredPlan, gaps_of) -> int:
    """Draw the lines of one panel; returns the largest number of seeds of a cell."""
    (row,), (column,) = plan.row_axes, plan.column_axes
    most = 0
    for number, (value, shown) in enumerate(column.values.items()):
        cells = [cell for cell in plan.cells if cell.at[column.name] == value]
        points = [(float(cell.at[row.name]), gaps) for cell in cells if (gaps := gaps_of(cell))]
        if points:
            x, mean, below, above = zip(*((x, sum(g) / len(g), *_reach(g)) for x, g in sorted(points)))
            style = dict(line_style(number), capsize=2, elinewidth=0.8)
            bars = [below, above] if max(map(len, (g for _, g in points))) > 1 else None
            axes.errorbar(x, mean, yerr=bars, label=mathematical(f'{column.label} {shown.label}'), **style)
            most = max(most, *(len(gaps) for _, gaps in points))
    axes.set_xlabel(mathematical(row.label))
    axes.set_xticks(sorted(float(value) for value in row.values))
    return most


def _reach(gaps: List[float]) -> Tuple[float, float]:
    mean = sum(gaps) / len(gaps)
    return mean - min(gaps), max(gaps) - mean


def _measured(results: Results, cell: Cell) -> List[float]:
    """The gap of each seed in points."""
    without, with_nms = next(iter(cell.keys.values()))
    values = [(results.number(run, without), results.number(run, with_nms)) for run in cell.runs.values()]
    return [100 * (high - low) for low, high in values if low is not None and high is not None]


def _paper(cell: Cell) -> Optional[List[float]]:
    printed = paper_numbers(cell)
    low, high = (printed.get(key) for key in next(iter(cell.keys.values())))
    return [high - low] if low is not None and high is not None else None
