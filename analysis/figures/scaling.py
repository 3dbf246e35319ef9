"""The study `scaling`: four ratios of AP over the schedules, beside the paper's values."""

from typing import Dict, List, Optional, Sequence, Tuple

from matplotlib.figure import Figure

from analysis.figures.curves import setting
from analysis.figures.style import WIDE, line_style, new_figure, note
from analysis.results import Results
from experiments.spec.schema import StoredPlan

Side = Tuple[str, str]  # method, and without_nms or with_nms
WITHOUT, WITH = 'without_nms', 'with_nms'
#: Title -> the two sides of the ratio, and the paper's values by schedule (Tables 4 and 5).
RATIOS: Dict[str, Tuple[Side, Side, Dict[str, float]]] = {
    'FCOS / FCOS with NMS': (('FCOS', WITHOUT), ('FCOS', WITH), {'1x': 17.7 / 38.6, '3x': 19.1 / 41.4}),
    'POTO / FCOS with NMS': (('POTO', WITHOUT), ('FCOS', WITH), {'1x': 36.5 / 38.6, '3x': 40.2 / 41.4}),
    'ours / FCOS with NMS': (('Ours', WITHOUT), ('FCOS', WITH), {'1x': 39.0 / 38.6, '3x': 42.2 / 41.4}),
    'α = 1 / ours': (('α=1', WITHOUT), ('Ours', WITHOUT), {'1x': 10.4 / 39.0}),
}


def scaling(plan: StoredPlan, results: Results) -> Figure:
    """Four panels of ratios of mean AP. Schedules go from left to right, and the paper's values are crosses.

    Args:
        plan (StoredPlan): the study, with the axes strides, method and schedule.
        results (Results): its results.
    """
    figure = new_figure(WIDE, 4.4)
    schedules = list(plan.axes['schedule'].values)
    for axes, (title, (above, below, paper)) in zip(figure.subplots(2, 2, sharex=True).flat, RATIOS.items()):
        for number, strides in enumerate(plan.axes['strides'].values):
            line = [_ratio(plan, results, strides, schedule, above, below) for schedule in schedules]
            points = [(place, value) for place, value in enumerate(line) if value is not None]
            if points:
                axes.plot(*zip(*points), label=f'strides {strides}', **line_style(number))
        places = [schedules.index(schedule) for schedule in paper]
        axes.plot(places, list(paper.values()), 'kx', label='paper')
        axes.set_title(title)
        axes.set_ylim(0, 1.2)
        axes.set_xticks(range(len(schedules)), [plan.axes['schedule'].values[name].label for name in schedules])
        handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside upper center', ncols=3)
    note(figure, f'Ratios of mean AP. Measured: {setting(plan, 1)}')
    return figure


def _ratio(
    plan: StoredPlan, results: Results, strides: str, schedule: str, above: Side, below: Side
) -> Optional[float]:
    means = [_mean(_values(plan, results, strides, schedule, side)) for side in (above, below)]
    return means[0] / means[1] if means[0] is not None and means[1] else None


def _values(plan: StoredPlan, results: Results, strides: str, schedule: str, side: Side) -> List[float]:
    """AP of each seed, as fractions."""
    method, reading = side
    cell = plan.cell_at({'strides': strides, 'method': method, 'schedule': schedule})
    found = [results.number(run, f'{reading}/AP') for run in cell.runs.values()]
    return [value for value in found if value is not None]


def _mean(values: Sequence[float]) -> Optional[float]:
    return sum(values) / len(values) if values else None
