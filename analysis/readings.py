"""The numbers of a cell: over its seeds the mean and spread of what the runs stored, and the paper's beside them."""

import re
import statistics
from dataclasses import dataclass
from typing import List, Optional

from analysis.plans import Cell, Plan
from analysis.results import SPEED, Results

_NUMBER = re.compile(r'[0-9]+(\.[0-9]+)?')


@dataclass(frozen=True)
class CellStatistic:
    """One key of one metric of one cell, such as AP without NMS, over its seeds; None where missing.

    ``mean``, ``std`` (the sample's standard deviation) and ``paper`` are in ``unit``: '%', 'ms' or '1/s'. ``seeds`` is
    how many values were averaged.
    """

    metric: str
    key: str
    unit: str
    mean: Optional[float]
    std: Optional[float]
    seeds: int
    paper: Optional[float]

    @property
    def difference(self) -> Optional[float]:
        """Mean less the paper's number, for a plan that is comparable; None for a speed, which is this machine's."""
        if self.mean is None or self.paper is None or self.unit != '%':
            return None
        return round(self.mean - self.paper, 6)


def is_speed(metric_keys: tuple) -> bool:
    """Whether keys of a metric are speeds, which are measured apart and are no fractions."""
    return any(key.startswith(SPEED) for key in metric_keys)


def lower_is_better(keys: tuple) -> bool:
    """Whether the best of a metric is its smallest value: a miss rate's or a time's."""
    return all(key.endswith(('/mMR', '_ms')) for key in keys)


def readings(results: Results, cell: Cell, metric: str) -> List[CellStatistic]:
    """What a cell shows for a metric, one reading for each key of the metric; none where it does not show it."""
    paper = [float(text) if _NUMBER.fullmatch(text) else None for text in cell.paper.get(metric, '').split('/')]
    numbers = []
    for i, key in enumerate(cell.keys.get(metric, ())):
        unit = _unit(key)
        stored = [results.number(run, key) for run in cell.runs.values()]
        values = [100 * value if unit == '%' else value for value in stored if value is not None]
        mean = round(statistics.fmean(values), 6) if values else None
        std = round(statistics.stdev(values), 6) if len(values) > 1 else None
        numbers.append(CellStatistic(metric, key, unit, mean, std, len(values), paper[i] if i < len(paper) else None))
    return numbers


def all_statistics(results: Results, cell: Cell) -> List[CellStatistic]:
    """What a cell shows, all metrics one after the other."""
    return [reading for metric in cell.keys for reading in readings(results, cell, metric)]


def missing_cells(plan: Plan, results: Results) -> int:
    """How many cells of the plan lack a number that they should show, of any metric, seed and reading."""
    return sum(
        any(reading.seeds < max(1, len(cell.runs)) for reading in all_statistics(results, cell)) for cell in plan.cells
    )


def _unit(key: str) -> str:
    if not key.startswith(SPEED):
        return '%'
    return '1/s' if key.endswith('fps') else 'ms'
