"""What the plan of a table holds: its axes, metrics, cells with their runs and the paper's numbers, and claims."""

from dataclasses import dataclass
from typing import Any, Dict, List, Tuple

from experiments.store.checks import called, has, same, short, texts

#: What :func:`read_plan` needs; ``setting`` and what each entry of ``claims`` holds are free.
KEYS = dict(
    table=str,
    title=str,
    caption=str,
    source=str,
    profile=str,
    overrides=dict,
    rows=list,
    columns=list,
    metrics=dict,
    cells=list,
    claims=list,
)
_AXIS = dict(axis=str, label=str, describe=list, values=list, labels=list, words=list)
_METRIC = dict(keys=list, at=dict)
_CELL = dict(at=dict, keys=dict, paper=dict, runs=dict)
Position = Dict[str, str]


@dataclass(frozen=True)
class Axis:
    """One axis of a table.

    ``label`` is shown for the axis ('' for none), ``labels`` for its ``values``. Where the axis is down the side,
    columns of words follow: ``describe`` are their headers, ``words`` gives for each value one text per header.
    """

    name: str
    label: str
    values: Tuple[str, ...]
    labels: Tuple[str, ...]
    describe: Tuple[str, ...]
    words: Tuple[Tuple[str, ...], ...]


@dataclass(frozen=True)
class Metric:
    """What a metric shows: keys of a result, in which ``{reading}`` stands for the reading of the cell, and the axis
    values it is limited to (axis name -> value)."""

    keys: Tuple[str, ...]
    at: Position


@dataclass(frozen=True)
class Cell:
    """One cell: its place (axis name -> value), the keys of a result that each metric shows there (a metric that is
    not among them is not shown), the paper's numbers (metric -> text) and its runs (seed -> run id)."""

    at: Position
    keys: Dict[str, Tuple[str, ...]]
    paper: Dict[str, str]
    runs: Dict[int, str]


@dataclass(frozen=True)
class Plan:
    """The plan of a table.

    ``name`` is its file's: the table's name, then ``+key=value`` for each override. ``setting`` is where the paper
    measured, '' where the file has no such key. ``claims`` are kept as stored.
    """

    name: str
    table: str
    title: str
    caption: str
    source: str
    setting: str
    profile: str
    overrides: Dict[str, Any]
    rows: Tuple[Axis, ...]
    columns: Tuple[Axis, ...]
    metrics: Dict[str, Metric]
    cells: Tuple[Cell, ...]
    claims: List[Any]

    @property
    def comparable(self) -> bool:
        """Whether what it measures can be set against the paper's numbers: on the paper's data, with its settings."""
        return self.profile == 'paper' and not self.overrides

    @property
    def runs(self) -> Dict[str, int]:
        """The distinct runs of the table: run id -> seed."""
        return {run: seed for cell in self.cells for seed, run in cell.runs.items()}

    def words(self, at: Position) -> List[str]:
        """What a cell is called, axis by axis: 'T^min 0.2', 'T^max 0.6'."""
        return [f'{axis.label} {_label(axis, at[axis.name])}'.strip() for axis in self.rows + self.columns]

    def keys(self, run: str) -> List[str]:
        """What the table shows of a run."""
        cells = [cell for cell in self.cells if run in cell.runs.values()]
        return list(dict.fromkeys(key for cell in cells for keys in cell.keys.values() for key in keys))


def read_plan(content: dict, profile: str, name: str) -> Plan:
    """A plan from the content of its file, which has ``KEYS``.

    Raises:
        ValueError: it is broken; the message names the key.
    """
    same(content, table=name.partition('+')[0], profile=profile)
    rows, columns = (
        tuple(_axis(axis, f'{side}[{i}]') for i, axis in enumerate(content[side])) for side in ('rows', 'columns')
    )
    axes = {axis.name: axis for axis in rows + columns}
    if not content['metrics']:
        raise ValueError('metrics is empty')
    metrics = {metric: _metric(body, axes, f'metrics.{called(metric)}') for metric, body in content['metrics'].items()}
    return Plan(
        name,
        **{key: content[key] for key in ('table', 'title', 'caption', 'source', 'profile', 'overrides', 'claims')},
        setting=str(content.get('setting', '')),
        rows=rows,
        columns=columns,
        metrics=metrics,
        cells=tuple(_cell(cell, axes, metrics, f'cells[{i}]') for i, cell in enumerate(content['cells'])),
    )


def _label(axis: Axis, value: str) -> str:
    """What is shown for a value of an axis, unless other values are shown alike."""
    label = axis.labels[axis.values.index(value)]
    return label if axis.labels.count(label) == 1 else value


def _axis(content: Any, where: str) -> Axis:
    has(content, _AXIS, where)
    values, labels = (texts(content[key], f'{where}.{key}') for key in ('values', 'labels'))
    describe = texts(content['describe'], f'{where}.describe', empty=True)
    words = tuple(texts(line, f'{where}.words[{i}]', empty=True) for i, line in enumerate(content['words']))
    if not len(values) == len(labels) == len(words):
        raise ValueError(f'{where} has {len(values)} values, {len(labels)} labels and {len(words)} words')
    if any(len(line) != len(describe) for line in words):
        raise ValueError(f'{where}.words must have {len(describe)} texts for each value, as describe has')
    return Axis(content['axis'], content['label'], values, labels, describe, words)


def _metric(content: Any, axes: Dict[str, Axis], where: str) -> Metric:
    has(content, _METRIC, where)
    if any(axis not in axes or value not in axes[axis].values for axis, value in content['at'].items()):
        raise ValueError(f'{where}.at is no place in the table: {short(content["at"])}')
    return Metric(texts(content['keys'], f'{where}.keys'), content['at'])


def _cell(content: Any, axes: Dict[str, Axis], metrics: Dict[str, Metric], where: str) -> Cell:
    has(content, _CELL, where)
    at, paper, runs = (content[key] for key in ('at', 'paper', 'runs'))
    if set(at) != set(axes) or any(value not in axes[axis].values for axis, value in at.items()):
        raise ValueError(f'{where}.at is no place in the table: {short(at)}')
    if not all(isinstance(text, str) for text in [*paper.values(), *runs.values()]):
        raise ValueError(f'{where}: what paper and runs give must be texts, not {short([paper, runs])}')
    for run in runs.values():
        if not run.isalnum():  # it is the name of a folder, and must not lead elsewhere
            raise ValueError(f'{where}.runs has {short(run)}, which is no id of a run')
    keys = {metric: texts(names, f'{where}.keys.{called(metric)}') for metric, names in content['keys'].items()}
    for metric, names in keys.items():
        if metric not in metrics or len(names) != len(metrics[metric].keys):
            raise ValueError(f'{where}.keys.{called(metric)} does not fit what metrics gives')
    return Cell(at, keys, paper, {int(seed): run for seed, run in runs.items()})
