"""The plan of a table: the runs that fill its cells. Also finds the run that a user names by a table and a cell.

``analysis`` needs only the stored plan and the results.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Sequence, Tuple

from experiments.spec.config import Run, own_file, profile_text, resolve
from experiments.spec.metrics import check_metrics
from experiments.spec.schema import Cell, Overrides, StoredPlan, Table, own_profile, plan_name
from experiments.store.errors import UserError
from experiments.store.files import locked, make_folder, write_json, write_whole
from experiments.store.model import read_stored


@dataclass(frozen=True)
class Plan:
    """A table resolved in a profile.

    Attributes:
        table (Table): the table.
        profile (str): the profile.
        overrides (dict): overrides from the command line, on top of every cell.
        cells (list): the selected cells, each with its runs by seed.
    """

    table: Table
    profile: str
    overrides: Overrides
    cells: List['PlannedCell']

    @property
    def name(self) -> str:
        """Name of the plan: the table's name and the overrides, because these make it another experiment."""
        return plan_name(self.table.name, self.overrides)

    def runs(self) -> Dict[str, Run]:
        """The distinct runs by id, in the order of the cells."""
        return {run.id: run for cell in self.cells for run in cell.runs.values()}


@dataclass(frozen=True)
class PlannedCell:
    """A cell and the run that fills it for each seed."""

    cell: Cell
    runs: Dict[int, Run]


def make_plan(table: Table, cells: Sequence[Cell], profile: str, seeds: Sequence[int], overrides: Overrides) -> Plan:
    """Resolve ``cells`` of ``table``.

    Raises:
        UserError: the cells are named by what ``overrides`` set; see also :func:`experiments.spec.config.resolve` and
            :func:`experiments.spec.metrics.check_metrics`.
    """
    _refuse_axes(table, cells, overrides)
    planned = []
    for cell in cells:
        source = f'table file {table.name}.yaml'
        if overrides:
            resolve(profile, cell.use, cell.overrides, 0, source)  # so that any later error comes from --set
            source = '--set'
        merged = {**cell.overrides, **overrides}
        runs = {seed: resolve(profile, cell.use, merged, seed, source) for seed in seeds}
        if runs:  # all seeds have the same metrics
            check_metrics(table, cell, next(iter(runs.values())))
        planned.append(PlannedCell(cell, runs))
    return Plan(table, profile, overrides, planned)


def _refuse_axes(table: Table, cells: Sequence[Cell], overrides: Overrides) -> None:
    """Refuse to override what ``cells`` are named by: their names would not say any more what is trained."""
    of_table = [dict(_leaves(cell.overrides)) for cell in table.cells]
    of_cells = {own for cell in cells for own, _ in _leaves(cell.overrides)}
    named = [own for own in of_cells if any(leaves.get(own) != of_table[0].get(own) for leaves in of_table)]
    for key in overrides:
        for own in sorted(named):
            if f'{own}.'.startswith(f'{key}.') or key.startswith(f'{own}.'):
                raise UserError(
                    f'--set {key}: these cells of {table.name} are named by {own}; choose others with --only, or write '
                    'a table of your own'
                )


def _leaves(values: dict, above: str = '') -> Iterator[Tuple[str, Any]]:
    """Dotted keys of values that are no mappings, and these values."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f'{above}{key}.')
        elif key != '_delete_':
            yield f'{above}{key}', value


def save_plan(plan: Plan, runs: Path, report: Callable[[str], None] = lambda line: None) -> Path:
    """Write the plan where ``analysis`` looks for it. Cells and seeds that were planned earlier are kept, unless the
    table's file, a profile of the user's own or the version of generated data has changed since.

    Args:
        plan (Plan): the plan.
        runs (Path): the folder of the runs.
        report (callable): called with a line about runs that are not kept.

    Raises:
        UserError: the folder cannot be written, or the stored plan is damaged.
    """
    path = runs / plan.profile / 'tables' / f'{plan.name}.json'
    make_folder(path.parent)
    with locked(path.with_suffix('.lock')):  # another command may plan other seeds of the table
        _save(plan, path, runs, report)
    return path


def _save(plan: Plan, path: Path, runs: Path, report: Callable[[str], None]) -> None:
    earlier, cells = _earlier(path), []
    planned = {_training(entry.cell): {seed: run.id for seed, run in entry.runs.items()} for entry in plan.cells}
    for cell in plan.table.cells:
        of_cell = earlier.get(_place(cell.at), {})
        kept = {seed: run_id for seed, run_id in of_cell.items() if run_id == _id_now(plan, cell, seed)}
        # A cell that reads the training of a planned one has its seeds, whether it was asked for or not.
        cells.append(cell.model_copy(update=dict(runs={**kept, **planned.get(_training(cell), {})})))
    here = {run_id for cell in cells for run_id in cell.runs.values()}
    before = [run_id for cell in cells for run_id in earlier.get(_place(cell.at), {}).values()]
    if old := [run_id for run_id in dict.fromkeys(before) if run_id not in here]:
        report(
            f'{plan.name}: {len(old)} run(s) are of earlier settings of this table or profile. It leaves them out from '
            f'now on; they stay in {runs / plan.profile}: {" ".join(old)}'
        )
    layout = {key: value for key, value in plan.table if key not in ('name', 'cells')}
    stored = StoredPlan(
        **layout, cells=tuple(cells), table=plan.table.name, profile=plan.profile, overrides=plan.overrides
    )
    write_json(path, stored.model_dump(mode='json', by_alias=True))


def _training(cell: Cell) -> str:
    """What tells the trainings of cells apart. FCOS with and without NMS are two readings of one."""
    return json.dumps([cell.use, cell.overrides], sort_keys=True, default=str)


def _id_now(plan: Plan, cell: Cell, seed: int) -> str:
    try:
        return resolve(plan.profile, cell.use, {**cell.overrides, **plan.overrides}, seed, plan.name).id
    except UserError:  # the profile has no data for this cell any more
        return ''


def save_profile(name: str, runs: Path) -> None:
    """Keep a profile of the user's own beside its runs, as ``<runs>/<name>/<name>.py``, unless it lies there itself.

    Raises:
        UserError: the folder cannot be written.
    """
    file, kept = own_file(name), own_profile(runs, name)
    if file is not None and file != kept.resolve():
        make_folder(kept.parent)
        write_whole(kept, profile_text(name))


def _earlier(path: Path) -> Dict[tuple, Dict[int, str]]:
    """The runs that were planned earlier, by the position of their cell."""
    if not path.exists():
        return {}
    try:
        return {_place(cell.at): cell.runs for cell in read_stored(StoredPlan, path).cells}
    except ValueError as error:
        raise UserError(f'{path} is not the plan of a table ({error}): delete it and run again') from error


def _place(at: Dict[str, str]) -> tuple:
    return tuple(sorted(at.items()))


def find_run(table: Table, names: Sequence[str], profile: str, overrides: Overrides) -> Tuple[Run, List[Cell]]:
    """The run of the cells that match all of ``names``, and those cells.

    Args:
        table (Table): the table.
        names (sequence[str]): names or labels of axis values, or axis=name if several axes have the name.
        profile (str): the profile to resolve in.
        overrides (dict): overrides from the command line.

    Raises:
        UserError: a name is unknown, no cell matches all of them, or the matching cells have different models.
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
    """Axis -> names of its values that ``name`` selects, by their name, or else by their label."""
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
