"""The study `crowding`: how far each method is above or below FCOS with NMS, over scenes of rising overlap."""

from typing import Optional

from matplotlib.figure import Figure

from analysis.figures.curves import setting
from analysis.figures.fit import need_axes, need_metric
from analysis.figures.style import WIDE, line_style, new_figure, note
from analysis.results import Results
from experiments.spec.schema import StoredPlan

#: The method that is 0: NMS with the threshold of all tables.
_BASE = 'FCOS-0.6'


def crowding(plan: StoredPlan, results: Results) -> Figure:
    """AP of each method minus that of FCOS with NMS at 0.6 on the same scenes, a line for each method.

    Each difference is the mean over the seeds that both have. The three thresholds of NMS are one training per seed.

    Args:
        plan (StoredPlan): the study, with the axes method and overlap.
        results (Results): its results.

    Raises:
        Misfit: the study has other axes, or lacks the base or AP.
    """
    need_axes(plan, method=[_BASE], overlap=[])
    need_metric(plan, 'AP')
    figure = new_figure(WIDE, 3.2)
    axes = figure.subplots()
    overlaps = plan.axes['overlap'].values
    for number, (name, method) in enumerate(plan.axes['method'].values.items()):
        line = [_difference(plan, results, name, overlap) for overlap in overlaps]
        points = [(place, value) for place, value in enumerate(line) if value is not None]
        nms = [f'NMS at {word}' for word in method.describe if word != '✗']
        if points and name != _BASE:
            axes.plot(*zip(*points), label=', '.join([method.label, *nms]), **line_style(number))
    axes.axhline(0, color='0.4', linewidth=0.8)
    axes.set_xticks(range(len(overlaps)), [value.label for value in overlaps.values()])
    axes.set_xlabel(plan.axes['overlap'].label)
    axes.set_ylabel('AP minus FCOS, NMS at 0.6')
    figure.legend(loc='outside right upper')
    note(figure, f'Means over the seeds that both have. {setting(plan, 1)}')
    return figure


def _difference(plan: StoredPlan, results: Results, method: str, overlap: str) -> Optional[float]:
    """In points, over the seeds that both have; None if there is none."""
    cells = [plan.cell_at({'method': name, 'overlap': overlap}) for name in (method, _BASE)]
    ours, base = (results.by_seed(cell, cell.keys['AP'][0]) for cell in cells)
    differences = [value - base[seed] for seed, value in ours.items() if seed in base]
    return 100 * sum(differences) / len(differences) if differences else None
