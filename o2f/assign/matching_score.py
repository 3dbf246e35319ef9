"""How well each candidate anchor matches each instance (section 3.2, Eq. 1)."""

import math
from dataclasses import dataclass
from typing import Callable, List, Optional, Tuple

import torch
from torch import Tensor

from o2f.assign.centre_region import AnchorGrid, Radius, candidate_points, num_candidates
from o2f.assign.detr_cost import detr_cost
from o2f.errors import InputError


@dataclass(frozen=True)
class Instances:
    """The G annotated instances of a batch, image after image.

    Attributes:
        boxes (Tensor): (G, 4), x1 y1 x2 y2 in pixels.
        labels (Tensor): (G,) int64, the class of each.
        image (Tensor): (G,) int64, the index of its image in the batch.
        centres (Tensor, optional): (G, 2), x y of Omega's centre in pixels. The default is the boxes' centres.
        size (Tensor, optional): (G, 2), width and height of its image in pixels, without padding. DETR's cost and L1
            need it.
    """

    boxes: Tensor
    labels: Tensor
    image: Tensor
    centres: Optional[Tensor] = None
    size: Optional[Tensor] = None

    def sides(self) -> Tensor:
        """(G, 1, 4) width, height, width and height of its image, which make shares of the distances of four edges.

        Raises:
            InputError: the sizes of the images are not known.
        """
        if self.size is None:
            raise InputError(
                "DETR's cost and L1 need img_shape of each image: add it to meta_keys of the pipeline's PackDetInputs"
            )
        return self.size.repeat(1, 2).unsqueeze(1)

    def split(self, most: int) -> List['Instances']:
        """Split the instances into parts of at most ``most``. There is always at least one part."""
        boxes, labels, image = (column.split(most) for column in (self.boxes, self.labels, self.image))
        centres, size = (
            [None] * len(boxes) if column is None else column.split(most) for column in (self.centres, self.size)
        )
        return [Instances(*columns) for columns in zip(boxes, labels, image, centres, size)]


@dataclass(frozen=True)
class Candidates:
    """The anchors that may be selected for each instance. All shapes are (G, M).

    Attributes:
        anchor (Tensor): int64, indices among all B x N anchors of the batch, in ascending order.
        inside (Tensor): bool, the indicator of Eq. 1. Where it is False, the other values are meaningless, unless the
            candidates are all points (``radius=None``).
        p (Tensor): float64, the anchor's joint score for the instance's class.
        iou (Tensor): float64, IoU of the anchor's predicted box with the instance's box.
        score (Tensor): float32, Eq. 1 without its indicator, or another metric; the higher the better.
    """

    anchor: Tensor
    inside: Tensor
    p: Tensor
    iou: Tensor
    score: Tensor


#: Candidates in one part. On a CPU a part stays in the cache; on a GPU it is large enough to fill the device.
_PART = dict(cpu=1 << 18)
_LARGE_PART = 1 << 22


class MatchingScore:
    """How well each candidate anchor matches each instance: S = 1[i in Omega_j] * p^(1-alpha) * IoU^alpha (Eq. 1).

    Args:
        alpha (float): weight of the IoU, from 0 to 1.
        metric (str): 'multiply' is Eq. 1; 'add' is (1-alpha) p + alpha IoU (Table 4). 'detr_cost' is OneNet's
            [`detr_cost`][], negated; it has no alpha.
        radius (float | str, optional): half-side of Omega's square in strides. With None, Omega is the whole box. With
            'image', it is the whole image.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(self, alpha: float = 0.8, metric: str = 'multiply', radius: Radius = 1.5) -> None:
        if not 0 <= alpha <= 1:
            raise ValueError(f'selection: alpha must be between 0 and 1, not {alpha!r}')
        if metric not in ('multiply', 'add', 'detr_cost'):
            raise ValueError(f"selection: metric must be 'multiply', 'add' or 'detr_cost', not {metric!r}")
        if radius not in (None, 'image') and (isinstance(radius, str) or not 0 < radius < float('inf')):
            raise ValueError(
                f"selection: radius must be above 0, None for the whole box, or 'image' for the whole image, "
                f'not {radius!r}'
            )
        self.alpha = alpha
        self.metric = metric
        self.radius = radius

    def candidates(
        self, cls_logits: Tensor, centerness_logits: Tensor, boxes: Tensor, instances: Instances, grid: AnchorGrid
    ) -> Candidates:
        """Score the candidates of a batch, without a loop over images or instances.

        Args:
            cls_logits (Tensor): (B, N, C) classification logits.
            centerness_logits (Tensor): (B, N) centerness logits.
            boxes (Tensor): (B, N, 4) predicted boxes, x1 y1 x2 y2 in pixels.
            instances (Instances): the G instances of the batch.
            grid (AnchorGrid): the N anchor points.

        Returns:
            Candidates: (G, M) candidates, with the M of [`candidate_points`][].
        """
        index, inside = candidate_points(instances.boxes, grid, self.radius, instances.centres)
        anchor = index + (instances.image * grid.num_points).unsqueeze(-1)
        # Candidates are few, so they are scored in double: their order then does not depend on how a machine rounds.
        a = _rows(cls_logits.flatten(), anchor * cls_logits.size(-1) + instances.labels.unsqueeze(-1)).double()
        b = _rows(centerness_logits.flatten(), anchor).double()
        p = a.sigmoid() * b.sigmoid()
        predicted = _rows(boxes.flatten(0, 1), anchor).double()
        truth = instances.boxes.unsqueeze(1).double()
        iou = box_iou(predicted, truth)
        if self.metric == 'detr_cost':
            score = -detr_cost(p, predicted, truth, instances.sides())
        else:
            score = self._score(p, iou)
        # Back to single precision: scores that differ only in the last bits of a double become ties.
        return Candidates(anchor, inside, p, iou, score.float())

    def in_parts(
        self,
        function: Callable[[Candidates], Tuple[Tensor, ...]],
        cls_logits: Tensor,
        centerness_logits: Tensor,
        boxes: Tensor,
        instances: Instances,
        grid: AnchorGrid,
    ) -> Tuple[Tensor, ...]:
        """Apply ``function`` to the candidates, a few instances at a time.

        If every point is a candidate, the candidates of all instances together would take gigabytes.

        Args:
            function (callable): takes (g, M) candidates and returns tensors with one row per instance.
            cls_logits (Tensor): (B, N, C), as in [`MatchingScore.candidates`][].
            centerness_logits (Tensor): (B, N).
            boxes (Tensor): (B, N, 4).
            instances (Instances): the G instances of the batch.
            grid (AnchorGrid): the N anchor points.

        Returns:
            tuple[Tensor]: the tensors that ``function`` returns, joined to G rows.
        """
        most = _PART.get(boxes.device.type, _LARGE_PART) // num_candidates(grid, self.radius)
        parts = [
            function(self.candidates(cls_logits, centerness_logits, boxes, some, grid))
            for some in instances.split(max(most, 1))
        ]
        return parts[0] if len(parts) == 1 else tuple(torch.cat(tensors) for tensors in zip(*parts))

    def _score(self, p: Tensor, iou: Tensor) -> Tensor:
        """Eq. 1 without its indicator, or Table 4's sum."""
        if self.metric == 'add':
            return (1 - self.alpha) * p + self.alpha * iou
        return p ** (1 - self.alpha) * iou**self.alpha


def one_instance_per_anchor(anchor: Tensor, score: Tensor, claimed: Tensor, num_anchors: int) -> Tensor:
    """Decide which instance gets an anchor that several claim: the one with the highest score, or the first of equals.

    Args:
        anchor (Tensor): (G, S) int64.
        score (Tensor): (G, S), any finite numbers.
        claimed (Tensor): (G, S) bool.
        num_anchors (int): B x N, the anchors of the batch.

    Returns:
        Tensor: (G, S) bool, True for the claims that win.
    """
    # The two tables have one entry per anchor. They are smaller than the score map, which also has classes.
    instance = torch.arange(len(anchor), device=anchor.device).unsqueeze(1).expand_as(anchor)
    best = score.new_full((num_anchors,), -math.inf)
    best.scatter_reduce_(0, anchor.flatten(), score.where(claimed, -math.inf).flatten(), 'amax')
    winning = claimed & (score == best[anchor])
    owner = instance.new_full((num_anchors,), len(anchor))
    owner.scatter_reduce_(0, anchor.flatten(), instance.where(winning, len(anchor)).flatten(), 'amin')
    return winning & (owner[anchor] == instance)


def _rows(table: Tensor, index: Tensor) -> Tensor:
    """``table[index]``, in half the time on a CPU."""
    return table.index_select(0, index.flatten()).view(*index.shape, *table.shape[1:])


def box_iou(boxes: Tensor, targets: Tensor) -> Tensor:
    """IoU of (..., 4) boxes with (..., 4) targets, broadcast. It is 0 where both are empty."""
    # Edge by edge, because operations along a last dimension of two or four take several times as long.
    x1, y1, x2, y2 = boxes.unbind(dim=-1)
    left, top, right, bottom = targets.unbind(dim=-1)
    width = (torch.minimum(x2, right) - torch.maximum(x1, left)).clamp(min=0)
    height = (torch.minimum(y2, bottom) - torch.maximum(y1, top)).clamp(min=0)
    overlap = width * height
    area = (x2 - x1) * (y2 - y1) + (right - left) * (bottom - top)
    return overlap / (area - overlap).clamp(min=torch.finfo(overlap.dtype).tiny)
