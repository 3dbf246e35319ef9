"""Section 3 of the paper as one would read it aloud: image by image, instance by instance, point by point.

Written from the paper and from what is known of the released code, not from ``o2f``. The assignment is in plain Python
floats; the losses are float64 autograd on probabilities, as Eq. 4 and 5 stand. Slow, and meant to be.

A ``batch`` has ``cls_logits`` (B, N, C), ``centerness_logits`` (B, N), predicted ``boxes`` (B, N, 4), and as plain
tuples ``shapes`` ((height, width), ...), ``strides`` and ``instances``: per image a list of (box, label). ``centres``
has a point for each instance, in the same lists, or is None where Omega is round the boxes' middles.
"""

import math
import struct
from dataclasses import dataclass
from typing import Dict, List, NamedTuple, Optional, Tuple

import torch
from torch import Tensor


@dataclass(frozen=True)
class Settings:
    """The method's settings under their names in ``o2f``; the defaults are those of the released code."""

    k: int = 7
    claims: Optional[int] = None
    k_includes_certain: bool = True
    alpha: float = 0.8
    metric: str = 'multiply'
    radius: Optional[float] = 1.5
    t: float = 0.6
    ambiguous_weight: float = 0.4
    negative_weight: float = 0.75
    gamma: float = 2.0
    box_weight: str = 'centerness'


class Positive(NamedTuple):
    """One anchor of one instance."""

    image: int
    anchor: int  # among the N of its image
    instance: int  # among all of the batch
    label: int
    certain: bool
    p: float
    degree: float
    weight: float  # of its classification loss
    centerness: float  # FCOS's centerness target


class Wish(NamedTuple):
    """An anchor that an instance wants."""

    score: float
    anchor: int
    p: float


def anchor_points(shapes, strides) -> List[Tuple[float, float, int]]:
    """x, y and stride of every anchor point, level after level, row after row."""
    return [
        ((column + 0.5) * stride, (row + 0.5) * stride, stride)
        for (height, width), stride in zip(shapes, strides)
        for row in range(height)
        for column in range(width)
    ]


def in_centre_region(x, y, stride, box, radius, centre=None) -> bool:
    """Whether a point is strictly inside the box and the square of half-side radius x stride round the centre, which is
    the box's own if not given. Without a radius the box alone decides."""
    x1, y1, x2, y2 = box
    if not (x1 < x < x2 and y1 < y < y2):
        return False
    if radius is None:
        return True
    middle_x, middle_y = centre or ((x1 + x2) / 2, (y1 + y2) / 2)
    return abs(x - middle_x) < radius * stride and abs(y - middle_y) < radius * stride


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def iou(a, b) -> float:
    """Intersection over union of two boxes, 0 if they do not overlap."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    overlap = width * height
    return overlap / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - overlap)


def centerness_target(x, y, box) -> float:
    """FCOS's centerness of a point in a box."""
    left, right, top, bottom = x - box[0], box[2] - x, y - box[1], box[3] - y
    return math.sqrt(min(left, right) / max(left, right) * min(top, bottom) / max(top, bottom))


def as_float32(x: float) -> float:
    """The nearest single-precision number."""
    return struct.unpack('f', struct.pack('f', x))[0]


def assign(batch, settings: Settings) -> List[List[Positive]]:
    """The anchors of every instance of the batch, best first."""
    points = anchor_points(batch.shapes, batch.strides)
    found = []
    for image, instances in enumerate(batch.instances):
        maps = [map_[image].double().tolist() for map_ in (batch.cls_logits, batch.centerness_logits, batch.boxes)]
        centres = batch.centres[image] if batch.centres else [None] * len(instances)
        wishes = [
            wanted_anchors(box, label, *maps, points, settings, centre)
            for (box, label), centre in zip(instances, centres)
        ]
        owner = owners(wishes)
        for j, (box, label) in enumerate(instances):
            kept = [wish for wish in wishes[j] if owner[wish.anchor] == j][: in_all(settings)]
            found.append(describe(kept, image, len(found), box, label, points, settings))
    return found


def wanted_anchors(box, label, logits, centerness, boxes, points, settings: Settings, centre=None) -> List[Wish]:
    """The top anchors of one instance by Eq. 1, no more than lie in Omega and overlap the instance."""
    wishes = candidates(box, label, logits, centerness, boxes, points, settings, centre)
    overlapping = sum(iou(boxes[wish.anchor], box) > 0 for wish in wishes)
    wishes.sort(key=lambda wish: (-wish.score, wish.anchor))
    return wishes[: min(settings.claims or in_all(settings), overlapping)]


def in_all(settings: Settings) -> int:
    """How many anchors an instance keeps at most."""
    return max(settings.k, 1) if settings.k_includes_certain else settings.k + 1


def candidates(box, label, logits, centerness, boxes, points, settings: Settings, centre=None) -> List[Wish]:
    """All anchors in Omega of one instance with Eq. 1's score."""
    wishes = []
    for anchor, (x, y, stride) in enumerate(points):
        if in_centre_region(x, y, stride, box, settings.radius, centre):
            p = sigmoid(logits[anchor][label]) * sigmoid(centerness[anchor])
            wishes.append(Wish(as_float32(matching_score(p, iou(boxes[anchor], box), settings)), anchor, p))
    return wishes


def matching_score(p: float, u: float, settings: Settings) -> float:
    """Eq. 1 inside Omega, or Table 4's sum."""
    if settings.metric == 'add':
        return (1 - settings.alpha) * p + settings.alpha * u
    return p ** (1 - settings.alpha) * u**settings.alpha


def owners(wishes: List[List[Wish]]) -> Dict[int, int]:
    """anchor -> the instance it goes to: the one with the highest score, among equals the first."""
    best = {}
    for j, wanted in enumerate(wishes):
        for wish in wanted:
            if wish.anchor not in best or wish.score > best[wish.anchor][0]:
                best[wish.anchor] = (wish.score, j)
    return {anchor: j for anchor, (_, j) in best.items()}


def describe(kept: List[Wish], image, instance, box, label, points, settings: Settings) -> List[Positive]:
    """One certain anchor, the rest ambiguous with their degrees by Eq. 3."""
    highest = max((wish.p for wish in kept[1:]), default=0.0)
    positives = []
    for rank, (_, anchor, p) in enumerate(kept):
        certain = rank == 0
        degree = 1.0 if certain else p / highest * settings.t if highest > 0 else 0.0
        weight = 1.0 if certain else settings.ambiguous_weight
        x, y, _ = points[anchor]
        positives.append(
            Positive(image, anchor, instance, label, certain, p, degree, weight, centerness_target(x, y, box))
        )
    return positives


def flat(found: List[List[Positive]]) -> List[Positive]:
    """All positives of a batch."""
    return [positive for kept in found for positive in kept]


def normaliser(found: List[List[Positive]]) -> float:
    """What L_cls is divided by: all positives, at least 1."""
    return float(max(len(flat(found)), 1))


def cls_loss(
    cls_logits: Tensor, centerness_logits: Tensor, found: List[List[Positive]], settings: Settings, divisor: float
) -> Tensor:
    """Eq. 4 in float64; ``cls_logits`` (B, N, C) and ``centerness_logits`` (B, N) are float64 and may ask for a
    gradient."""
    p = cls_logits.sigmoid() * centerness_logits.sigmoid().unsqueeze(-1)
    # FL(p, 0) everywhere, then BCE(p, t) in the place of each positive.
    element = settings.negative_weight * p**settings.gamma * -torch.log(1 - p)
    replaced = torch.zeros_like(p, dtype=torch.bool)
    total = torch.zeros((), dtype=torch.float64)
    for positive in flat(found):
        where = positive.image, positive.anchor, positive.label
        replaced[where] = True
        total = total - positive.weight * positive.degree * torch.log(p[where])
        if not positive.certain:
            total = total - positive.weight * (1 - positive.degree) * torch.log(1 - p[where])
    return (total + element[~replaced].sum()) / divisor


def box_weights(found: List[List[Positive]], settings: Settings) -> List[float]:
    """The weight of each positive's box loss."""
    return [positive.centerness if settings.box_weight == 'centerness' else 1.0 for positive in flat(found)]


def box_loss(distances: Tensor, batch, found: List[List[Positive]], settings: Settings, divisor: float) -> Tensor:
    """Eq. 5 in float64, with GIoU's weight of 2; ``distances`` (B, N, 4) to the left, top, right and bottom edge."""
    points = anchor_points(batch.shapes, batch.strides)
    truth = [box for instances in batch.instances for box, _ in instances]
    total = distances.sum() * 0
    for positive, weight in zip(flat(found), box_weights(found, settings)):
        x, y, _ = points[positive.anchor]
        left, top, right, bottom = distances[positive.image, positive.anchor]
        total = total + weight * (1 - giou((x - left, y - top, x + right, y + bottom), truth[positive.instance]))
    return 2 * total / max(divisor, 1e-6)


def giou(a, b) -> Tensor:
    """Generalised IoU of a predicted box (four tensors) and a true box (four floats)."""
    width = (a[2].clamp(max=b[2]) - a[0].clamp(min=b[0])).clamp(min=0)
    height = (a[3].clamp(max=b[3]) - a[1].clamp(min=b[1])).clamp(min=0)
    overlap = width * height
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - overlap
    enclosing = (a[2].clamp(min=b[2]) - a[0].clamp(max=b[0])) * (a[3].clamp(min=b[3]) - a[1].clamp(max=b[1]))
    return overlap / union - (enclosing - union) / enclosing


def focal_loss(p: Tensor, target: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """The focal loss of probabilities as Lin et al. write it, the sum of -alpha_t (1 - p_t)^gamma log p_t; targets are
    0 or 1."""
    p_t = torch.where(target == 1, p, 1 - p)
    alpha_t = alpha * target + (1 - alpha) * (1 - target)
    return -(alpha_t * (1 - p_t) ** gamma * p_t.log()).sum()


def slow_predictions(outputs, image: int, score_thr: float, nms_pre: int, max_per_img: int, size) -> list:
    """(score, label, box) of one image, best first, one element at a time."""
    detections = []
    for level, stride in enumerate((8, 16, 32)):
        logits, distances, centerness = (maps[level][image].permute(1, 2, 0).flatten(0, 1).tolist() for maps in outputs)
        of_level = []
        for i, (x, y, _) in enumerate(anchor_points([outputs[0][level].shape[2:]], [stride])):
            left, top, right, bottom = distances[i]
            box = [max(x - left, 0), max(y - top, 0), min(x + right, size[1]), min(y + bottom, size[0])]
            scores = [sigmoid(logit) * sigmoid(centerness[i][0]) for logit in logits[i]]
            of_level += [(score, label, box) for label, score in enumerate(scores) if score > score_thr]
        of_level.sort(key=lambda detection: -detection[0])
        detections += of_level if nms_pre is None else of_level[:nms_pre]
    detections = [one for one in detections if one[2][2] > one[2][0] and one[2][3] > one[2][1]]
    return sorted(detections, key=lambda detection: -detection[0])[:max_per_img]
