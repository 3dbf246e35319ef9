"""Measures the sizes of a dataset's objects in cells of the feature maps, and the anchors that assignment can choose.

Nothing is trained. Candidates come from the code of section 3.2 (:mod:`o2f.assign.centre_region`). FCOS's positives
come from its own selection (:mod:`o2f.assign.one_to_many`).
"""

import math
from dataclasses import dataclass
from typing import Dict, Iterable, Iterator, NamedTuple, Tuple

import numpy as np
import torch
from mmdet.registry import DATASETS
from mmengine.config import Config
from torch import Tensor
from torchvision.ops import box_iou

import o2f  # noqa: F401  (registers the datasets)
from o2f.assign.centre_region import AnchorGrid, candidate_points, points_of
from o2f.assign.matching_score import Instances
from o2f.assign.one_to_many import FCOSSelection

#: The number of images that are read, evenly spread over the dataset. More images would not change the figures.
MOST_IMAGES = 2000
#: The values of K in Table 2, and those for which objects with too few candidates are counted: CrowdHuman's, COCO's and
#: the largest.
K_VALUES = (3, 5, 7, 9, 11, 13)
FEWER = (4, 7, 13)
Ranges = Tuple[Tuple[float, float], ...]


@dataclass(frozen=True)
class Levels:
    """The part of a detector that geometry depends on.

    Attributes:
        strides (tuple[int]): pixels between the points of each level.
        ranges (tuple): FCOS's smallest and largest distance to the farthest edge for each level, in pixels.
        radius (float): half-side of the centre region in strides.
        divisor (int): images are padded to a multiple of it.
    """

    strides: Tuple[int, ...]
    ranges: Ranges
    radius: float = 1.5
    divisor: int = 32


class Image(NamedTuple):
    """An image as the detector sees it."""

    size: Tuple[int, int]  # height, width in pixels, resized and not yet padded
    boxes: Tensor  # (G, 4) float32, x1 y1 x2 y2
    labels: Tensor  # (G,) int64


@dataclass(frozen=True)
class Geometry:
    """The geometry of a dataset. Shares are from 0 to 1.

    Attributes:
        images (int): number of images read.
        objects (int): number of their objects.
        candidates (float): mean points in Omega per object.
        fewer (dict[int, float]): K -> share of objects with fewer than K candidates.
        anchors (dict[int, float]): K -> mean over objects of the most anchors that an object can get.
        positives (float): mean positives per object with FCOS's own targets.
        cells (tuple[float]): 10th, 50th and 90th percentile of an object's side in cells of its FCOS level.
        second_centerness (float): second highest centerness among the positives of an object, divided by the highest;
            median over objects.
        levels (tuple[float]): share of objects on each FCOS level. An object's level has most of its positives.
        overlap_30, overlap_50 (float): share of objects that overlap another of their class by an IoU above 0.3, 0.5.
    """

    images: int
    objects: int
    candidates: float
    fewer: Dict[int, float]
    anchors: Dict[int, float]
    positives: float
    cells: Tuple[float, float, float]
    second_centerness: float
    levels: Tuple[float, ...]
    overlap_30: float
    overlap_50: float


def read_images(dataset: dict, scale: Tuple[int, int]) -> Iterator[Image]:
    """The images of an MMDetection dataset with their training objects, resized to ``scale``. No file is opened.

    Args:
        dataset (dict): its config, with paths substituted.
        scale (tuple[int, int]): the longer and the shorter side that the image must fit into. The aspect ratio is kept.
    """
    built = DATASETS.build(Config(dict(dataset, pipeline=[], serialize_data=False)))
    step = max(len(built) / MOST_IMAGES, 1.0)
    for index in np.arange(0, len(built), step).astype(int):
        info = built.get_data_info(int(index))
        height, width = info['height'], info['width']
        factor = min(max(scale) / max(height, width), min(scale) / min(height, width))
        objects = [instance for instance in info['instances'] if not instance['ignore_flag']]
        boxes = torch.tensor([instance['bbox'] for instance in objects], dtype=torch.float32).reshape(-1, 4)
        labels = torch.tensor([instance['bbox_label'] for instance in objects], dtype=torch.int64)
        yield Image((round(height * factor), round(width * factor)), boxes * factor, labels)


def measure(images: Iterable[Image], levels: Levels) -> Geometry:
    """The geometry of images.

    Raises:
        ValueError: no image has an object, or the numbers of ranges and levels differ.
    """
    tables = [_of_image(image, levels) for image in images]
    filled = [table for table in tables if len(table)]
    if not filled:
        raise ValueError('no image has an object')
    candidates, positives, side, level, second, overlap = torch.cat(filled).double().numpy().T
    ten, half, ninety = np.percentile(side, (10, 50, 90))
    return Geometry(
        images=len(tables),
        objects=len(side),
        candidates=float(candidates.mean()),
        fewer={k: float((candidates < k).mean()) for k in FEWER},
        anchors={k: float(np.minimum(candidates, k).mean()) for k in K_VALUES},
        positives=float(positives.mean()),
        cells=(float(ten), float(half), float(ninety)),
        second_centerness=float(np.nanmedian(second)),
        levels=tuple((np.bincount(level.astype(int), minlength=len(levels.strides)) / len(level)).tolist()),
        overlap_30=float((overlap > 0.3).mean()),
        overlap_50=float((overlap > 0.5).mean()),
    )


def _of_image(image: Image, levels: Levels) -> Tensor:
    """(G, 6): candidates, FCOS positives, cells per side, FCOS level, centerness ratio and overlap of each object."""
    height, width = (math.ceil(side / levels.divisor) * levels.divisor for side in image.size)
    shapes = tuple((math.ceil(height / stride), math.ceil(width / stride)) for stride in levels.strides)
    grid = AnchorGrid(shapes, levels.strides)
    index, inside = candidate_points(image.boxes, grid, levels.radius)
    positive = _positives(image, grid, levels)
    # An object can have positives on two levels. Its level is the one with most of them.
    level = positive.unflatten(1, (len(shapes), -1)).sum(dim=2).argmax(dim=1)
    side = (image.boxes[:, 2:] - image.boxes[:, :2]).prod(dim=1).sqrt() / torch.tensor(levels.strides)[level]
    columns = (
        inside.sum(dim=1),
        positive.sum(dim=1),
        side,
        level,
        _second_over_best(image.boxes, points_of(grid, image.boxes.device)[index], positive),
        _same_class_overlap(image),
    )
    return torch.stack([column.float() for column in columns], dim=1)


def _positives(image: Image, grid: AnchorGrid, levels: Levels) -> Tensor:
    """(G, M) bool: which candidates are positive with FCOS's targets, which do not depend on predictions."""
    logits = torch.zeros(1, grid.num_points)
    zeros = torch.zeros_like(image.labels)
    select = FCOSSelection(levels.ranges, levels.radius)
    instances = Instances(image.boxes, zeros, zeros)
    return select(logits[..., None], logits, torch.zeros(1, grid.num_points, 4), instances, grid).kept


def _second_over_best(boxes: Tensor, points: Tensor, positive: Tensor) -> Tensor:
    """(G,) second highest centerness among the positives divided by the highest; NaN with fewer than two."""
    before, after = points - boxes[:, None, :2], boxes[:, None, 2:] - points  # (G, M, 2)
    ratio = torch.minimum(before, after) / torch.maximum(before, after)
    centerness = ratio.clamp(min=0).prod(dim=-1).sqrt().where(positive, torch.zeros(()))
    best, second = centerness.topk(2, dim=1).values.unbind(dim=1)
    return (second / best).where(second > 0, torch.tensor(float('nan')))


def _same_class_overlap(image: Image) -> Tensor:
    """(G,) each object's largest IoU with another of its class; 0 if there is none."""
    iou = box_iou(image.boxes, image.boxes)
    other = (image.labels[:, None] == image.labels[None]) & ~torch.eye(len(iou), dtype=torch.bool)
    return iou.where(other, torch.zeros(())).amax(dim=1) if len(iou) else iou.new_zeros(0)
