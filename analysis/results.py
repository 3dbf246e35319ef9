"""Stored runs, read and checked, as pandas frames.

:func:`load` gives the content of a folder of runs as one tidy frame. :class:`Results` has the results of one table:
those of each run, and for each cell the mean and spread over seeds that the tables show.

A plan that cannot be read is an error. A result that cannot be trusted is left out with a warning. Of a result that
lacks a metric, that metric is.
"""

import json
import re
import shlex
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple, Type, TypeVar, Union

import pandas as pd

from experiments.spec.schema import (
    SPEED,
    Cell,
    Epoch,
    Epochs,
    ImageGroups,
    Overrides,
    Position,
    Result,
    Speed,
    StoredPlan,
    printed_numbers,
    profile_words,
)
from experiments.spec.table_file import study_names, table_names
from experiments.store.errors import UserError
from experiments.store.files import RUNS
from experiments.store.model import Metrics, Stored, called, read_stored, short
from experiments.store.runs import EPOCHS, IMAGE_GROUPS, SPEED_FILE, wall_seconds

_KINDS = ('table', 'fig')
S = TypeVar('S', bound=Stored)


def load(
    runs: Union[Path, str] = RUNS, profile: str = 'desk', tables: Optional[Sequence[str]] = None, epochs: bool = False
) -> pd.DataFrame:
    """All measured values, one per row.

    Args:
        runs (Path | str): folder of the runs, such as ``'results'``.
        profile (str): the profile they were trained in.
        tables (sequence[str], optional): plans to read; None: all.
        epochs (bool): give the metrics after every epoch instead of the final ones.

    Returns:
        DataFrame: a run that several tables show has rows for each of them. The columns are

        ============  =========================================================================================
        table         name of the plan, such as 'table3'
        profile       the profile
        axis_<name>   name of the cell's value on each axis of the table, NA on axes of other tables
        run, seed     id of the run, and its random seed
        epoch         epoch after which it was measured, counted from 1; NA for speeds
        metric        'AP', 'mask_AP', 'mMR', 'fps', ...
        nms           True with NMS, False without
        value         in ``unit``, as stored; NaN if it is not defined on the data
        unit          'fraction' from 0 to 1, 'ms', or '1/s' (images per second, one at a time)
        paper         the paper's number for this cell and metric in the same unit, NaN if it prints none
        ============  =========================================================================================

    Raises:
        UserError: there is no plan, or one is broken.
    """
    names = list(tables) if tables is not None else plan_names(Path(runs), profile)
    if not names:
        raise no_plans(Path(runs), profile)
    rows: List[dict] = []
    for name in names:
        plan = load_plan(Path(runs), profile, name)
        results = load_results(Path(runs), profile, plan)
        of_epochs = load_epochs(Path(runs), profile, plan)[0] if epochs else None
        for cell in plan.cells:
            rows += _cell_rows(results, cell, of_epochs)
    frame = pd.DataFrame(rows, columns=[*dict.fromkeys(key for row in rows for key in row)] or _COLUMNS)
    axes = [column for column in frame if column.startswith('axis_')]
    frame = frame[['table', 'profile', *axes, *_COLUMNS[2:]]]
    return frame.astype({'epoch': 'Int64', 'nms': bool, 'value': float, 'paper': float})


_COLUMNS = ['table', 'profile', 'run', 'seed', 'epoch', 'metric', 'nms', 'value', 'unit', 'paper']


def _cell_rows(results: 'Results', cell: Cell, epochs: Optional[Dict[str, List[Epoch]]]) -> Iterator[dict]:
    """The rows of :func:`load` for a cell."""
    plan, paper = results.plan, paper_numbers(cell)
    place = {f'axis_{axis}': value for axis, value in cell.at.items()}
    for seed, run in cell.runs.items():
        measured: List[Tuple[Optional[int], Metrics]] = []
        if epochs is not None:
            measured = [(each.epoch, each.metrics) for each in epochs.get(run, ())]
        elif run in results.runs:
            measured = [(results.runs[run].epochs, results.runs[run].metrics)]
        if run in results.speeds and epochs is None:
            measured.append((None, results.speeds[run].metrics))
        for epoch, metrics in measured:
            for key, value in metrics.items():
                reading, _, metric = key.removeprefix(SPEED).rpartition('/')
                unit = unit_of(key)
                printed = paper.get(key)
                yield dict(
                    table=plan.name,
                    profile=plan.profile,
                    **place,
                    run=run,
                    seed=seed,
                    epoch=epoch,
                    metric=f'second_{metric}' if reading == 'second_with_nms' else metric,
                    nms=reading.endswith('with_nms'),
                    value=value,
                    unit='fraction' if unit == '%' else unit,
                    paper=round(printed / 100, 6) if printed is not None and unit == '%' else printed,
                )


@dataclass(frozen=True)
class Results:
    """The stored results of a plan's runs.

    Attributes:
        plan (StoredPlan): the plan.
        runs (dict): results by run id.
        speeds (dict): speeds by run id, if they were measured.
        warnings (list): a line for each file that is broken or lacks a metric of the table.
        broken (list): those lines of them that are about broken files.
    """

    plan: StoredPlan
    runs: Dict[str, Result]
    speeds: Dict[str, Speed]
    warnings: List[str]
    broken: List[str] = field(default_factory=list)

    def number(self, run: str, key: str) -> Optional[float]:
        """A metric of a run as stored (a fraction, ms or images per second); None if it is missing."""
        stored: Dict[str, Any] = self.speeds if key.startswith(SPEED) else self.runs
        return stored[run].metrics.get(key) if run in stored else None

    def lacks(self, run: str, key: str) -> bool:
        """Whether a run has no such metric. A metric that is not defined on the data is there, without a value."""
        stored: Dict[str, Any] = self.speeds if key.startswith(SPEED) else self.runs
        return run not in stored or key not in stored[run].metrics

    def by_seed(self, cell: Cell, key: str) -> Dict[int, float]:
        """A metric of each seed of a cell as stored; seeds that lack it are left out."""
        found = {seed: self.number(run, key) for seed, run in cell.runs.items()}
        return {seed: value for seed, value in found.items() if value is not None}

    @cached_property
    def statistics(self) -> pd.DataFrame:
        """The numbers of the cells: a row for each key of each metric of each cell, in their order.

        Columns: ``cell`` (its label), ``metric``, ``key``, ``unit`` ('%', 'ms' or '1/s'), ``mean`` and ``std`` (the
        sample standard deviation) over the seeds in that unit, ``seeds`` (how many have a value), ``paper`` in the same
        unit, and ``difference``, the mean minus the paper's number. Missing values are NaN. The difference of a speed
        is NaN too, because speeds depend on the machine.
        """
        shown: List[tuple] = []
        values: List[tuple] = []
        for cell in self.plan.cells:
            paper = paper_numbers(cell)
            for metric, keys in cell.keys.items():
                for key in keys:
                    unit = unit_of(key)
                    stored = [self.number(run, key) for run in cell.runs.values()]
                    values += [(len(shown), number) for number in stored]
                    shown.append((cell.label, metric, key, unit, paper.get(key)))
        frame = pd.DataFrame(shown, columns=['cell', 'metric', 'key', 'unit', 'paper'])
        measured = pd.DataFrame(values, columns=['row', 'value']).astype({'value': float})
        over_seeds = measured.groupby('row')['value'].agg(['mean', 'std', 'count']).reindex(frame.index)
        scale = frame['unit'].map({'%': 100.0}).fillna(1.0)
        frame['mean'] = (scale * over_seeds['mean']).round(6)
        frame['std'] = (scale * over_seeds['std']).round(6)
        frame['seeds'] = over_seeds['count'].fillna(0).astype(int)
        frame['paper'] = frame['paper'].astype(float)
        frame['difference'] = (frame['mean'] - frame['paper']).round(6).where(frame['unit'] == '%')
        return frame[['cell', 'metric', 'key', 'unit', 'mean', 'std', 'seeds', 'paper', 'difference']]

    def shown(self, cell: Cell, metric: str) -> List[Any]:
        """The rows of :attr:`statistics` for a cell and a metric; empty if the cell does not show the metric."""
        return self._by_cell.get((cell.label, metric), [])

    @cached_property
    def _by_cell(self) -> Dict[Tuple[str, str], List[Any]]:
        rows: Dict[Tuple[str, str], List[Any]] = {}
        for row in self.statistics.itertuples():
            rows.setdefault((row.cell, row.metric), []).append(row)
        return rows

    @property
    def missing_cells(self) -> int:
        """Number of cells that lack a value of any metric, of any seed, without or with NMS."""
        least = self.statistics.groupby('cell')['seeds'].min()
        return sum(int(least.get(cell.label, 0)) < max(1, len(cell.runs)) for cell in self.plan.cells if cell.keys)


def unit_of(key: str) -> str:
    """The unit in which a metric is shown: '%', 'ms' or '1/s'."""
    if not key.startswith(SPEED):
        return '%'
    return '1/s' if key.endswith('fps') else 'ms'


def is_speed(keys: Iterable[str]) -> bool:
    """Whether the keys of a metric are speeds, which are measured separately and are not fractions."""
    return any(key.startswith(SPEED) for key in keys)


def paper_numbers(cell: Cell) -> Dict[str, float]:
    """The paper's numbers of a cell by key, as printed."""
    numbers: Dict[str, float] = {}
    for metric, keys in cell.keys.items():
        numbers.update(zip(keys, printed_numbers(cell.paper.get(metric, '-'))))
    return numbers


def plan_names(runs: Path, profile: str) -> List[str]:
    """Names of the tables that have a plan: the paper's tables by number, then its figures, then all others."""
    return sorted((path.stem for path in (Path(runs) / profile / 'tables').glob('*.json')), key=_natural)


def no_plans(runs: Path, profile: str) -> UserError:
    """The error if no table has a plan."""
    return UserError(f'no plans in {Path(runs) / profile / "tables"}: run {command(runs, profile, "table3")} first')


def load_plan(runs: Path, profile: str, name: str) -> StoredPlan:
    """Read the plan of a table.

    Args:
        runs (Path): folder of the runs.
        profile (str): profile of the runs.
        name (str): name of the plan, or the path of the table's file, PATH/NAME.yaml.

    Raises:
        UserError: there is no such plan, or its file is broken; the message names the file and what to run.
    """
    asked, name = name, plan_of(name)
    path = Path(runs) / profile / 'tables' / f'{name}.json'
    known = plan_names(runs, profile)
    if name not in known:
        there = f' (there are {", ".join(known)})' if known else ''
        again = command(runs, profile, asked, typed=True)
        raise UserError(f'no plan {path}{there}: run {again} first')
    try:
        plan = read_stored(StoredPlan, path)
        _same(plan, table=name.partition('+')[0], profile=profile)
        return plan
    except ValueError as error:
        raise UserError(f'{path}: {error}: delete it and run {command(runs, profile, name)} again') from error


def plan_of(name: str) -> str:
    """Name of the plan of a table that is given by its name or, as to run.py, by its file."""
    return Path(name).stem if name.endswith('.yaml') else name


def load_results(runs: Path, profile: str, plan: StoredPlan) -> Results:
    """Read the results of a plan's runs. Missing files are skipped. Broken files are skipped with a warning, and a
    metric that a file lacks is named in one, as are speeds that cannot be compared."""
    results: Dict[str, Result] = {}
    speeds: Dict[str, Speed] = {}
    warnings: List[str] = []
    broken: List[str] = []
    for run, seed in plan.runs.items():
        folder, keys = Path(runs) / profile / run, plan.keys(run)
        fractions = [key for key in keys if not key.startswith(SPEED)]
        timed = [key for key in keys if key.startswith(SPEED)]
        expected = dict(run=run, profile=profile, seed=seed)
        _read(Result, folder / 'result.json', fractions, 1.0, expected, results, warnings, broken)
        if timed:
            _read(Speed, folder / SPEED_FILE, timed, None, dict(run=run), speeds, warnings, broken)
    for seed in sorted({plan.runs[run] for run in speeds}):
        if len({speed.sitting for run, speed in speeds.items() if plan.runs[run] == seed}) > 1:
            again = f'{command(runs, profile, plan.name, plan.overrides)} --seeds {seed}'
            warnings.append(f'{plan.name}: detectors of seed {seed} were not timed together: {again} does that')
    return Results(plan, results, speeds, broken + warnings, broken)


def load_epochs(runs: Path, profile: str, plan: StoredPlan) -> Tuple[Dict[str, List[Epoch]], List[str]]:
    """The epochs of a plan's runs by run id, and a line for each broken file. Runs without epochs are left out."""
    found: Dict[str, List[Epoch]] = {}
    warnings: List[str] = []
    for run in plan.runs:
        stored = read_or_warn(Epochs, Path(runs) / profile / run / EPOCHS, warnings)
        if stored is not None:
            found[run] = list(stored.epochs)
    return found, warnings


def read_or_warn(model: Type[S], path: Path, warnings: List[str]) -> Optional[S]:
    """The content of a stored file. None if it does not exist or is broken, which adds a line to the warnings."""
    try:
        return read_stored(model, path) if path.exists() else None
    except ValueError as error:
        warnings.append(f'{path}: {error}: left out')
        return None


def training_seconds(epochs: Iterable[Epoch]) -> float:
    """The time of a training without what a stalled machine adds; 0 if it is not known."""
    return wall_seconds([epoch.seconds for epoch in epochs if epoch.seconds is not None])


def load_image_groups(runs: Path, profile: str, results: Dict[str, Result]) -> Tuple[Dict[str, ImageGroups], List[str]]:
    """The metrics of finished runs without each group of test images, by run id, and a line for each broken file.

    A file whose metrics are not those of the run's result is broken. Runs without such a file are left out.
    """
    found: Dict[str, ImageGroups] = {}
    warnings = []
    for run, result in results.items():
        path = Path(runs) / profile / run / IMAGE_GROUPS
        if path.exists():
            try:
                stored = read_stored(ImageGroups, path)
                for key, value in stored.metrics.items():
                    expected = result.metrics.get(key)
                    if expected is None or abs(value - expected) > 1e-9:
                        raise ValueError(
                            f'has {called(key)} {value:.6f}, but the result has {expected}: of another run'
                        )
                found[run] = stored
            except ValueError as error:
                warnings.append(f'{path}: {error}: left out')
    return found, warnings


def over_seeds(
    stored: Dict[str, List[Epoch]], runs: Dict[int, str], value: Callable[[Epoch], Optional[float]]
) -> pd.DataFrame:
    """Statistics of a value of each epoch over the runs of a cell.

    Args:
        stored (dict): epochs by run id.
        runs (dict): the cell's runs by seed.
        value (callable): gives the value of an epoch, or None.

    Returns:
        DataFrame: ``mean``, ``min``, ``max`` and ``count`` by epoch, for the epochs at which a run has a value.
    """
    rows = [(each.epoch, value(each)) for run in dict.fromkeys(runs.values()) for each in stored.get(run, ())]
    frame = pd.DataFrame(rows, columns=['epoch', 'value']).astype({'value': float}).dropna()
    return frame.groupby('epoch')['value'].agg(['mean', 'min', 'max', 'count'])


def command(
    runs: Path,
    profile: str,
    name: str,
    overrides: Optional[Overrides] = None,
    at: Optional[Position] = None,
    seeds: Iterable[int] = (),
    into: str = '',
    typed: bool = False,
) -> str:
    """The command that trains a table and writes its plan into ``runs``, or into the folder ``into``.

    Without ``overrides``, those that the plan's name shows are taken. ``at`` is the position of the only cell to train.
    ``typed`` says that the name is the user's, who may have mistyped it. A profile of the user's own is named by its
    file in ``runs``. What the stored files do not say stands in capitals: PATH of a file, DIR of the user's data.
    """
    words = words_of(name, overrides, typed)
    words += [word for axis, value in (at or {}).items() for word in ('--only', f'{axis}={value}')]
    words += profile_words(Path(runs), profile, bool(into))
    words += ['--seeds', *map(str, seeds)] if seeds else []
    words += ['--runs', into] if into else [] if Path(runs).resolve() == RUNS else ['--runs', str(runs)]
    return shlex.join(words)


def words_of(name: str, overrides: Optional[Overrides] = None, typed: bool = False) -> List[str]:
    """The words of the command line that trains the plan of this name; see :func:`command`."""
    table, *settings = name.split('+')
    if overrides is not None:
        settings = [f'{key}={json.dumps(value, ensure_ascii=False)}' for key, value in overrides.items()]
    if not typed and table not in (*table_names(), *study_names()):
        table = f'PATH/{table}.yaml'  # a plan does not say where the file of a table of one's own lies
    return ['python', 'experiments/run.py', table, *(word for setting in settings for word in ('--set', setting))]


def _natural(name: str) -> Tuple[int, int, str]:
    [(kind, number)] = re.findall('^([a-z]*)([0-9]*)', name)
    return _KINDS.index(kind) if kind in _KINDS and number else len(_KINDS), int(number or 0), name


def _read(
    model: Type[S],
    path: Path,
    keys: List[str],
    most: Optional[float],
    expected: dict,
    into: Dict[str, S],
    warnings: List[str],
    broken: List[str],
) -> None:
    """Read a result whose ``keys`` are from 0 to ``most``. If it lacks one, add a line to the warnings; if it is
    broken, to ``broken``."""
    if not path.exists():
        return
    try:
        content: Any = read_stored(model, path)
        _same(content, **expected)
        lacking = [called(key) for key in keys if key not in content.metrics]
        for key in keys:
            if key in content.metrics:
                _check_metric(content.metrics[key], key, most)
        into[path.parent.name] = content
        if lacking:
            cure = 'correct the table file, or delete the run and train it anew if it is of an earlier version'
            warnings.append(f'{path}: metric {", ".join(lacking)} is missing: {cure}')
    except ValueError as error:
        broken.append(f'{path}: {error}: left out; delete it and run the table again')


def _check_metric(value: Optional[float], key: str, most: Optional[float]) -> None:
    most = None if key.endswith('/duplicates') else most  # counted per object
    if value is not None and (value < 0 or most is not None and value > most):
        what = '0 or more' if most is None else 'a fraction from 0 to 1'
        raise ValueError(f'metric {called(key)} must be {what}, not {short(value)}')


def _same(content: Any, **expected: Any) -> None:
    """Raise a ValueError unless ``content`` has the ``expected`` values."""
    for key, value in expected.items():
        if getattr(content, key) != value:
            raise ValueError(f'{key} is {short(getattr(content, key))}, but {value!r} belongs here')
