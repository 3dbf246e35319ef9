"""The specs of the generated data. Imports are light, because a run's id needs the specs before any data exist."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Dict, Type, Union

from pydantic import AfterValidator, Field, StrictStr, TypeAdapter, ValidationError

from experiments.store.model import explain

Count = Annotated[int, Field(strict=True, ge=1)]
Whole = Annotated[int, Field(strict=True, ge=0)]
Share = Annotated[float, Field(strict=True, ge=0, le=1)]
Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]


def _rising(ends: Any) -> Any:
    if ends[0] > ends[1]:
        raise ValueError(f'the first number must not exceed the second: {ends}')
    return ends


Wholes = Annotated[tuple[Whole, Whole], AfterValidator(_rising)]
Counts = Annotated[tuple[Count, Count], AfterValidator(_rising)]
Lengths = Annotated[tuple[Positive, Positive], AfterValidator(_rising)]


@dataclass(frozen=True)
class SceneSpec:
    """The settings that determine every pixel. Change `version` whenever the drawing changes, so that caches notice."""

    version: StrictStr = '1'
    seed: Whole = 0
    train: Count = 1500  # images
    val: Count = 300
    size: Count = 96  # side of the square image, pixels
    objects: Wholes = (2, 7)  # desired per image, both ends included
    scale: Lengths = (16.0, 64.0)  # object size, pixels, log-uniform
    aspect: Positive = 1.35  # the longer side is at most this many times the shorter one
    turn: NotNegative = 0.2  # largest rotation of an object, either way, radians
    cluster: Share = 0.6  # chance that an object is placed beside an earlier one
    twin: Share = 0.6  # chance that such a neighbour has the same category
    visible: Share = 0.5  # smallest visible fraction of an object
    least: Count = 24  # smallest visible area, pixels
    clutter: Wholes = (0, 3)  # distractors per image, both ends included
    contrast: NotNegative = 15.0  # strength of textures, grey levels


@dataclass(frozen=True)
class CrowdSpec:
    """The settings that determine every pixel. Change `version` whenever the drawing changes, so that caches notice."""

    version: StrictStr = '1'
    seed: Whole = 0
    train: Count = 800  # images
    val: Count = 200
    size: Count = 128  # side of the square image, pixels
    people: Wholes = (5, 25)  # per image, both ends included
    groups: Counts = (1, 4)  # rows or clumps per image
    height: Lengths = (24.0, 84.0)  # of a figure, pixels, log-uniform per group
    ignore: Share = 0.3  # chance of each of the two kinds of ignored region
    visible: Share = 0.15  # smallest visible fraction of a figure
    least: Count = 24  # smallest visible area, pixels


@dataclass(frozen=True)
class CropSpec:
    """A dataset of one's own in COCO's format whose objects a backbone is pre-trained on.

    Paths are relative to the data folder. The digests stand for the data in a run's id.
    """

    train: StrictStr  # annotations
    val: StrictStr
    train_images: StrictStr  # folders
    val_images: StrictStr
    train_sha256: StrictStr
    val_sha256: StrictStr
    classes: tuple[StrictStr, ...]
    images: Count = 6000  # at most so many training images, evenly spread


@dataclass(frozen=True)
class BackboneSpec:
    """The settings that determine the weights. Change ``version`` whenever the training changes."""

    # What gives the crops: scenes that are drawn for this alone and are on no disk, or a dataset.
    scenes: Union[SceneSpec, CropSpec]
    version: StrictStr = '2'
    seed: Whole = 0
    depth: Count = 18
    base_channels: Count = 16
    crop: Count = 48  # side of a crop, pixels
    context: Positive = 1.2  # side of the crop in the image, as a multiple of the box's longer side
    epochs: Count = 12
    batch: Count = 128
    lr: Positive = 0.004


@dataclass(frozen=True)
class SwinSpec:
    """The settings that determine a small Swin's weights; see :class:`BackboneSpec`."""

    scenes: Union[SceneSpec, CropSpec]
    version: StrictStr = '2'
    seed: Whole = 0
    embed_dims: Count = 16
    depths: tuple[Count, ...] = (2, 2, 2, 2)
    num_heads: tuple[Count, ...] = (1, 2, 4, 8)
    window_size: Count = 6
    crop: Count = 48
    context: Positive = 1.2
    epochs: Count = 12
    batch: Count = 128
    lr: Positive = 0.002


_ADAPTERS: Dict[type, TypeAdapter] = {
    kind: TypeAdapter(kind) for kind in (SceneSpec, CrowdSpec, CropSpec, BackboneSpec, SwinSpec)
}


def folder_name(name: str, spec: Any) -> str:
    """`<name>-v<version>-<8 hex>`. `spec` is a dataclass with a `version`. The data need not exist."""
    return f'{name}-v{spec.version}-{hashlib.sha256(canonical(spec).encode()).hexdigest()[:8]}'


def canonical(spec: Any) -> str:
    """A spec as JSON. Equal specs give equal text."""
    return json.dumps(asdict(spec), sort_keys=True, separators=(',', ':'))


def checked(name: str, kind: Type, settings: dict) -> Any:
    """A spec of this kind, which errors call ``name``.

    Its values stay as they are given, 1 or 1.0, because a folder's name depends on them.

    Raises:
        TypeError: a setting is unknown, missing, of another type or impossible.
    """
    spec = kind(**settings)
    try:
        _ADAPTERS[kind].validate_python(settings)
    except ValidationError as error:
        raise TypeError(f'{name}.{explain(error)}') from error
    return spec
