"""Table files: the short YAML form of a table, and how it becomes a :class:`Table`.

Tables of the paper are in ``experiments/tables``. Studies beyond the paper have the same form, are in
``experiments/studies``, and each asks a ``question``. A table file is YAML::

    title: "T^max and T^min"
    question: what a study asks         # in studies only
    caption: text under the table
    source: where in the paper it stands
    setting: the setting in which the paper measured it
    use: [crowdhuman]                   # variants of every cell (experiments/variants), optional
    set: {dotted.key: value}            # overrides of every cell, optional
    axes:                               # cells are the product of the axes
      t_max:
        label: "T^max"
        key: model.bbox_head.degrees.t_max   # short form: each value is set at this key
        values: [0.7, 0.6]
      method:
        label: Method
        describe: [LA, NMS]                  # headers of description columns, optional
        values:                              # long form: named values; each key but the name is optional
          - name: fcos-nms
            label: FCOS                      # the text in the table, if it differs from the name
            describe: [o2m, "✓"]
            reading: with_nms                # the value of {reading} in metrics; default without_nms
            use: [fcos]                      # variants
            set: {model.bbox_head.selection.k: 0}
    rows: [method]                      # axes down the side, outermost first; may be empty
    columns: [t_max]                    # axes across; may be empty
    metrics:
      AP: [without_nms/AP, with_nms/AP]      # the values of a cell, joined by '/'
      AR: ['{reading}/AR']
      FPS: {keys: ['speed/{reading}/fps'], at: {t_max: 0.7}}   # shown only for these axis values; a list for several
    paper: {AP: [[38.3/39.5, 38.0/39.5]]}    # the paper's numbers, row by row; '-' where it has none
    claims:                                  # the paper's claims about them; analysis judges them
      - id: t-min-narrows-the-gap
        statement: the smaller T^min, the smaller the gap between without and with NMS   # in a few words
        quote: "a small T^min is helpful to narrow down the performance gap"             # the paper's sentence
        where: Table 3
        compare:
          - left: {key: with_nms/AP, minus: without_nms/AP, at: {t_min: 0.1}}
            is: less                         # or greater
            right: {key: with_nms/AP, minus: without_nms/AP, at: {t_min: 0.4}}
            for_each: [t_max]                # once for each value of these axes, the same on both sides
            size: [1.0, 0.8]                 # by how much, if the sentence says it: a number per comparison
            more_than:                       # the difference is larger than this one of any table, optional
              table: table5
              left: {key: without_nms/AP, at: {method: FCOS, schedule: 1x}}
              is: less
              right: {key: without_nms/AP, at: {method: POTO, schedule: 1x}}
        best: true                           # the left side is claimed to be better than all right sides
        control: true                        # at least one left side is claimed to be better than the one right side
        threshold:                           # the suite's own reading of the words, judged apart
          statement: less than half of it
          compare: [...]

A quantity is a stored metric (``key``) of one cell (``at``: one value of each axis that ``for_each`` does not name).
Optionally, another metric of the same cell is subtracted (``minus``), the difference is multiplied (``times``), and
points are added (``plus``). So "within 0.9 AP" is two comparisons, with ``plus: -0.9`` and ``plus: 0.9``. It is taken
after the epoch ``epoch`` (counted from 1, default the last). ``at: {k: others}`` on the right makes one comparison with
each value of the axis except the left side's. A claim holds when all of its comparisons hold, and with ``control``
when one of them does. The difference that the
paper prints is ``size``, or else that of its numbers in the table. ``size`` is positive, in points, and of speeds in
percent.
"""

import itertools
import re
from pathlib import Path
from typing import Annotated, Any, Dict, Iterable, List, Literal, Optional, Sequence, Set, Tuple

from pydantic import (
    BeforeValidator,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
    field_validator,
    model_validator,
)

from experiments.spec.schema import (
    READINGS,
    Axis,
    Cell,
    Claim,
    Comparison,
    Metric,
    OtherComparison,
    Overrides,
    Position,
    Quantity,
    Table,
    Threshold,
    Value,
    one_or_several,
    printed_numbers,
)
from experiments.store.errors import UserError
from experiments.store.files import read_yaml
from experiments.store.model import Model, Number, Text, Texts, called, explain, naming, short

FOLDER = Path(__file__).parents[1] / 'tables'
STUDIES = Path(__file__).parents[1] / 'studies'
OTHERS = 'others'
_NAME = re.compile(r'\w[\w .-]*')
_COPIED = ('title', 'question', 'caption', 'source', 'setting', 'rows', 'columns')


class ValueEntry(Model):
    """A value of an axis in a table file: :class:`Value` with its name. The name is also the default label."""

    name: Text
    label: Optional[Text] = None
    describe: Texts = ()
    reading: Literal['without_nms', 'with_nms'] = 'without_nms'
    use: Texts = ()
    overrides: Overrides = Field({}, alias='set')

    def value(self) -> Value:
        content = self.model_dump(exclude={'name'})
        return Value(**{**content, 'label': self.name if self.label is None else self.label})


class AxisEntry(Model):
    """An axis in a table file: named values, or plain values that are set at ``key``."""

    label: Optional[Text] = None
    describe: Texts = ()
    key: Optional[StrictStr] = None
    values: List[ValueEntry] = Field(min_length=1)

    @model_validator(mode='before')
    @classmethod
    def _named(cls, content: Any) -> Any:
        if not isinstance(content, dict) or not isinstance(content.get('values'), list):
            return content
        if not isinstance(content.get('key'), str):
            return content
        for value in content['values']:
            if isinstance(value, list):
                raise ValueError(f'values: {short(value)} must be one plain value, as the axis has a key')
        short_form = [
            value if isinstance(value, dict) else dict(name=str(value), set={content['key']: value})
            for value in content['values']
        ]
        return {**content, 'values': short_form}

    def axis(self, name: str) -> Axis:
        values: Dict[str, Value] = {}
        for entry in self.values:
            if entry.name == OTHERS:
                raise ValueError(f'axes.{called(name)}.values: {OTHERS!r} means all other values in claims: rename it')
            if entry.name in values:
                raise ValueError(f'axes.{called(name)}.values: {entry.name!r} is there twice')
            if len(entry.describe) != len(self.describe):
                where = f'axes.{called(name)}.values.{called(entry.name)}.describe'
                raise ValueError(f'{where}: must have {len(self.describe)} texts, as the axis describes')
            values[entry.name] = entry.value()
        return Axis(name=name, label=name if self.label is None else self.label, describe=self.describe, values=values)


class MetricEntry(Model):
    """A metric in a table file: a list of keys, or a mapping that limits them to some axis values."""

    keys: Texts = Field(min_length=1)
    at: Dict[StrictStr, Annotated[Tuple[Text, ...], BeforeValidator(one_or_several)]] = {}

    @model_validator(mode='before')
    @classmethod
    def _with_keys(cls, content: Any) -> Any:
        return content if isinstance(content, dict) else {'keys': content}

    def metric(self, where: str, axes: Dict[str, Axis]) -> Metric:
        for axis, values in self.at.items():
            if axis not in axes:
                raise ValueError(f'{where}.at: unknown key {axis!r}; known keys: {", ".join(axes)}')
            for value in values:
                if value not in axes[axis].values:
                    raise ValueError(f'{where}.at: axis {axis} has no value {value!r}')
        for key in self.keys:
            if set(key.replace('{reading}', '')) & set('{}'):
                raise ValueError(f'{where}: {key!r}: only {{reading}} may stand in braces')
        return Metric(keys=self.keys, at=self.at)


class QuantityEntry(Model):
    """One side of a comparison in a table file, see the top of this module."""

    key: StrictStr
    minus: Optional[StrictStr] = None
    times: Number = 1.0
    plus: Number = 0.0
    epoch: Optional[StrictInt] = Field(None, ge=1)
    at: Dict[StrictStr, Text] = {}


class OtherEntry(Model):
    """A comparison of cells of another table. Each side names a value of all of its axes."""

    table: Text
    left: QuantityEntry
    is_: Literal['less', 'greater'] = Field(alias='is')
    right: QuantityEntry

    def comparison(self) -> OtherComparison:
        left, right = (Quantity(**dict(side)) for side in (self.left, self.right))
        return OtherComparison(table=self.table, left=left, relation=self.is_, right=right)


class ComparisonEntry(Model):
    """A comparison in a table file. It may expand to several."""

    left: QuantityEntry
    is_: Literal['less', 'greater'] = Field(alias='is')
    right: QuantityEntry
    for_each: Texts = ()
    size: Tuple[Annotated[Number, Field(gt=0)], ...] = ()
    more_than: Optional[OtherEntry] = None

    @field_validator('size', mode='before')
    @classmethod
    def _each(cls, size: Any) -> Any:
        return size if isinstance(size, list) else [size]


class ThresholdEntry(Model):
    """The suite's own threshold in a table file."""

    statement: StrictStr
    compare: List[ComparisonEntry] = Field(min_length=1)


class ClaimEntry(Model):
    """A claim in a table file. Without ``compare`` it has a threshold alone."""

    id: StrictStr
    statement: StrictStr
    quote: StrictStr = ''
    where: StrictStr
    compare: Optional[Annotated[List[ComparisonEntry], Field(min_length=1)]] = None
    best: StrictBool = False
    control: StrictBool = False
    threshold: Optional[ThresholdEntry] = None


class TableFile(Model):
    """The content of a table file."""

    title: Text
    question: Text = ''
    caption: Text = ''
    source: Text = ''
    setting: Text = ''
    use: Texts = ()
    overrides: Overrides = Field({}, alias='set')
    axes: Dict[StrictStr, AxisEntry]
    rows: Texts
    columns: Texts
    metrics: Dict[StrictStr, MetricEntry] = Field(min_length=1)
    paper: Dict[StrictStr, List[List[Text]]] = {}
    claims: List[ClaimEntry] = []

    def table(self, name: str) -> Table:
        """The table that it describes.

        Raises:
            ValueError: its parts do not fit together; the message names the key.
        """
        for i, claim in enumerate(self.claims):
            if not (claim.quote or self.question):  # a claim of the paper
                raise ValueError(f"claims[{i}]: key 'quote' is missing")
        axes = {axis: entry.axis(axis) for axis, entry in self.axes.items()}
        if not axes or sorted(self.rows + self.columns) != sorted(axes):
            raise ValueError(f'rows: rows and columns must name each axis once ({", ".join(map(called, axes))})')
        metrics = {key: entry.metric(f'metrics.{called(key)}', axes) for key, entry in self.metrics.items()}
        paper = self._paper(metrics, axes)
        return Table(
            name=name,
            **{key: getattr(self, key) for key in _COPIED},
            axes=axes,
            metrics=metrics,
            cells=tuple(self._cell(at, axes, metrics, paper) for at in _positions(self.rows + self.columns, axes)),
            claims=_Claims(axes, metrics).read(self.claims),
        )

    def _cell(self, at: Position, axes: Dict[str, Axis], metrics: Dict[str, Metric], paper: dict) -> Cell:
        values = [axes[axis].values[name] for axis, name in at.items()]
        reading = max((value.reading for value in values), key=READINGS.index)
        overrides = dict(self.overrides)
        for value in values:
            overrides.update(value.overrides)
        return Cell(
            at=at,
            use=(*self.use, *(variant for value in values for variant in value.use)),
            overrides=overrides,
            keys={
                name: tuple(key.format(reading=reading) for key in metric.keys)
                for name, metric in metrics.items()
                if metric.shown_at(at)
            },
            paper=paper.get(tuple(at.values()), {}),
        )

    def _paper(self, metrics: Dict[str, Metric], axes: Dict[str, Axis]) -> Dict[tuple, Dict[str, str]]:
        """The paper's numbers by position: {value names of rows and columns: {metric: text}}."""
        down, across = _positions(self.rows, axes), _positions(self.columns, axes)
        numbers: Dict[tuple, Dict[str, str]] = {}
        for name, lines in self.paper.items():
            where = f'paper.{called(name)}'
            if name not in metrics:
                raise ValueError(f'paper: unknown key {short(name)}; known keys: {", ".join(map(called, metrics))}')
            metric = metrics[name]
            shown = [at for at in across if all(at[axis] in metric.at[axis] for axis in {*metric.at} & {*at})]
            if len(lines) != len(down):
                raise ValueError(f'{where}: {len(lines)} rows, but the table has {len(down)}')
            for row, line in zip(down, lines):
                if len(line) != len(shown):
                    row_text = f'{where}: row {line!r:.100}'
                    raise ValueError(f'{row_text} has {len(line)} numbers, but the table has {len(shown)} columns')
                for column, text in zip(shown, line):
                    place = tuple({**row, **column}.values())
                    numbers.setdefault(place, {})[name] = _number(text, where, metric.keys)
        return numbers


class _Claims:
    """Turns claims of a table file into comparisons of cells."""

    def __init__(self, axes: Dict[str, Axis], metrics: Dict[str, Metric]) -> None:
        self.axes = {name: list(axis.values) for name, axis in axes.items()}
        self.keys: Set[str] = {
            key.format(reading=reading) for metric in metrics.values() for key in metric.keys for reading in READINGS
        }

    def read(self, entries: Sequence[ClaimEntry]) -> Tuple[Claim, ...]:
        ids = [entry.id for entry in entries]
        for claim_id in ids:
            if ids.count(claim_id) > 1:
                raise ValueError(f'claims: id {short(claim_id)} is there twice')
        return tuple(self._claim(entry, f'claims[{i}]') for i, entry in enumerate(entries))

    def _claim(self, entry: ClaimEntry, where: str) -> Claim:
        own, threshold = entry.threshold, None
        if own is not None:
            comparisons = self._all(own.compare, f'{where}.threshold')
            threshold = Threshold(statement=own.statement, comparisons=comparisons)
        comparisons = self._all(entry.compare or [], where)
        try:
            return Claim(
                **entry.model_dump(exclude={'compare', 'threshold'}), comparisons=comparisons, threshold=threshold
            )
        except ValidationError as error:
            raise ValueError(f'{where}.{explain(error).removeprefix("the file: ")}') from error

    def _all(self, entries: Sequence[ComparisonEntry], where: str) -> Tuple[Comparison, ...]:
        comparisons: List[Comparison] = []
        for i, compared in enumerate(entries):
            comparisons += self._comparisons(compared, f'{where}.compare[{i}]')
        if entries and not comparisons:
            raise ValueError(f'{where}.compare: compares nothing: the axis has no other value')
        return tuple(comparisons)

    def _comparisons(self, entry: ComparisonEntry, where: str) -> List[Comparison]:
        for axis in entry.for_each:
            if axis not in self.axes:
                known = ', '.join(map(called, self.axes))
                raise ValueError(f'{where}.for_each: there is no axis {short(axis)}; there are {known}')
        sides = [
            (left, right)
            for names in itertools.product(*(self.axes[axis] for axis in entry.for_each))
            for left in self._quantities(entry.left, f'{where}.left', dict(zip(entry.for_each, names)), None)
            for right in self._quantities(entry.right, f'{where}.right', dict(zip(entry.for_each, names)), left)
        ]
        sizes: Sequence[Optional[float]] = entry.size or [None] * len(sides)
        if len(sizes) != len(sides):
            raise ValueError(f'{where}.size: has {len(sizes)} numbers, but there are {len(sides)} comparisons')
        other = entry.more_than.comparison() if entry.more_than else None
        try:
            return [
                Comparison(left=left, relation=entry.is_, right=right, size=size, more_than=other)
                for (left, right), size in zip(sides, sizes)
            ]
        except ValidationError as error:
            raise ValueError(f'{where}.{explain(error).removeprefix("the file: ")}') from error

    def _quantities(
        self, entry: QuantityEntry, where: str, fixed: Position, left: Optional[Quantity]
    ) -> List[Quantity]:
        for name in ('key', 'minus'):
            key = getattr(entry, name)
            if key is not None and key not in self.keys:
                raise ValueError(f'{where}.{name}: the table does not show {short(key)}: {sorted(self.keys)}')
        for axis in entry.at:
            if axis not in self.axes or axis in fixed:
                known = ', '.join(called(axis) for axis in self.axes if axis not in fixed)
                raise ValueError(f'{where}.at: unknown key {short(axis)}; known keys: {known}')
        at = {**fixed, **entry.at}
        for axis in self.axes:
            if axis not in at:
                raise ValueError(f'{where}.at: says nothing of axis {axis!r}, and for_each does not name it')
        values = [self._values(axis, at[axis], where, left) for axis in self.axes]
        return [Quantity(**{**dict(entry), 'at': dict(zip(self.axes, names))}) for names in itertools.product(*values)]

    def _values(self, axis: str, value: str, where: str, left: Optional[Quantity]) -> List[str]:
        if value == OTHERS and left is not None:
            return [name for name in self.axes[axis] if name != left.at[axis]]
        if value not in self.axes[axis]:
            known = ', '.join(self.axes[axis])
            raise ValueError(f'{where}.at: axis {axis} has no value {short(value)}; it has {known}')
        return [value]


def table_names(folder: Path = FOLDER) -> List[str]:
    """Names of all tables of the paper, sorted."""
    return sorted(path.stem for path in folder.glob('*.yaml'))


def study_names() -> List[str]:
    """Names of all studies, sorted."""
    return table_names(STUDIES)


def load_table(name: str, folder: Path = FOLDER) -> Table:
    """Read a table or a study by its name, or from a path that ends in .yaml.

    Raises:
        UserError: there is no such table, its name is none for a table, or its file is broken; the message names the
            file and the key.
    """
    path = Path(name) if name.endswith('.yaml') else _file(name, folder)
    if not path.is_file():
        known = f'Known tables: {", ".join(table_names(folder))}; studies: {", ".join(study_names())}'
        raise UserError(f'no table {name!r}: there is no file {path}. {known}')
    if not _NAME.fullmatch(path.stem):  # a plan's name has a + before each override
        raise UserError(
            f"{path}: name the file with letters, digits, spaces, '_', '-' and '.' alone, and begin with none of the "
            'last two or a space'
        )
    with naming(path):
        table = TableFile.model_validate(read_yaml(path)).table(path.stem)
        for claim in table.claims:
            for comparison in claim.every_comparison:
                if comparison.more_than is not None:
                    other = comparison.more_than
                    file = path if other.table == path.stem else _file(other.table, folder)
                    _check_other(other, f'claim {called(claim.id)}: more_than', file)
        return table


def _file(name: str, folder: Path) -> Path:
    """The file of a table or, if there is none, of the study of that name."""
    path = folder / f'{name}.yaml'
    return STUDIES / path.name if not path.is_file() and name in study_names() else path


def _check_other(other: OtherComparison, where: str, path: Path) -> None:
    """Raise a ValueError unless ``path`` is a table with such cells and metrics."""
    if not path.is_file():
        raise ValueError(f'{where}.table: there is no table {short(other.table)}')
    table = TableFile.model_validate(read_yaml(path)).table(path.stem)
    for name, side in (('left', other.left), ('right', other.right)):
        if not any(cell.at == side.at for cell in table.cells):
            raise ValueError(f'{where}.{name}.at: {short(side.at)} is no cell of {other.table}')
        keys = {key for cell in table.cells for keys in cell.keys.values() for key in keys}
        for key in side.keys:
            if key not in keys:
                raise ValueError(f'{where}.{name}: {other.table} does not show {short(key)}: {sorted(keys)}')


def select(table: Table, only: Iterable[Tuple[str, str]]) -> List[Cell]:
    """The cells at the given values, which are pairs of axis and value. Several values of one axis are alternatives.

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


def _positions(order: Sequence[str], axes: Dict[str, Axis]) -> List[Position]:
    return [dict(zip(order, names)) for names in itertools.product(*(axes[name].values for name in order))]


def _number(text: str, where: str, keys: tuple) -> str:
    try:
        fits = len(printed_numbers(text)) in (len(keys), 0)
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{where}: {short(text)} must be {len(keys)} number(s) such as 38.3 joined by '/', or '-'")
    return text
