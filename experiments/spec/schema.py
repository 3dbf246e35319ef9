"""The schema of tables, claims, plans and stored results.

YAML and JSON are read by the same models. A file that does not fit is refused in one line that names the file and the
key. This module does not import torch, so ``analysis`` reads stored files with it.

============================================  ====================  =============================================
file                                          model                 written by
============================================  ====================  =============================================
``experiments/tables/<name>.yaml``            :class:`Table`        people (:mod:`experiments.spec.table_file`)
``experiments/studies/<name>.yaml``           :class:`Table`        people
``<runs>/<profile>/tables/<name>.json``       :class:`StoredPlan`   ``run.py``: a table and the runs of its cells
``<runs>/<profile>/<run>/result.json``        :class:`Result`       a training that is finished
``<runs>/<profile>/<run>/metrics.json``       :class:`Epochs`       a training after each epoch
``<runs>/<profile>/<run>/image_groups.json``  :class:`ImageGroups`  the last evaluation of a training
``<runs>/<profile>/<run>/breakdown.json``     :class:`Breakdown`    the last evaluation of a training
``<runs>/<profile>/<run>/speed.json``         :class:`Speed`        ``run.py``, for a table that shows speeds
============================================  ====================  =============================================
"""

import hashlib
import os
import re
import shlex
from pathlib import Path
from typing import Annotated, Any, Dict, Iterable, List, Literal, Optional, Tuple

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    StrictBool,
    StrictInt,
    StrictStr,
    model_serializer,
    model_validator,
)

from experiments.spec.subset import split_profile
from experiments.store.files import HOME, RUNS
from experiments.store.model import Metrics, Model, Number, Stored, Text, Texts, called, short

READINGS = ('without_nms', 'with_nms')
LESS, GREATER = 'less', 'greater'
#: Prefix of the keys of speeds. Speeds are measured separately and are not fractions.
SPEED = 'speed/'
#: Metrics for which lower is better, by the end of the key: miss rates, duplicates, errors and times.
LOWER_IS_BETTER = ('/mMR', '/duplicates', '/score_margin', '_error', '_ms')
#: A number as papers print it.
_PRINTED = re.compile('-?[0-9]+([.][0-9]+)?')
Overrides = Dict[StrictStr, Any]
Position = Dict[StrictStr, StrictStr]


def lower_is_better(keys: Iterable[str]) -> bool:
    """Whether lower values of metrics are better."""
    return all(key.endswith(LOWER_IS_BETTER) for key in keys)


def printed_numbers(text: str) -> Tuple[float, ...]:
    """The numbers of a cell as a paper prints them, joined by '/'; none for '-'.

    Raises:
        ValueError: a part is no such number.
    """
    parts = [] if text == '-' else text.split('/')
    wrong = [part for part in parts if not _PRINTED.fullmatch(part)]
    if wrong:
        raise ValueError(f"{short(text)} must be numbers such as 38.3, joined by '/' without blanks, or '-'")
    return tuple(map(float, parts))


class Value(Model):
    """One value of an axis: its label, its descriptions, and what it changes in the config.

    Attributes:
        label (str): the text in a table.
        describe (tuple[str]): one text for each description column of the axis.
        reading (str): the value of ``{reading}`` in the metrics of its cells, without or with NMS.
        use (tuple[str]): variants.
        overrides (dict): dotted keys of the config and their values.
    """

    label: Text
    describe: Texts = ()
    reading: Literal['without_nms', 'with_nms'] = 'without_nms'
    use: Texts = ()
    overrides: Overrides = {}


class Axis(Model):
    """One axis of a table: its label ('' for none), the headers of its description columns, and its values by name."""

    name: StrictStr
    label: Text
    describe: Texts = ()
    values: Dict[StrictStr, Value] = Field(min_length=1)

    @model_validator(mode='after')
    def _described(self) -> 'Axis':
        for name, value in self.values.items():
            if len(value.describe) != len(self.describe):
                texts = len(self.describe)
                raise ValueError(f'values.{called(name)}.describe must have {texts} texts, as the axis describes')
        return self

    def shown(self, value: str) -> str:
        """The text for a value: its label, unless another value has the same label."""
        label = self.values[value].label
        alike = sum(each.label == label for each in self.values.values())
        return label if alike == 1 else value


def one_or_several(value: Any) -> Any:
    """A list of what a file has as one value or as a list."""
    return value if isinstance(value, (list, tuple)) else [value]


class Metric(Model):
    """A metric of a table: keys of a result, and the axis values that it is limited to. ``{reading}`` in a key is
    ``without_nms`` or ``with_nms``, as the cell says."""

    keys: Texts = Field(min_length=1)
    at: Dict[
        StrictStr,
        Annotated[
            Texts,
            BeforeValidator(one_or_several),
            PlainSerializer(lambda values: values[0] if len(values) == 1 else list(values)),
        ],
    ] = {}

    def shown_at(self, at: Position) -> bool:
        """Whether the cell at this position shows it."""
        return all(at.get(axis) in values for axis, values in self.at.items())


def _run_id(value: Any) -> Any:
    if isinstance(value, str) and not value.isalnum():  # it names a folder, so it must not be a path
        raise ValueError(f'{short(value)}, which is no id of a run')
    return value


class Cell(Model):
    """One cell of a table.

    Attributes:
        at (dict): its position: axis name -> value name.
        use (tuple[str]): variants, those of the table included.
        overrides (dict): dotted keys of the config and their values, those of the table included.
        keys (dict): the keys of a result for each metric of the cell.
        paper (dict): the paper's numbers as text, by metric.
        runs (dict): the run that fills it for each seed; empty before it is planned.
    """

    at: Position
    use: Texts = ()
    overrides: Overrides = {}
    keys: Dict[StrictStr, Texts]
    paper: Dict[StrictStr, StrictStr] = {}
    runs: Dict[int, Annotated[StrictStr, BeforeValidator(_run_id)]] = {}

    @property
    def label(self) -> str:
        return ' '.join(f'{axis}={value}' for axis, value in self.at.items())


class Quantity(Model):
    """``times`` x (``key`` - ``minus``) + ``plus`` points of the cell ``at``, after epoch ``epoch``, counted from 1.

    Without ``epoch`` it is the last."""

    key: StrictStr
    minus: Optional[StrictStr] = None
    times: Number = 1.0
    plus: Number = 0.0
    epoch: Optional[Annotated[StrictInt, Field(ge=1)]] = None
    at: Position

    @property
    def keys(self) -> Tuple[str, ...]:
        """The metrics that it is computed from."""
        return (self.key,) if self.minus is None else (self.key, self.minus)


class OtherComparison(Model):
    """A comparison of two cells of another table."""

    table: StrictStr
    left: Quantity
    relation: Literal['less', 'greater']
    right: Quantity


class Comparison(Model):
    """``left`` is ``relation`` than ``right``, by ``size`` if the paper's text prints the size.

    The size is positive, in points, and of speeds in percent. Without it, the size is that of the numbers in the
    paper's table. With ``more_than``, the claim is that this difference is larger than one of another table.
    """

    left: Quantity
    relation: Literal['less', 'greater']
    right: Quantity
    size: Optional[Annotated[Number, Field(gt=0)]] = None
    more_than: Optional[OtherComparison] = None

    @model_validator(mode='after')
    def _in_points(self) -> 'Comparison':
        if self.more_than is not None:
            sides = (self.left, self.right, self.more_than.left, self.more_than.right)
            if any(key.startswith(SPEED) for side in sides for key in side.keys):
                raise ValueError('more_than: speeds cannot be compared across tables')
        return self

    @model_serializer(mode='wrap')
    def _without_the_rare(self, content: SerializerFunctionWrapHandler) -> Dict[str, Any]:
        """Without ``more_than``, which few comparisons have."""
        return {key: value for key, value in content(self).items() if key != 'more_than' or value is not None}


class Threshold(Model):
    """The suite's own reading of a claim's words as a number, such as 'less than half'. It is judged apart.

    Attributes:
        statement (str): the threshold in a few words.
        comparisons (tuple[Comparison]): the comparisons that must all hold.
    """

    statement: StrictStr
    comparisons: Tuple[Comparison, ...] = Field(min_length=1)


class Claim(Model):
    """A claim of the paper, or of a study.

    Attributes:
        id (str): its name.
        statement (str): the claim in a few words.
        quote (str): the paper's sentence; '' for a study's claim.
        where (str): where the paper has that sentence, or who claims it.
        comparisons (tuple[Comparison]): the comparisons that must all hold. There are none if the paper's words compare
            nothing; then the threshold alone is judged.
        best (bool): the comparisons say that one cell is better than each of several others.
        control (bool): the comparisons say that at least one of several cells is better than one control, the right
            side.
        threshold (Threshold, optional): the suite's own threshold.
    """

    id: StrictStr
    statement: StrictStr
    quote: StrictStr = ''
    where: StrictStr
    comparisons: Tuple[Comparison, ...] = ()
    best: StrictBool = False
    control: StrictBool = False
    threshold: Optional[Threshold] = None

    @property
    def every_comparison(self) -> Tuple[Comparison, ...]:
        """The comparisons of the paper's words, then those of the threshold."""
        return self.comparisons + (self.threshold.comparisons if self.threshold else ())

    @model_validator(mode='after')
    def _compares(self) -> 'Claim':
        if not self.every_comparison:
            raise ValueError('comparisons: must be a list with something in it, unless there is a threshold')
        if self.best and len({(each.left.model_dump_json(), each.relation) for each in self.comparisons}) != 1:
            raise ValueError('best: all comparisons must have the same left side and relation')
        if self.control and len({(each.right.model_dump_json(), each.relation) for each in self.comparisons}) != 1:
            raise ValueError('control: all comparisons must have the same right side and relation')
        if self.control and (self.best or any(each.more_than for each in self.comparisons)):
            raise ValueError('control: fits neither best nor more_than')
        return self

    @model_serializer(mode='wrap')
    def _without_the_rare(self, content: SerializerFunctionWrapHandler) -> Dict[str, Any]:
        """Without ``control``, which few claims have."""
        return {key: value for key, value in content(self).items() if key != 'control' or value}


class _Layout(Model):
    """The common part of a table and its plan. A study has a question, which no table of the paper has."""

    title: StrictStr
    question: StrictStr = ''
    caption: StrictStr = ''
    source: StrictStr = ''
    setting: StrictStr = ''
    axes: Dict[StrictStr, Axis] = Field(min_length=1)
    rows: Texts
    columns: Texts
    metrics: Dict[StrictStr, Metric] = Field(min_length=1)
    cells: Tuple[Cell, ...]
    claims: Tuple[Claim, ...] = ()

    @property
    def row_axes(self) -> Tuple[Axis, ...]:
        """The axes down the side, outermost first."""
        return tuple(self.axes[name] for name in self.rows)

    @property
    def column_axes(self) -> Tuple[Axis, ...]:
        """The axes across, outermost first."""
        return tuple(self.axes[name] for name in self.columns)

    def cell_at(self, at: Position) -> Cell:
        """The cell at this position."""
        return next(cell for cell in self.cells if cell.at == at)

    @model_validator(mode='after')
    def _fits(self) -> '_Layout':
        if sorted(self.rows + self.columns) != sorted(self.axes):
            raise ValueError(f'rows and columns must name each axis once ({", ".join(map(called, self.axes))})')
        for name, metric in self.metrics.items():
            if any(
                axis not in self.axes or {*values} - {*self.axes[axis].values} for axis, values in metric.at.items()
            ):
                written = {axis: values[0] if len(values) == 1 else [*values] for axis, values in metric.at.items()}
                raise ValueError(f'metrics.{called(name)}.at is no place in the table: {short(written)}')
        for i, cell in enumerate(self.cells):
            self._check_cell(cell, f'cells[{i}]')
        places = [cell.at for cell in self.cells]
        for claim in self.claims:
            for side in (side for each in claim.every_comparison for side in (each.left, each.right)):
                if side.at not in places:
                    raise ValueError(f'claim {called(claim.id)} names {short(side.at)}, which is no cell of the table')
        return self

    def _check_cell(self, cell: Cell, where: str) -> None:
        axes = self.axes
        if set(cell.at) != set(axes) or any(value not in axes[axis].values for axis, value in cell.at.items()):
            raise ValueError(f'{where}.at is no place in the table: {short(cell.at)}')
        for metric, keys in cell.keys.items():
            if metric not in self.metrics or len(keys) != len(self.metrics[metric].keys):
                raise ValueError(f'{where}.keys.{called(metric)} does not fit what metrics gives')
        for text in cell.paper.values():
            printed_numbers(text)


class Table(_Layout):
    """A table file, read and checked. Its cells are the product of its axes."""

    name: StrictStr


class StoredPlan(_Layout):
    """The plan of a table: the table as it was at the time, and the runs of its cells in one profile.

    Attributes:
        table (str): name of the table.
        profile (str): name of the profile.
        overrides (dict): ``--set`` of the command line, on top of every cell. Overrides make it another experiment.
    """

    schema_: Literal[3] = Field(3, alias='schema')
    table: StrictStr
    profile: StrictStr
    overrides: Overrides = {}

    @property
    def name(self) -> str:
        """Name of the plan, which is also the name of its file."""
        return plan_name(self.table, self.overrides)

    @property
    def comparable(self) -> bool:
        """Whether its numbers are comparable with the paper's: same data, same settings."""
        return self.profile == 'paper' and not self.overrides

    @property
    def runs(self) -> Dict[str, int]:
        """The distinct runs of the table: run id -> seed."""
        return {run: seed for cell in self.cells for seed, run in cell.runs.items()}

    def words(self, at: Position) -> List[str]:
        """The name of a cell, axis by axis: 'T^min 0.2', 'T^max 0.6'."""
        axes = self.row_axes + self.column_axes
        return [f'{axis.label} {axis.shown(at[axis.name])}'.strip() for axis in axes]

    def keys(self, run: str) -> List[str]:
        """The keys of a run that the table shows."""
        cells = [cell for cell in self.cells if run in cell.runs.values()]
        return list(dict.fromkeys(key for cell in cells for keys in cell.keys.values() for key in keys))


def plan_name(table: str, overrides: Overrides) -> str:
    """The table's name and the overrides. A digest replaces overrides that are too long for a file name."""
    settings = '+'.join([table, *(f'{key}={value}' for key, value in overrides.items())]).replace('/', '_')
    if len(settings.encode()) <= 120:
        return settings
    return f'{table}+{hashlib.sha256(settings.encode()).hexdigest()[:12]}'


#: The profiles that come with the suite.
PROFILES = Path(__file__).resolve().parents[1] / 'profiles'


def own_profile(runs: Path, profile: str) -> Path:
    """Where a profile of the user's own is kept beside its runs, which may be of a subset of its images."""
    return Path(runs) / profile / f'{split_profile(profile)[0]}.py'


def profile_words(
    runs: Path, profile: str, elsewhere: bool = False, file: Optional[Path] = None, data: Optional[Path] = None
) -> List[str]:
    """The words of a command line that choose a profile. One of the user's own is named by the file beside its runs.

    Args:
        runs (Path): the folder of the runs.
        profile (str): the profile's name.
        elsewhere (bool): the command writes into another folder: files are named as the checkout sees them.
        file (Path, optional): the file of a profile of the user's own. Unless it is given or lies beside the runs, the
            words have PATH in its place.
        data (Path, optional): the folder of the user's data. Unless it is given, the words have DIR in its place.
    """
    own, (base, share) = file or own_profile(runs, profile), split_profile(profile)
    if own.exists():
        path = os.path.relpath(own, HOME) if elsewhere else str(own)
    elif (PROFILES / f'{base}.py').exists():
        return [] if profile == 'desk' else ['--profile', profile]
    else:
        path = f'PATH/{base}.py'
    return ['--profile', path, '--data', str(data or 'DIR'), *(['--subset', f'{share:g}'] if share else [])]


def capture_command(runs: Path, profile: str, figure: str) -> str:
    """The command that captures what a figure shows."""
    words = ['python', 'experiments/run.py', 'capture', figure, *profile_words(runs, profile)]
    return shlex.join(words + ([] if Path(runs).resolve() == RUNS else ['--runs', str(runs)]))


class Provenance(Stored):
    """Where a result comes from. Older results lack fields. ``wall_s`` is the time of training and evaluation, in s
    (:func:`experiments.store.runs.wall_seconds`)."""

    commit: Optional[StrictStr]
    dirty: Annotated[Optional[bool], Field(strict=True)]
    python: Any = None
    versions: Any = None
    device: StrictStr
    cpu: Any = None
    host: Any = None
    started: Any = None
    processes: Any = None
    batch: Any = None
    wall_s: Any = None


class Result(Stored):
    """The result of one training: metrics as fractions from 0 to 1, None if they are not defined on the data."""

    schema_: Literal[1] = Field(alias='schema')
    run: StrictStr
    profile: StrictStr
    seed: StrictInt
    epochs: Optional[StrictInt] = None
    metrics: Metrics
    provenance: Provenance


class Speed(Stored):
    """The speed of a detector: metrics that begin with ``SPEED``, in ms and images per second, one image at a time.

    ``image`` is its height and width in pixels. Detectors that were timed in turns have the same ``sitting``.
    """

    schema_: Literal[1] = Field(alias='schema')
    run: StrictStr
    device: StrictStr
    versions: Dict[StrictStr, Any]
    repeats: StrictInt
    image: Tuple[Annotated[StrictInt, Field(ge=1)], Annotated[StrictInt, Field(ge=1)]]
    sitting: Optional[StrictStr] = None
    metrics: Metrics


class Epoch(Stored):
    """One epoch, counted from 1: metrics as fractions, mean losses, mean positives per instance by kind, and seconds.

    Undefined values are None. Values that were not stored are missing.
    """

    epoch: StrictInt
    metrics: Metrics
    losses: Metrics = {}
    positives: Metrics = {}
    seconds: Optional[Number] = None


class Epochs(Stored):
    """The metrics of a training after each epoch."""

    schema_: Literal[1] = Field(alias='schema')
    epochs: Tuple[Epoch, ...]

    @model_validator(mode='after')
    def _numbered(self) -> 'Epochs':
        if [each.epoch for each in self.epochs] != list(range(1, len(self.epochs) + 1)):
            raise ValueError('epochs are not numbered from 1 on')
        return self


class ImageGroups(Stored):
    """The metrics of a run without each group of its test images (:mod:`o2f.evaluation.leave_out`).

    Attributes:
        evaluated (str): a digest of annotations and images. Runs with the same digest have the same groups.
        images (int): number of images.
        metrics (dict): the metrics on all images, as fractions.
        left_out (dict): by how many millionths each metric is higher without each group; None if it is not defined.
    """

    schema_: Literal[1] = Field(alias='schema')
    evaluated: StrictStr
    images: Annotated[StrictInt, Field(ge=1)]
    metrics: Dict[StrictStr, Number]
    left_out: Dict[StrictStr, Tuple[Optional[Annotated[StrictInt, Field(ge=-(10**6), le=10**6)]], ...]]

    @model_validator(mode='after')
    def _complete(self) -> 'ImageGroups':
        if self.metrics.keys() != self.left_out.keys():
            raise ValueError('metrics and left_out must have the same keys')
        if len({len(values) for values in self.left_out.values()}) > 1:
            raise ValueError('left_out must have a number for each group')
        return self


class Breakdown(Stored):
    """The AP of each class, and the AP50 that each kind of error costs, in the last evaluation of a training.

    Both are fractions: without_nms, with_nms -> name of the class or the error -> value.
    """

    schema_: Literal[1] = Field(alias='schema')
    classes: Dict[StrictStr, Metrics]
    errors: Dict[StrictStr, Metrics]


class Failure(Stored):
    """Why a run failed."""

    schema_: Literal[1] = Field(alias='schema')
    message: StrictStr
