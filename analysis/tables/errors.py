"""What each kind of error costs in the cells of a table (``o2f.evaluation.errors``)."""

from pathlib import Path
from typing import Callable, Dict, List, Optional

from analysis.tables.render import table
from experiments.spec.schema import Breakdown, Cell, StoredPlan
from experiments.store.model import read_stored
from experiments.store.runs import BREAKDOWN

READINGS = {'without_nms': 'without NMS', 'with_nms': 'with NMS'}


def errors_table(plan: StoredPlan, runs: Path, warn: Callable[[str], None]) -> str:
    """A Markdown table of the AP50 that each error costs, and of the calibration error, in %: the mean over seeds.

    Each cell has a row for each of the readings that the table shows of it. Cells of which no run stores its breakdown
    are left out. The text is empty if that leaves fewer than two, as there is nothing to compare.

    Args:
        plan (StoredPlan): the plan of the table.
        runs (Path): folder of the runs.
        warn (callable): called with a line about each stored breakdown that is broken.
    """
    rows: List[List[str]] = []
    names: List[str] = []
    for cell in plan.cells:
        found = [each for run in cell.runs.values() if (each := _read(Path(runs) / plan.profile / run, warn))]
        for reading in _readings(cell):
            means = _means([each.errors[reading] for each in found if reading in each.errors])
            if means:
                names = list(means)
                values = ['–' if value is None else f'{100 * value:.1f}' for value in means.values()]
                rows.append([cell.label, READINGS[reading], *values])
    return table([['cell', 'read', *names], *rows]) if len({row[0] for row in rows}) > 1 else ''


def _read(folder: Path, warn: Callable[[str], None]) -> Optional[Breakdown]:
    path = folder / BREAKDOWN
    try:
        return read_stored(Breakdown, path) if path.exists() else None
    except ValueError as error:
        warn(f'{path}: {error}: left out')
        return None


def _readings(cell: Cell) -> List[str]:
    """The readings of the cell's first metric, such as AP without and with NMS."""
    keys = next(iter(cell.keys.values()))
    return [reading for reading in READINGS if any(key.startswith(f'{reading}/') for key in keys)]


def _means(found: List[Dict[str, Optional[float]]]) -> Dict[str, Optional[float]]:
    """The mean of each value over the seeds; None if a seed does not define it."""
    means: Dict[str, Optional[float]] = {}
    for name in found[0] if found else ():
        values = [each[name] for each in found]
        defined = [value for value in values if value is not None]
        means[name] = sum(defined) / len(defined) if len(defined) == len(values) else None
    return means
