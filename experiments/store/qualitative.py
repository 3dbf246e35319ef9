"""Writes and reads qualitative results: ``<runs>/<profile>/captures/<name>.npz``, arrays and JSON in one file.

There are two kinds: detections on images, and the scores and degrees of instances at stages of a training.
``meta`` is JSON as bytes. Nothing in the file is pickled.
"""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Dict, List, Literal, Optional, Tuple, Type

import numpy as np
from pydantic import Field, StrictBool, StrictInt, StrictStr

from experiments.store.errors import UserError
from experiments.store.files import make_folder, read_arrays, write_whole
from experiments.store.model import Number, Stored, parse
from experiments.store.provenance import provenance

SCHEMA = 1
Side = Annotated[StrictInt, Field(ge=0)]


@dataclass(frozen=True)
class Shapes:
    """Boxes (n, 4), x1 y1 x2 y2 in pixels, and labels (n,) of n instances or detections. ``masks`` is (n, h, w) bool,
    if there are masks. Detections have ``scores`` (n,), best first. Annotations have ``ignored`` (n,) bool."""

    boxes: np.ndarray
    labels: np.ndarray
    masks: Optional[np.ndarray] = None
    scores: Optional[np.ndarray] = None
    ignored: Optional[np.ndarray] = None


@dataclass(frozen=True)
class Shown:
    """One image: its id, height and width, the bytes of its file, its annotations, and each panel's detections."""

    id: Any
    size: Tuple[int, int]
    file: bytes
    truth: Shapes
    found: Tuple[Shapes, ...]


@dataclass(frozen=True)
class ShownPanel:
    """One detector: its label, the lowest score of its shown detections, and the share of all objects that these
    detections find."""

    label: str
    score_thr: float
    recall: float


@dataclass(frozen=True)
class QualitativeDetections:
    """Detections of each of ``panels``, without or with NMS. Each panel is cut at the score at which it finds the share
    ``recall`` of all objects of the validation set."""

    title: str
    source: str
    setting: str
    profile: str
    seed: int
    panels: Tuple[ShownPanel, ...]
    reading: str
    recall: float
    images: Tuple[Shown, ...]


@dataclass(frozen=True)
class StageMaps:
    """Scores and degrees (I, N) of I instances on N anchors at the end of an epoch. ``certain`` is (I, N) bool. ``t``
    is the T^j of that epoch, or None if the degrees follow no schedule."""

    label: str
    epoch: int
    t: Optional[float]
    scores: np.ndarray
    degrees: np.ndarray
    certain: np.ndarray


@dataclass(frozen=True)
class QualitativeAssignment:
    """Targets of instances (name, box in pixels of the file) of one image at stages of a training of ``epochs`` epochs.

    The N anchors are ordered by level, then row by row. ``strides`` are in pixels of the network's input, ``shapes``
    (height, width) in cells. ``input_size`` is the height and width of that input.
    """

    title: str
    source: str
    setting: str
    profile: str
    seed: int
    epochs: int
    stages: Tuple[StageMaps, ...]
    strides: Tuple[int, ...]
    shapes: Tuple[Tuple[int, int], ...]
    input_size: Tuple[int, int]
    id: Any
    size: Tuple[int, int]
    file: bytes
    instances: Tuple[Tuple[str, Tuple[float, ...]], ...]

    def level_map(self, values: np.ndarray, level: int) -> np.ndarray:
        """The map (height, width) of a level in the values (N,) of all anchors."""
        starts = np.cumsum([0, *(height * width for height, width in self.shapes)])
        return values[starts[level] : starts[level + 1]].reshape(self.shapes[level])


class _Image(Stored):
    id: Any
    size: Tuple[Side, Side]


class _Meta(Stored):
    """The metadata that all qualitative results have."""

    schema_: Literal[1] = Field(alias='schema')
    figure: StrictStr
    title: StrictStr
    source: StrictStr
    setting: StrictStr
    profile: StrictStr
    seed: StrictInt
    images: List[_Image]


class _Panel(Stored):
    label: StrictStr
    score_thr: Number
    recall: Number


class _DetectionsMeta(_Meta):
    kind: Literal['detections']
    masks: StrictBool
    reading: StrictStr
    recall: Number
    panels: List[_Panel]


class _Stage(Stored):
    label: StrictStr
    epoch: StrictInt
    t: Optional[Number]


class _Instance(Stored):
    name: StrictStr
    box: Tuple[Number, Number, Number, Number]


class _AssignmentMeta(_Meta):
    kind: Literal['assignment']
    epochs: StrictInt
    stages: List[_Stage]
    strides: Tuple[StrictInt, ...]
    shapes: Tuple[Tuple[Side, Side], ...]
    input_size: Tuple[Side, Side]
    instances: Tuple[_Instance, ...]


def path_of(runs: Path, profile: str, name: str) -> Path:
    """The path of a qualitative result."""
    return Path(runs) / profile / 'captures' / f'{name}.npz'


def load_detections(runs: Path, profile: str, name: str, command: str) -> QualitativeDetections:
    """Read stored detections.

    Args:
        runs (Path): the folder of the runs.
        profile (str): the profile.
        name (str): the figure's name.
        command (str): the command that creates them.

    Raises:
        UserError: the file is missing or broken; the message names the command.
    """
    return _load(path_of(runs, profile, name), (name, profile), command, _DetectionsMeta, _detections)


def load_assignment(runs: Path, profile: str, name: str, command: str) -> QualitativeAssignment:
    """Read a stored assignment, as :func:`load_detections` does."""
    return _load(path_of(runs, profile, name), (name, profile), command, _AssignmentMeta, _assignment)


def _load(path: Path, expected: Tuple[str, str], command: str, model: Type[_Meta], build: Any) -> Any:
    try:
        arrays = read_arrays(path)
        meta = parse(model, json.loads(arrays['meta'].tobytes()))
        if (meta.figure, meta.profile) != expected:
            raise ValueError(f'it is of figure {meta.figure!r:.50} in profile {meta.profile!r:.50}')
        return build(meta, arrays)
    except FileNotFoundError:
        raise UserError(f'no capture {path}: run {command} first') from None
    except KeyError as error:
        raise UserError(f'{path}: {error} is missing: delete it and run {command} again') from error
    except (ValueError, TypeError, RecursionError) as error:
        raise UserError(f'{path} is no capture ({error}): delete it and run {command} again') from error


def _detections(meta: _DetectionsMeta, arrays: Dict[str, np.ndarray]) -> QualitativeDetections:
    images = []
    for i, image in enumerate(meta.images):
        truth = _shapes(arrays, f'truth{i}', image.size, meta.masks, ignored=(bool,))
        found = [
            _shapes(arrays, f'found{i}.{j}', image.size, meta.masks, scores=(np.floating,))
            for j in range(len(meta.panels))
        ]
        images.append(Shown(image.id, image.size, arrays[f'image{i}'].tobytes(), truth, tuple(found)))
    return QualitativeDetections(
        **{key: getattr(meta, key) for key in ('title', 'source', 'setting', 'profile', 'seed', 'reading', 'recall')},
        panels=tuple(ShownPanel(panel.label, panel.score_thr, panel.recall) for panel in meta.panels),
        images=tuple(images),
    )


def _shapes(arrays: Dict[str, np.ndarray], name: str, size: Tuple[int, int], masks: bool, **columns: tuple) -> Shapes:
    """Boxes, labels and the ``columns``, one number per row each, from the arrays whose names begin with ``name``."""
    boxes = arrays[f'{name}.boxes']
    one = {column: arrays[f'{name}.{column}'] for column in ('labels', *columns)}
    if boxes.shape != (len(boxes), 4) or any(column.shape != (len(boxes),) for column in one.values()):
        raise ValueError(f'{name}: boxes are {boxes.shape}, but {", ".join(f"{k} {v.shape}" for k, v in one.items())}')
    drawn = None
    if masks:
        height, width = size
        bits = np.unpackbits(arrays[f'{name}.masks'], axis=1, count=height * width)
        drawn = bits.reshape(len(boxes), height, width).astype(bool)
    return Shapes(boxes, masks=drawn, **one)


def _assignment(meta: _AssignmentMeta, arrays: Dict[str, np.ndarray]) -> QualitativeAssignment:
    expected = len(meta.instances), sum(height * width for height, width in meta.shapes)
    stages: List[StageMaps] = []
    for s, stage in enumerate(meta.stages):
        maps = {key: arrays[f'stage{s}.{key}'] for key in ('scores', 'degrees', 'certain')}
        for key, values in maps.items():
            if values.shape != expected:
                raise ValueError(f'stage{s}.{key} is {values.shape}, not {expected}')
        stages.append(StageMaps(stage.label, stage.epoch, stage.t, **maps))
    (image,) = meta.images
    shared = ('title', 'source', 'setting', 'profile', 'seed', 'epochs', 'strides', 'shapes', 'input_size')
    return QualitativeAssignment(
        **{key: getattr(meta, key) for key in shared},
        stages=tuple(stages),
        id=image.id,
        size=image.size,
        file=arrays['image0'].tobytes(),
        instances=tuple((each.name, each.box) for each in meta.instances),
    )


def write_capture(path: Path, meta: Dict[str, Any], arrays: Dict[str, np.ndarray]) -> None:
    """Write a qualitative result whole or not at all. The same content gives the same bytes.

    Args:
        path (Path): the file, which ends in .npz.
        meta (dict): plain values; the schema and the provenance are added.
        arrays (dict): arrays by name.

    Raises:
        UserError: it cannot be written.
    """
    origin = provenance()
    kept = {key: origin[key] for key in ('commit', 'dirty', 'versions', 'device')}  # no time and no host
    content = json.dumps(dict(schema=SCHEMA, **meta, provenance=kept), allow_nan=False)
    file = io.BytesIO()
    arrays = dict(meta=_bytes(content.encode()), **arrays)
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # the stub mistakes the arrays for its named options
    make_folder(path.parent)
    write_whole(path, file.getvalue())


def image_bytes(path: Path) -> np.ndarray:
    """The bytes of an image file, (bytes,) uint8.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return _bytes(path.read_bytes())
    except OSError as error:
        raise UserError(f'{path} cannot be read: {error.strerror}') from error


def _bytes(content: bytes) -> np.ndarray:
    return np.frombuffer(content, np.uint8)
