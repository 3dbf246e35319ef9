"""What a figure needs of its table. A reader's own table of the same name may have other rows, axes or metrics."""

from itertools import product
from typing import Iterable

from experiments.spec.schema import StoredPlan


class Misfit(Exception):
    """A table lacks what its figure shows. The message says what."""


def need_axes(plan: StoredPlan, **values: Iterable[str]) -> None:
    """Check that a table has exactly these axes, with at least these values, and a cell for each combination.

    Raises:
        Misfit: it does not.
    """
    if {*plan.axes} != {*values}:
        raise Misfit(f'its axes are {", ".join(plan.axes)}, not {", ".join(values)}')
    for name, needed in values.items():
        lacking = [value for value in needed if value not in plan.axes[name].values]
        if lacking:
            raise Misfit(f'its axis {name} lacks {", ".join(lacking)}')
    there = [cell.at for cell in plan.cells]
    for place in product(*(axis.values for axis in plan.axes.values())):
        if dict(zip(plan.axes, place)) not in there:
            raise Misfit(f'it has no cell {" ".join(place)}')


def need_metric(plan: StoredPlan, metric: str) -> None:
    """Check that every cell shows a metric.

    Raises:
        Misfit: one does not.
    """
    for cell in plan.cells:
        if metric not in cell.keys:
            raise Misfit(f'its cell {cell.label} does not show {metric}')


def need_both_readings(plan: StoredPlan) -> None:
    """Check that the first metric of every cell has a value without and a value with NMS.

    Raises:
        Misfit: one does not.
    """
    for cell in plan.cells:
        keys = next(iter(cell.keys.values()), ())
        if len(keys) != 2:
            raise Misfit(f'the first metric of its cell {cell.label} is no pair of values, without and with NMS')


def need_few_lines(plan: StoredPlan, of_cell: int, most: int) -> None:
    """Check that ``most`` lines, as many as can be told apart, are enough for ``of_cell`` lines of each cell.

    Raises:
        Misfit: they are not.
    """
    number = len(plan.cells)
    if of_cell * number > most:
        raise Misfit(f'it has {number} cells, and only the lines of {most // of_cell} can be told apart')
