"""Random training batches of many kinds for the assignment and the loss. The same kind and seed give the same batch."""

import itertools
import math
from dataclasses import dataclass
from typing import Callable, Dict, List, Optional, Tuple

import numpy as np
import torch
from mmengine.structures import InstanceData
from reference import Settings, anchor_points
from torch import Tensor

from o2f.assign.centre_region import AnchorGrid
from o2f.assign.degrees import LinearDegrees
from o2f.assign.matching_score import Instances
from o2f.assign.selection import OneToFewSelection, Selected
from o2f.models.loss import OneToFewLoss

STRIDES = ((8, 16, 32, 64, 128), (8, 16, 32))
CLASSES = (1, 8, 80)
#: Every combination of the selection's settings.
SETTINGS = [
    Settings(k=k, k_includes_certain=includes, alpha=alpha, metric=metric)
    for k, includes, alpha, metric in itertools.product(
        (0, 1, 2, 4, 7, 13), (True, False), (0, 0.6, 0.8, 1), ('multiply', 'add')
    )
]


@dataclass
class Batch:
    """What a head predicted for B images and what is in them; see ``reference`` for the meaning of each field."""

    cls_logits: Tensor
    centerness_logits: Tensor
    distances: Tensor
    shapes: Tuple[Tuple[int, int], ...]
    strides: Tuple[int, ...]
    instances: List[List[Tuple[Tuple[float, ...], int]]]
    centres: Optional[List[List[Tuple[float, float]]]] = None

    @property
    def boxes(self) -> Tensor:
        """(B, N, 4) predicted boxes, float32 as the head decodes them."""
        points = torch.tensor([point[:2] for point in anchor_points(self.shapes, self.strides)])
        return torch.cat((points - self.distances[..., :2], points + self.distances[..., 2:]), dim=-1)

    @property
    def grid(self) -> AnchorGrid:
        return AnchorGrid(self.shapes, self.strides)

    @property
    def metas(self) -> List[dict]:
        """Meta information of the images, which are of different sizes. Padding makes them as large as the maps."""
        height, width = (n * self.strides[0] for n in self.shapes[0])
        return [dict(img_shape=(height - 3 * image, width - 5 * image)) for image in range(len(self.instances))]

    def joined(self) -> Instances:
        """All instances of the batch as ``o2f`` takes them."""
        rows = [(box, label, image) for image, found in enumerate(self.instances) for box, label in found]
        boxes, labels, images = zip(*rows) if rows else ((), (), ())
        return Instances(
            torch.tensor(boxes).reshape(-1, 4),
            torch.tensor(labels, dtype=torch.long),
            torch.tensor(images, dtype=torch.long),
            None if self.centres is None else torch.tensor(sum(self.centres, [])),
            torch.tensor([self.metas[image]['img_shape'][::-1] for image in images]).reshape(-1, 2),
        )

    def truth(self) -> List[InstanceData]:
        """The instances of each image as MMDetection gives them to a head."""
        return [
            InstanceData(
                bboxes=torch.tensor([box for box, _ in found]).reshape(-1, 4),
                labels=torch.tensor([label for _, label in found], dtype=torch.long),
            )
            for found in self.instances
        ]

    def maps(self, of: Tensor) -> List[Tensor]:
        """(B, N, C) as one (B, C, H, W) map per level."""
        sizes = [height * width for height, width in self.shapes]
        return [
            level.transpose(1, 2).reshape(len(level), level.size(2), *shape).contiguous()
            for level, shape in zip(of.split(sizes, dim=1), self.shapes)
        ]

    def head_outputs(self) -> Tuple[List[Tensor], List[Tensor], List[Tensor]]:
        """Classification, distance and centerness maps that ask for a gradient."""
        outputs = self.maps(self.cls_logits), self.maps(self.distances), self.maps(self.centerness_logits[..., None])
        return tuple([map_.detach().clone().requires_grad_() for map_ in maps] for maps in outputs)


def joined_gradient(maps: List[Tensor]) -> Tensor:
    """Gradients of (B, C, H, W) maps as one (B, N, C)."""
    return torch.cat([map_.grad.flatten(2).transpose(1, 2) for map_ in maps], dim=1)


def selection_of(settings: Settings) -> OneToFewSelection:
    own = settings.k, settings.alpha, settings.metric, settings.radius, settings.k_includes_certain, settings.claims
    return OneToFewSelection(*own)


def loss_of(settings: Settings) -> OneToFewLoss:
    return OneToFewLoss(settings.ambiguous_weight, settings.negative_weight, settings.gamma)


def select(batch: Batch, settings: Settings) -> Tuple[Selected, Tensor]:
    """What ``o2f`` selects, and the degrees at T = ``settings.t``."""
    selected = selection_of(settings)(
        batch.cls_logits, batch.centerness_logits, batch.boxes, batch.joined(), batch.grid
    )
    return selected, LinearDegrees(settings.t, settings.t)(selected)


# --- what is in the images: (rng, height, width) -> per image a list of boxes -------------------------------


def _random_boxes(rng, number, height, width, low=4.0, high=None) -> np.ndarray:
    """Boxes with centres all over the image and log-uniform sides."""
    high = high or max(height, width)
    centre = rng.uniform((0, 0), (width, height), (number, 2))
    half = np.exp(rng.uniform(math.log(low), math.log(high), (number, 2))) / 2
    return np.hstack((centre - half, centre + half))


def _images_of(*counts: int, **size) -> Callable:
    return lambda rng, height, width: [_random_boxes(rng, n, height, width, **size) for n in counts]


def _twice(rng, height, width) -> List[np.ndarray]:
    return [_random_boxes(rng, 4, height, width)[[0, 1, 0, 2, 3, 2, 0]]]


def _outside(rng, height, width) -> List[np.ndarray]:
    """Across the image's edges, and wholly beyond them on each side."""
    boxes = _random_boxes(rng, 12, height, width)
    boxes[:4, 0::2] -= rng.uniform(-10, 10, (4, 1))
    boxes[:4, 1::2] -= boxes[:4, 1:2]  # begins at the upper edge
    boxes[4:6, 0::2] -= 2 * width
    boxes[6:8, 1::2] += 2 * height
    boxes[8:, 2:] += (width, height)
    return [boxes]


def _degenerate(rng, height, width) -> List[np.ndarray]:
    """Without width, without height, a point, inverted, and one good box."""
    boxes = _random_boxes(rng, 8, height, width)
    boxes[0, 2], boxes[1, 3], boxes[2, 2:] = boxes[0, 0], boxes[1, 1], boxes[2, :2]
    boxes[3] = boxes[3, [2, 1, 0, 3]]
    boxes[4] = boxes[4, [2, 3, 0, 1]]
    boxes[5, :2] = boxes[5, 2:] = np.round(boxes[5, :2] / 8) * 8 + 4  # a point on an anchor point
    return [boxes[:7], boxes[7:]]


def _on_points(rng, height, width) -> List[np.ndarray]:
    """Corners on a 4-pixel lattice, so that edges of boxes and of squares run through anchor points."""
    corner = rng.integers(-2, max(height, width) // 4, (12, 2)) * 4
    return [np.hstack((corner, corner + rng.integers(1, 20, (12, 2)) * 4)).astype(float)]


def _crowds_of(*counts: int) -> Callable:
    """In each image so many instances round one place, wanting the same anchors."""

    def crowds(rng, height, width) -> List[np.ndarray]:
        images = []
        for number in counts:
            centre = rng.uniform((20, 20), (width - 20, height - 20)) + rng.uniform(-6, 6, (number, 2))
            half = rng.uniform(10, 40, (number, 2))
            images.append(np.hstack((centre - half, centre + half)))
        return images

    return crowds


#: kind -> what is in the images.
TRUTH: Dict[str, Callable] = dict(
    none=_images_of(0, 0),
    one=_images_of(1),
    three=_images_of(3, 3),
    many=_images_of(300),
    uneven=_images_of(2, 0, 5, 1),
    same_box_same_class=_twice,
    same_box_other_class=_twice,
    small=_images_of(10, 10, low=0.5, high=7),
    large=_images_of(4, low=200, high=900),
    outside=_outside,
    degenerate=_degenerate,
    on_points=_on_points,
    crowd=_crowds_of(14),
    constant=_on_points,
    few_values=_on_points,
    no_overlap=_images_of(6, 3),
    saturated=_images_of(6, 3),
    half=_images_of(5, 0, 4),
    bfloat16=_images_of(5, 0, 4),
    clusters=_crowds_of(4, 0, 5),
)

# --- what was predicted -------------------------------------------------------------------------------------


def _predictions(kind, rng, images, strides_of_points, classes) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Classification logits, centerness logits and distances."""
    points = len(strides_of_points)
    logits = rng.normal(-2, 2, (images, points, classes))
    centerness = rng.normal(0, 1.5, (images, points))
    distances = np.maximum(rng.normal(1.5, 1.5, (images, points, 4)), 0)
    if kind == 'constant':
        logits[:], centerness[:], distances[:] = rng.normal(-2, 1), rng.normal(), rng.integers(1, 4)
    elif kind == 'few_values':
        logits, centerness = np.round(logits / 3), np.round(centerness / 2)
        distances = rng.integers(1, 3, distances.shape).astype(float)
    elif kind == 'no_overlap':
        distances *= rng.random((images, points, 1)) < 0.2
    elif kind == 'saturated':
        logits, centerness = rng.normal(0, 40, logits.shape), rng.normal(0, 40, centerness.shape)  # p of 0 and of 1
    elif kind in ('many', 'large'):
        distances *= np.exp(rng.normal(0.5, 1, (images, points, 1)))
    return logits, centerness, distances * np.asarray(strides_of_points)[:, None]


def make_batch(kind: str, seed: int) -> Batch:
    """The batch number ``seed`` of a kind; strides and the number of classes go through all their values by seed."""
    rng = np.random.default_rng([list(TRUTH).index(kind), seed])
    strides, classes = STRIDES[seed % 2], CLASSES[seed % 3]
    height, width = (int(rng.integers(64, 200)) for _ in range(2))
    shapes = tuple((math.ceil(height / stride), math.ceil(width / stride)) for stride in strides)
    instances = [
        [(box, int(rng.integers(classes))) for box in boxes.astype(np.float32).tolist()]
        for boxes in TRUTH[kind](rng, height, width)
    ]
    if kind == 'same_box_same_class':
        instances = [[(box, 0) for box, _ in found] for found in instances]
    if kind == 'same_box_other_class':
        instances = [[(box, index % classes) for index, (box, _) in enumerate(found)] for found in instances]
    strides_of_points = [stride for _, _, stride in anchor_points(shapes, strides)]
    logits, centerness, distances = _predictions(kind, rng, len(instances), strides_of_points, classes)
    dtype = dict(half=torch.float16, bfloat16=torch.bfloat16).get(kind, torch.float32)
    return Batch(
        torch.tensor(logits, dtype=dtype),
        torch.tensor(centerness, dtype=dtype),
        torch.tensor(distances, dtype=torch.float32),
        shapes,
        strides,
        instances,
    )


def settings_number(number: int) -> Settings:
    """Settings of case ``number``; any 96 cases in a row have all combinations."""
    return SETTINGS[number * 37 % len(SETTINGS)]
