"""What each kind of error costs in the cells of a table (``o2f.evaluation.errors``)."""

from pathlib import Path
from typing import Dict, List, Optional, Tuple

from analysis.results import read_or_warn
from analysis.tables.layout import DASH
from analysis.tables.render import table
from experiments.spec.schema import READINGS, Breakdown, Cell, StoredPlan
from experiments.store.runs import BREAKDOWN


def errors_table(plan: StoredPlan, runs: Path, warnings: List[str]) -> str:
    """A Markdown table of the AP50 that each error costs, and of the calibration error, in %: the mean over seeds.

    Each cell has a row for each of the readings that the table shows of it. (n=2) says that only two of its runs store
    their breakdown. Cells of which none does are left out. The text is empty if that leaves fewer than two, as there is
    nothing to compare.

    Args:
        plan (StoredPlan): the plan of the table.
        runs (Path): folder of the runs.
        warnings (list): gets a line for each stored breakdown that is broken.
    """
    found_rows: List[Tuple[str, str, Dict[str, Optional[float]]]] = []
    for cell in plan.cells:
        paths = [Path(runs) / plan.profile / run / BREAKDOWN for run in cell.runs.values()]
        found = [each for path in paths if (each := read_or_warn(Breakdown, path, warnings)) is not None]
        for reading in _readings(cell):
            means = _means([each.errors[reading] for each in found if reading in each.errors])
            if means:
                lacking = f' (n={len(found)})' if len(found) < len(cell.runs) else ''
                found_rows.append((f'{cell.label}{lacking}', reading.replace('_nms', ' NMS'), means))
    names = list(dict.fromkeys(name for _, _, means in found_rows for name in means))
    rows = [[cell, reading, *(_shown(means.get(name)) for name in names)] for cell, reading, means in found_rows]
    return table([['cell', 'read', *names], *rows]) if len({row[0] for row in rows}) > 1 else ''


def _shown(value: Optional[float]) -> str:
    return DASH if value is None else f'{100 * value:.1f}'


def _readings(cell: Cell) -> List[str]:
    """The readings of the cell's first metric, such as AP without and with NMS."""
    keys = next(iter(cell.keys.values()))
    return [reading for reading in READINGS if any(key.startswith(f'{reading}/') for key in keys)]


def _means(found: List[Dict[str, Optional[float]]]) -> Dict[str, Optional[float]]:
    """The mean of each value over the seeds; None if a seed lacks it or does not define it."""
    means: Dict[str, Optional[float]] = {}
    for name in dict.fromkeys(name for each in found for name in each):
        values = [each.get(name) for each in found]
        defined = [value for value in values if value is not None]
        means[name] = sum(defined) / len(defined) if len(defined) == len(values) else None
    return means
