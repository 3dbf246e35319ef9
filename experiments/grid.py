"""Table files: which cells a table of the paper has, what each overrides, and what the paper says it measured.

A table file is YAML::

    title: "T^max and T^min"
    caption: text under the table
    source: where in the paper it stands
    setting: what the paper measured it on
    set: {dotted.key: value}            # overrides of every cell, optional
    axes:                               # cells are the product of the axes
      t_max:
        label: "T^max"
        key: model.bbox_head.degrees.t_max   # short form: each value is set at this key
        values: [0.7, 0.6]
      method:
        label: Method
        values:                              # long form: named values with any overrides
          - {name: one-to-one, set: {model.bbox_head.selection.k: 0}}
    rows: [method]                      # axes down the side, outermost first
    columns: [t_max]                    # axes across
    metrics: {AP: [without_nms/AP, with_nms/AP]}   # what a cell shows, joined by '/'
    paper: {AP: [[38.3/39.5, 38.0/39.5]]}          # the paper's numbers, row by row; '-' where it has none
"""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Tuple

import yaml

from experiments.errors import UserError

FOLDER = Path(__file__).parent / 'tables'
Overrides = Dict[str, Any]


@dataclass(frozen=True)
class Axis:
    """One axis of a table: its label and, for each value's name, the overrides that the value stands for."""

    name: str
    label: str
    values: Dict[str, Overrides]


@dataclass(frozen=True)
class Cell:
    """One cell: where it stands (axis name -> value name), its overrides and the paper's numbers (metric -> text)."""

    at: Dict[str, str]
    overrides: Overrides
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
    metrics: Dict[str, Tuple[str, ...]]
    cells: Tuple[Cell, ...]


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
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8'))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        place = getattr(error, 'problem_mark', None)
        where = f', line {place.line + 1}' if place else ''
        raise UserError(f'{path}{where}: not valid YAML: {getattr(error, "problem", error)}') from error
    return _Reader(path).table(content)


def select(table: Table, only: Dict[str, str]) -> List[Cell]:
    """The cells that stand at the given values (axis name -> value name).

    Raises:
        UserError: the table has no such axis or value.
    """
    for axis, value in only.items():
        if axis not in table.axes:
            raise UserError(f'--only {axis}={value}: {table.name} has no axis {axis!r}; it has {", ".join(table.axes)}')
        if value not in table.axes[axis].values:
            known = ', '.join(table.axes[axis].values)
            raise UserError(
                f'--only {axis}={value}: axis {axis} of {table.name} has no value {value!r}; it has {known}'
            )
    return [cell for cell in table.cells if all(cell.at[axis] == value for axis, value in only.items())]


class _Reader:
    """Turns the YAML of one file into a :class:`Table`; every complaint names the file and the key."""

    KEYS = {'title', 'caption', 'source', 'setting', 'set', 'axes', 'rows', 'columns', 'metrics', 'paper'}

    def __init__(self, path: Path) -> None:
        self.path = path

    def table(self, content: Any) -> Table:
        self._mapping(content, 'the file', self.KEYS, required={'title', 'axes', 'rows', 'columns', 'metrics'})
        axes = {name: self._axis(name, body) for name, body in self._mapping(content['axes'], 'axes').items()}
        rows, columns = (tuple(self._list(content[key], key)) for key in ('rows', 'columns'))
        if sorted(rows + columns) != sorted(axes):
            self._fail('rows', f'rows and columns must name each axis once ({", ".join(axes)})')
        metrics = {
            name: tuple(self._list(keys, f'metrics.{name}'))
            for name, keys in self._mapping(content['metrics'], 'metrics').items()
        }
        shared = self._mapping(content.get('set', {}), 'set')
        paper = self._paper(content.get('paper', {}), metrics, [axes[a] for a in rows], [axes[a] for a in columns])
        return Table(
            name=self.path.stem,
            title=str(content['title']),
            caption=str(content.get('caption', '')),
            source=str(content.get('source', '')),
            setting=str(content.get('setting', '')),
            axes=axes,
            rows=rows,
            columns=columns,
            metrics=metrics,
            cells=tuple(self._cell(at, axes, shared, paper) for at in _positions(rows + columns, axes)),
        )

    def _axis(self, name: str, body: Any) -> Axis:
        where = f'axes.{name}'
        self._mapping(body, where, {'label', 'key', 'values'}, required={'values'})
        values = {}
        for value in self._list(body['values'], f'{where}.values'):
            if 'key' in body:
                if isinstance(value, (dict, list)):
                    self._fail(f'{where}.values', f'{value!r} must be one plain value, as the axis has a key')
                label, overrides = str(value), {body['key']: value}
            else:
                self._mapping(value, f'{where}.values', {'name', 'set'}, required={'name'})
                label = str(value['name'])
                overrides = self._mapping(value.get('set', {}), f'{where}.values.{label}.set')
            if label in values:
                self._fail(f'{where}.values', f'{label!r} is there twice')
            values[label] = overrides
        return Axis(name, str(body.get('label', name)), values)

    def _cell(self, at: Dict[str, str], axes: Dict[str, Axis], shared: Overrides, paper: dict) -> Cell:
        overrides = dict(shared)
        for axis, value in at.items():
            overrides.update(axes[axis].values[value])
        return Cell(at, overrides, paper.get(tuple(at.values()), {}))

    def _paper(self, content: Any, metrics: dict, rows: List[Axis], columns: List[Axis]) -> Dict[tuple, Dict[str, str]]:
        """The paper's numbers by position: {value names of rows and columns: {metric: text}}."""
        down = list(itertools.product(*(axis.values for axis in rows)))
        across = list(itertools.product(*(axis.values for axis in columns)))
        numbers: Dict[tuple, Dict[str, str]] = {}
        for metric, lines in self._mapping(content, 'paper', set(metrics)).items():
            where = f'paper.{metric}'
            if len(self._list(lines, where)) != len(down):
                self._fail(where, f'{len(lines)} rows, but the table has {len(down)}')
            for row, line in zip(down, lines):
                if len(self._list(line, where)) != len(across):
                    self._fail(where, f'row {line!r} has {len(line)} numbers, but the table has {len(across)} columns')
                for column, text in zip(across, line):
                    numbers.setdefault(row + column, {})[metric] = self._number(str(text), where, metrics[metric])
        return numbers

    def _number(self, text: str, where: str, keys: tuple) -> str:
        parts = text.split('/')
        if text != '-' and (len(parts) != len(keys) or not all(_is_number(part) for part in parts)):
            self._fail(where, f"{text!r} must be {len(keys)} number(s) joined by '/', or '-'")
        return text

    def _mapping(self, value: Any, where: str, known: set = frozenset(), required: set = frozenset()) -> dict:
        if not isinstance(value, dict):
            self._fail(where, f'must be a mapping, not {value!r}')
        for key in value:
            if not isinstance(key, str):
                self._fail(where, f'key {key!r} must be text')
            if known and key not in known:
                self._fail(where, f'unknown key {key!r}; known keys: {", ".join(sorted(known))}')
        for key in sorted(required - set(value)):
            self._fail(where, f'key {key!r} is missing')
        return value

    def _list(self, value: Any, where: str) -> list:
        if not isinstance(value, list) or not value:
            self._fail(where, f'must be a list with something in it, not {value!r}')
        return value

    def _fail(self, where: str, what: str) -> None:
        raise UserError(f'{self.path}: {where}: {what}')


def _positions(order: Tuple[str, ...], axes: Dict[str, Axis]) -> List[Dict[str, str]]:
    return [dict(zip(order, names)) for names in itertools.product(*(axes[name].values for name in order))]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
