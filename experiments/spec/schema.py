"""Table files: which cells a table of the paper has, what each overrides, and what the paper says it measured.

A table file is YAML::

    title: "T^max and T^min"
    caption: text under the table
    source: where in the paper it stands
    setting: what the paper measured it on
    use: [crowdhuman]                   # variants of every cell (experiments/variants), optional
    set: {dotted.key: value}            # overrides of every cell, optional
    axes:                               # cells are the product of the axes
      t_max:
        label: "T^max"
        key: model.bbox_head.degrees.t_max   # short form: each value is set at this key
        values: [0.7, 0.6]
      method:
        label: Method
        describe: [LA, NMS]                  # columns of words beside the values, optional
        values:                              # long form: named values; each key but the name is optional
          - name: fcos-nms
            label: FCOS                      # what is shown, where it differs from the name
            describe: [o2m, "✓"]
            reading: with_nms                # what {reading} stands for in metrics; without_nms if not given
            use: [fcos]                      # variants
            set: {model.bbox_head.selection.k: 0}
    rows: [method]                      # axes down the side, outermost first; may be empty
    columns: [t_max]                    # axes across; may be empty
    metrics:
      AP: [without_nms/AP, with_nms/AP]      # what a cell shows, joined by '/'
      AR: ['{reading}/AR']
      FPS: {keys: ['speed/{reading}/fps'], at: {t_max: 0.7}}   # a column only where the axes stand so
    paper: {AP: [[38.3/39.5, 38.0/39.5]]}    # the paper's numbers, row by row; '-' where it has none
    claims: []                               # what the paper says of them: experiments/spec/claims.py
"""

import itertools
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterable, List, Sequence, Set, Tuple

from experiments.spec.claims import Claim, read_claims
from experiments.spec.yaml_file import YamlFile, read_yaml
from experiments.store.errors import UserError

FOLDER = Path(__file__).parents[1] / 'tables'
READINGS = ('without_nms', 'with_nms')
Overrides = Dict[str, Any]
Position = Dict[str, str]


@dataclass(frozen=True)
class Value:
    """One value of an axis: what stands for it in a table, and what it changes."""

    label: str
    describe: Tuple[str, ...] = ()
    reading: str = READINGS[0]
    use: Tuple[str, ...] = ()
    overrides: Overrides = field(default_factory=dict)


@dataclass(frozen=True)
class Axis:
    """One axis of a table: its label, the columns of words beside its values, and its values by name."""

    name: str
    label: str
    describe: Tuple[str, ...]
    values: Dict[str, Value]


@dataclass(frozen=True)
class Metric:
    """What a metric of a table shows: keys of a result, and the axis values it is limited to."""

    keys: Tuple[str, ...]
    at: Position

    def shown_at(self, at: Position) -> bool:
        """Whether it is shown in the cell that stands there."""
        return all(at.get(axis) == value for axis, value in self.at.items())


@dataclass(frozen=True)
class Cell:
    """One cell: where it stands (axis name -> value name), what it changes, the keys that it shows of a result and the
    paper's numbers (both by metric)."""

    at: Position
    use: Tuple[str, ...]
    overrides: Overrides
    keys: Dict[str, Tuple[str, ...]]
    paper: Dict[str, str]

    @property
    def label(self) -> str:
        return ' '.join(f'{axis}={value}' for axis, value in self.at.items())


@dataclass(frozen=True)
class Table:
    """A table file, read and checked."""

    name: str
    title: str
    caption: str
    source: str
    setting: str
    axes: Dict[str, Axis]
    rows: Tuple[str, ...]
    columns: Tuple[str, ...]
    metrics: Dict[str, Metric]
    cells: Tuple[Cell, ...]
    claims: Tuple[Claim, ...]


def table_names(folder: Path = FOLDER) -> List[str]:
    """Names of all table files, sorted."""
    return sorted(path.stem for path in folder.glob('*.yaml'))


def load_table(name: str, folder: Path = FOLDER) -> Table:
    """Read a table by its name, or from a path that ends in .yaml.

    Raises:
        UserError: there is no such table, or its file is broken; the message names the file and the key.
    """
    path = Path(name) if name.endswith('.yaml') else folder / f'{name}.yaml'
    if not path.is_file():
        raise UserError(f'no table {name!r}: there is no file {path}. Known tables: {", ".join(table_names(folder))}')
    return _Reader(path).table(read_yaml(path))


def select(table: Table, only: Iterable[Tuple[str, str]]) -> List[Cell]:
    """The cells that stand at the given values, as pairs of an axis and a value. Several of one axis are alternatives.

    Raises:
        UserError: the table has no such axis or value.
    """
    wanted: Dict[str, Set[str]] = {}
    for axis, value in only:
        if axis not in table.axes:
            raise UserError(f'--only {axis}={value}: {table.name} has no axis {axis!r}; it has {", ".join(table.axes)}')
        if value not in table.axes[axis].values:
            known = ', '.join(table.axes[axis].values)
            raise UserError(
                f'--only {axis}={value}: axis {axis} of {table.name} has no value {value!r}; it has {known}'
            )
        wanted.setdefault(axis, set()).add(value)
    return [cell for cell in table.cells if all(cell.at[axis] in values for axis, values in wanted.items())]


class _Reader(YamlFile):
    """Turns the YAML of one file into a :class:`Table`; every complaint names the file and the key."""

    KEYS = {'title', 'caption', 'source', 'setting', 'use', 'set', 'axes', 'rows', 'columns', 'metrics', 'paper'}
    VALUE = {'name', 'label', 'describe', 'reading', 'use', 'set'}

    def table(self, content: Any) -> Table:
        self.mapping(content, 'the file', self.KEYS | {'claims'}, {'title', 'axes', 'rows', 'columns', 'metrics'})
        axes = {name: self._axis(name, body) for name, body in self.mapping(content['axes'], 'axes').items()}
        rows, columns = (self.texts(content[key], key) for key in ('rows', 'columns'))
        if not axes or sorted(rows + columns) != sorted(axes):
            self.fail('rows', f'rows and columns must name each axis once ({", ".join(axes)})')
        metrics = {
            name: self._metric(body, f'metrics.{name}', axes)
            for name, body in self.mapping(content['metrics'], 'metrics').items()
        }
        shared = self.texts(content.get('use', []), 'use'), self.mapping(content.get('set', {}), 'set')
        paper = self._paper(content.get('paper', {}), metrics, [axes[a] for a in rows], [axes[a] for a in columns])
        cells = tuple(self._cell(at, axes, shared, metrics, paper) for at in _positions(rows + columns, axes))
        known = {key.format(reading=reading) for m in metrics.values() for key in m.keys for reading in READINGS}
        values = {name: list(axis.values) for name, axis in axes.items()}
        return Table(
            name=self.path.stem,
            **{key: str(content.get(key, '')) for key in ('title', 'caption', 'source', 'setting')},
            axes=axes,
            rows=rows,
            columns=columns,
            metrics=metrics,
            cells=cells,
            claims=read_claims(self, content.get('claims', []), values, known),
        )

    def _axis(self, name: str, body: Any) -> Axis:
        where = f'axes.{name}'
        self.mapping(body, where, {'label', 'describe', 'key', 'values'}, {'values'})
        describe = self.texts(body.get('describe', []), f'{where}.describe')
        if not isinstance(body.get('key', ''), str):
            self.fail(f'{where}.key', f'must be text, not {body["key"]!r}')
        values: Dict[str, Value] = {}
        for content in self.list(body['values'], f'{where}.values'):
            key, value = self._value(content, f'{where}.values', body.get('key'))
            if key in values:
                self.fail(f'{where}.values', f'{key!r} is there twice')
            if len(value.describe) != len(describe):
                self.fail(f'{where}.values.{key}.describe', f'must have {len(describe)} texts, as the axis describes')
            values[key] = value
        return Axis(name, str(body.get('label', name)), describe, values)

    def _value(self, content: Any, where: str, key: Any) -> Tuple[str, Value]:
        if key is not None and not isinstance(content, dict):
            if isinstance(content, list):
                self.fail(where, f'{content!r} must be one plain value, as the axis has a key')
            return str(content), Value(str(content), overrides={key: content})
        self.mapping(content, where, self.VALUE, {'name'})
        name = str(content['name'])
        where = f'{where}.{name}'
        reading = content.get('reading', READINGS[0])
        if reading not in READINGS:
            self.fail(f'{where}.reading', f'{reading!r} must be {" or ".join(READINGS)}')
        return name, Value(
            str(content.get('label', name)),
            self.texts(content.get('describe', []), f'{where}.describe'),
            reading,
            self.texts(content.get('use', []), f'{where}.use'),
            self.mapping(content.get('set', {}), f'{where}.set'),
        )

    def _metric(self, body: Any, where: str, axes: Dict[str, Axis]) -> Metric:
        if not isinstance(body, dict):
            body = {'keys': body}
        self.mapping(body, where, {'keys', 'at'}, {'keys'})
        at = {
            axis: str(value) for axis, value in self.mapping(body.get('at', {}), f'{where}.at', known=set(axes)).items()
        }
        for axis, value in at.items():
            if value not in axes[axis].values:
                self.fail(f'{where}.at', f'axis {axis} has no value {value!r}')
        keys = self.texts(self.list(body['keys'], where), where)
        for key in keys:
            if set(key.replace('{reading}', '')) & set('{}'):
                self.fail(where, f'{key!r}: only {{reading}} may stand in braces')
        return Metric(keys, at)

    def _cell(self, at: Position, axes: dict, shared: tuple, metrics: Dict[str, Metric], paper: dict) -> Cell:
        use, overrides = list(shared[0]), dict(shared[1])
        readings = [READINGS[0]]
        for axis, name in at.items():
            value = axes[axis].values[name]
            use += value.use
            overrides.update(value.overrides)
            readings.append(value.reading)
        reading = max(readings, key=READINGS.index)
        keys = {
            name: tuple(key.format(reading=reading) for key in metric.keys)
            for name, metric in metrics.items()
            if metric.shown_at(at)
        }
        return Cell(at, tuple(use), overrides, keys, paper.get(tuple(at.values()), {}))

    def _paper(self, content: Any, metrics: Dict[str, Metric], rows: List[Axis], columns: List[Axis]) -> dict:
        """The paper's numbers by position: {value names of rows and columns: {metric: text}}."""
        down = _positions([axis.name for axis in rows], {axis.name: axis for axis in rows})
        across = _positions([axis.name for axis in columns], {axis.name: axis for axis in columns})
        numbers: Dict[tuple, Dict[str, str]] = {}
        for name, lines in self.mapping(content, 'paper', set(metrics)).items():
            where, metric = f'paper.{name}', metrics[name]
            shown = [at for at in across if all(metric.at[axis] == at[axis] for axis in set(metric.at) & set(at))]
            if len(self.list(lines, where)) != len(down):
                self.fail(where, f'{len(lines)} rows, but the table has {len(down)}')
            for row, line in zip(down, lines):
                if len(self.list(line, where)) != len(shown):
                    self.fail(where, f'row {line!r} has {len(line)} numbers, but the table has {len(shown)} columns')
                for column, text in zip(shown, line):
                    place = tuple({**row, **column}.values())
                    numbers.setdefault(place, {})[name] = self._number(str(text), where, metric.keys)
        return numbers

    def _number(self, text: str, where: str, keys: tuple) -> str:
        parts = text.split('/')
        if text != '-' and (len(parts) != len(keys) or not all(_is_number(part) for part in parts)):
            self.fail(where, f"{text!r} must be {len(keys)} number(s) joined by '/', or '-'")
        return text


def _positions(order: Sequence[str], axes: Dict[str, Axis]) -> List[Position]:
    return [dict(zip(order, names)) for names in itertools.product(*(axes[name].values for name in order))]


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
