"""The specs of the generated data. Imports are light, because a run's id needs the specs before any data exist."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Union


@dataclass(frozen=True)
class SceneSpec:
    """The settings that determine every pixel. Change `version` whenever the drawing changes, so that caches notice."""

    version: str = '1'
    seed: int = 0
    train: int = 1500  # images
    val: int = 300
    size: int = 96  # side of the square image, pixels
    objects: tuple[int, int] = (2, 7)  # desired per image, both ends included
    scale: tuple[float, float] = (16.0, 64.0)  # object size, pixels, log-uniform
    aspect: float = 1.35  # the longer side is at most this many times the shorter one
    turn: float = 0.2  # largest rotation of an object, either way, radians
    cluster: float = 0.6  # chance that an object is placed beside an earlier one
    twin: float = 0.6  # chance that such a neighbour has the same category
    visible: float = 0.5  # smallest visible fraction of an object
    least: int = 24  # smallest visible area, pixels
    clutter: tuple[int, int] = (0, 3)  # distractors per image, both ends included
    contrast: float = 15.0  # strength of textures, grey levels


@dataclass(frozen=True)
class CrowdSpec:
    """The settings that determine every pixel. Change `version` whenever the drawing changes, so that caches notice."""

    version: str = '1'
    seed: int = 0
    train: int = 800  # images
    val: int = 200
    size: int = 128  # side of the square image, pixels
    people: tuple[int, int] = (5, 25)  # per image, both ends included
    groups: tuple[int, int] = (1, 4)  # rows or clumps per image
    height: tuple[float, float] = (24.0, 84.0)  # of a figure, pixels, log-uniform per group
    ignore: float = 0.3  # chance of each of the two kinds of ignored region
    visible: float = 0.15  # smallest visible fraction of a figure
    least: int = 24  # smallest visible area, pixels


@dataclass(frozen=True)
class CropSpec:
    """A dataset of one's own in COCO's format whose objects a backbone is pre-trained on.

    Paths are relative to the data folder. The digests stand for the data in a run's id.
    """

    train: str  # annotations
    val: str
    train_images: str  # folders
    val_images: str
    train_sha256: str
    val_sha256: str
    classes: tuple[str, ...]
    images: int = 6000  # at most so many training images, evenly spread


@dataclass(frozen=True)
class BackboneSpec:
    """The settings that determine the weights. Change ``version`` whenever the training changes."""

    # What gives the crops: scenes that are drawn for this alone and are on no disk, or a dataset.
    scenes: Union[SceneSpec, CropSpec]
    version: str = '2'
    seed: int = 0
    depth: int = 18
    base_channels: int = 16
    crop: int = 48  # side of a crop, pixels
    context: float = 1.2  # side of the crop in the image, as a multiple of the box's longer side
    epochs: int = 12
    batch: int = 128
    lr: float = 0.004


@dataclass(frozen=True)
class SwinSpec:
    """The settings that determine a small Swin's weights; see :class:`BackboneSpec`."""

    scenes: Union[SceneSpec, CropSpec]
    version: str = '2'
    seed: int = 0
    embed_dims: int = 16
    depths: tuple[int, ...] = (2, 2, 2, 2)
    num_heads: tuple[int, ...] = (1, 2, 4, 8)
    window_size: int = 6
    crop: int = 48
    context: float = 1.2
    epochs: int = 12
    batch: int = 128
    lr: float = 0.002


def folder_name(name: str, spec: Any) -> str:
    """`<name>-v<version>-<8 hex>`. `spec` is a dataclass with a `version`. The data need not exist."""
    return f'{name}-v{spec.version}-{hashlib.sha256(canonical(spec).encode()).hexdigest()[:8]}'


def canonical(spec: Any) -> str:
    """A spec as JSON. Equal specs give equal text."""
    return json.dumps(asdict(spec), sort_keys=True, separators=(',', ':'))
