"""The study `scaling`: four ratios of AP over the schedules, beside the paper's values."""

from typing import Dict, NamedTuple, Optional

from matplotlib.figure import Figure

from analysis.figures.curves import setting
from analysis.figures.fit import need_axes
from analysis.figures.style import WIDE, line_style, new_figure, note
from analysis.results import Results, paper_numbers
from experiments.spec.schema import Position, StoredPlan
from experiments.spec.table_file import load_table


class Side(NamedTuple):
    """One side of a ratio: a method of the study, a metric, and the cells of a table where the paper has its value."""

    method: str
    key: str
    table: str
    at: Position

    def paper(self) -> Dict[str, float]:
        """The paper's values by schedule, in percent. A table without schedules has 1x alone."""
        cells = [cell for cell in load_table(self.table).cells if self.at.items() <= cell.at.items()]
        return {cell.at.get('schedule', '1x'): paper_numbers(cell)[self.key] for cell in cells}


WITHOUT, WITH = 'without_nms/AP', 'with_nms/AP'
_FCOS_WITH_NMS = Side('FCOS', WITH, 'table5', {'method': 'FCOS-NMS'})
#: Title -> the two sides of the ratio.
RATIOS = {
    'FCOS / FCOS with NMS': (Side('FCOS', WITHOUT, 'table5', {'method': 'FCOS'}), _FCOS_WITH_NMS),
    'POTO / FCOS with NMS': (Side('POTO', WITHOUT, 'table5', {'method': 'POTO'}), _FCOS_WITH_NMS),
    'ours / FCOS with NMS': (Side('Ours', WITHOUT, 'table5', {'method': 'Ours-3convs'}), _FCOS_WITH_NMS),
    'α = 1 / ours': (
        Side('α=1', WITHOUT, 'table4', {'metric': 'Multiply', 'alpha': '1'}),
        Side('Ours', WITHOUT, 'table4', {'metric': 'Multiply', 'alpha': '0.8'}),
    ),
}


def scaling(plan: StoredPlan, results: Results) -> Figure:
    """Four panels of ratios of mean AP. Schedules go from left to right, and the paper's values are crosses.

    Args:
        plan (StoredPlan): the study, with the axes strides, method and schedule.
        results (Results): its results.

    Raises:
        Misfit: the study has other axes, or lacks a method of the ratios or a schedule of the paper's.
    """
    sides = [side for pair in RATIOS.values() for side in pair]
    schedules = list(dict.fromkeys(name for side in sides for name in side.paper()))
    need_axes(plan, strides=[], method=[side.method for side in sides], schedule=schedules)
    figure = new_figure(WIDE, 4.4)
    schedules = list(plan.axes['schedule'].values)
    for axes, (title, (above, below)) in zip(figure.subplots(2, 2, sharex=True, sharey=True).flat, RATIOS.items()):
        for number, strides in enumerate(plan.axes['strides'].values):
            line = [_ratio(plan, results, strides, schedule, above, below) for schedule in schedules]
            points = [(place, value) for place, value in enumerate(line) if value is not None]
            if points:
                axes.plot(*zip(*points), label=f'strides {strides}', **line_style(number))
        over, under = above.paper(), below.paper()
        axes.plot(
            [schedules.index(name) for name in over], [over[name] / under[name] for name in over], 'kx', label='paper'
        )
        axes.set_title(title)
        axes.set_xticks(range(len(schedules)), [plan.axes['schedule'].values[name].label for name in schedules])
        handles, labels = axes.get_legend_handles_labels()
    axes.set_ylim(bottom=0)  # of all panels
    figure.legend(handles, labels, loc='outside upper center', ncols=3)
    note(figure, f'Ratios of mean AP. Measured: {setting(plan, 1)}')
    return figure


def _ratio(
    plan: StoredPlan, results: Results, strides: str, schedule: str, above: Side, below: Side
) -> Optional[float]:
    means = [_mean(plan, results, strides, schedule, side) for side in (above, below)]
    return means[0] / means[1] if means[0] is not None and means[1] else None


def _mean(plan: StoredPlan, results: Results, strides: str, schedule: str, side: Side) -> Optional[float]:
    """Mean AP over the seeds, as a fraction."""
    cell = plan.cell_at({'strides': strides, 'method': side.method, 'schedule': schedule})
    values = results.by_seed(cell, side.key).values()
    return sum(values) / len(values) if values else None
