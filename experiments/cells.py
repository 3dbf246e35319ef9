"""Finds the one run that a person means by a table and names of rows and columns."""

from typing import Dict, List, Sequence, Tuple

from experiments.errors import UserError
from experiments.grid import Cell, Overrides, Table
from experiments.resolve import Run, resolve


def find_run(table: Table, names: Sequence[str], profile: str, overrides: Overrides) -> Tuple[Run, List[Cell]]:
    """The run of the cells that all of ``names`` select, and those cells.

    Args:
        table (Table): the table.
        names (sequence[str]): names or labels of axis values, or axis=name where a name is on more than one axis.
        profile (str): the profile to resolve in.
        overrides (dict): overrides from the command line.

    Raises:
        UserError: a name is unknown, no cell has all of them, or cells are left that are evaluated differently.
    """
    cells = list(table.cells)
    for name in names:
        positions = _positions(table, name)
        cells = [cell for cell in cells if any(cell.at[axis] in values for axis, values in positions.items())]
    asked = ' '.join(f'--cell {name!r}' for name in names)
    if not cells:
        raise UserError(f'{table.name} has no cell at {asked}')
    runs = [_resolve(table, cell, profile, overrides) for cell in cells]
    if any(_evaluated(run) != _evaluated(runs[0]) for run in runs):
        left = ', '.join(cell.label for cell in cells[:4]) + (', ...' if len(cells) > 4 else '')
        raise UserError(
            f'{asked or "without --cell"}: {len(cells)} cells of {table.name} are left, of different models ({left}); '
            'name one with --cell NAME or --cell AXIS=NAME'
        )
    return runs[0], cells


def _positions(table: Table, name: str) -> Dict[str, List[str]]:
    """Axis -> names of its values that ``name`` stands for: those called so, else those of that label."""
    values = {axis.name: axis.values for axis in table.axes.values()}
    named = {axis: [name] for axis, of_axis in values.items() if name in of_axis}
    labelled = {
        axis: [key for key, value in of_axis.items() if value.label == name] for axis, of_axis in values.items()
    }
    labelled = {axis: found for axis, found in labelled.items() if found}
    axis, _, key = name.partition('=')
    exact = {axis: [key]} if key in values.get(axis, ()) else {}
    if not (named or labelled or exact):
        known = '; '.join(f'{axis}: {", ".join(of_axis)}' for axis, of_axis in values.items())
        raise UserError(f'--cell {name!r}: no axis of {table.name} has such a value; it has {known}')
    return named or labelled or exact


def _resolve(table: Table, cell: Cell, profile: str, overrides: Overrides) -> Run:
    return resolve(profile, cell.use, {**cell.overrides, **overrides}, 0, f'table file {table.name}.yaml')


def _evaluated(run: Run) -> list:
    return [run.config[key] for key in ('model', 'val_dataloader', 'val_evaluator')]
