"""Section 3.2, Eq. 1: how well each candidate anchor matches each instance."""

import math
from dataclasses import dataclass
from typing import Callable, List, Optional, Tuple

import torch
from torch import Tensor

from o2f.assign.centre_region import AnchorGrid, candidate_points, num_candidates


@dataclass(frozen=True)
class Instances:
    """The annotated instances of a whole batch, image after image; G in all.

    Attributes:
        boxes (Tensor): (G, 4), x1 y1 x2 y2 in pixels.
        labels (Tensor): (G,) int64, class of each.
        image (Tensor): (G,) int64, which image of the batch it is in.
        centres (Tensor, optional): (G, 2), x y of Omega's middle in pixels; the boxes' middles if not given.
    """

    boxes: Tensor
    labels: Tensor
    image: Tensor
    centres: Optional[Tensor] = None

    def split(self, size: int) -> List['Instances']:
        """The same ``size`` at a time, at least one part."""
        boxes, labels, image = (column.split(size) for column in (self.boxes, self.labels, self.image))
        centres = [None] * len(boxes) if self.centres is None else self.centres.split(size)
        return [Instances(*columns) for columns in zip(boxes, labels, image, centres)]


@dataclass(frozen=True)
class Candidates:
    """The anchors that may be selected for each instance; shapes are (G, M).

    Attributes:
        anchor (Tensor): int64, index of the anchor among all B x N of the batch, in ascending order.
        inside (Tensor): bool, the indicator of Eq. 1; where it is False the other values are meaningless unless the
            candidates are all points (``radius=None``).
        p (Tensor): float64, the joint score for the instance's class.
        iou (Tensor): float64, IoU of the anchor's predicted box with the instance's.
        score (Tensor): float32, Eq. 1 without its indicator.
    """

    anchor: Tensor
    inside: Tensor
    p: Tensor
    iou: Tensor
    score: Tensor


#: Candidates of all instances of a part: on a CPU they stay in the cache, on a GPU they are enough to fill the device.
_PART = dict(cpu=1 << 18)
_LARGE_PART = 1 << 22


class MatchingScore:
    """S = 1[i in Omega_j] * p^(1-alpha) * IoU^alpha for every candidate (Eq. 1).

    Args:
        alpha (float): weight of the IoU, from 0 to 1.
        metric (str): 'multiply' for Eq. 1, 'add' for (1-alpha) p + alpha IoU (Table 4).
        radius (float, optional): half-side of Omega's square in strides; None takes every point inside the box.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(self, alpha: float = 0.8, metric: str = 'multiply', radius: Optional[float] = 1.5) -> None:
        if not 0 <= alpha <= 1:
            raise ValueError(f'selection: alpha must be between 0 and 1, not {alpha!r}')
        if metric not in ('multiply', 'add'):
            raise ValueError(f"selection: metric must be 'multiply' or 'add', not {metric!r}")
        if radius is not None and not 0 < radius < float('inf'):
            raise ValueError(f'selection: radius must be above 0, or None for the whole box, not {radius!r}')
        self.alpha = alpha
        self.metric = metric
        self.radius = radius

    def candidates(
        self, cls_logits: Tensor, centerness_logits: Tensor, boxes: Tensor, instances: Instances, grid: AnchorGrid
    ) -> Candidates:
        """Score the candidates of a whole batch, without a loop over images or instances.

        Args:
            cls_logits (Tensor): (B, N, C).
            centerness_logits (Tensor): (B, N).
            boxes (Tensor): (B, N, 4) predicted boxes, x1 y1 x2 y2 in pixels.
            instances (Instances): the G instances of the batch.
            grid (Grid): the N anchor points.

        Returns:
            Candidates: (G, M), M as :func:`candidate_points` has it.
        """
        index, inside = candidate_points(instances.boxes, grid, self.radius, instances.centres)
        anchor = index + (instances.image * grid.num_points).unsqueeze(-1)
        # Candidates are few, so they are scored in double: the order then does not hang on how a machine rounds.
        a = _rows(cls_logits.flatten(), anchor * cls_logits.size(-1) + instances.labels.unsqueeze(-1)).double()
        b = _rows(centerness_logits.flatten(), anchor).double()
        p = a.sigmoid() * b.sigmoid()
        iou = _iou(_rows(boxes.flatten(0, 1), anchor).double(), instances.boxes.unsqueeze(1).double())
        # Back to single precision at the end, so that scores equal but for the last bit of a double are ties.
        return Candidates(anchor, inside, p, iou, self._score(p, iou).float())

    def in_parts(
        self,
        function: Callable[[Candidates], Tuple[Tensor, ...]],
        cls_logits: Tensor,
        centerness_logits: Tensor,
        boxes: Tensor,
        instances: Instances,
        grid: AnchorGrid,
    ) -> Tuple[Tensor, ...]:
        """What ``function`` makes of the candidates, a few instances at a time where each has very many.

        With every point a candidate the instances' candidates together would take gigabytes.

        Args:
            function (callable): takes (g, M) candidates and returns tensors with a row for each of the g instances.
            cls_logits, centerness_logits, boxes, instances, grid: see :meth:`candidates`.

        Returns:
            tuple[Tensor]: the same tensors with G rows.
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
    """Settle which instance gets an anchor that several claim: the one with the highest score, ties to the first.

    Args:
        anchor (Tensor): (G, S) int64.
        score (Tensor): (G, S), any finite numbers.
        claimed (Tensor): (G, S) bool.
        num_anchors (int): B x N.

    Returns:
        Tensor: (G, S) bool, the claims that win.
    """
    # The two tables have one entry per anchor, the class dimension of the score map less.
    instance = torch.arange(len(anchor), device=anchor.device).unsqueeze(1).expand_as(anchor)
    best = score.new_full((num_anchors,), -math.inf)
    best.scatter_reduce_(0, anchor.flatten(), score.where(claimed, -math.inf).flatten(), 'amax')
    winning = claimed & (score == best[anchor])
    owner = instance.new_full((num_anchors,), len(anchor))
    owner.scatter_reduce_(0, anchor.flatten(), instance.where(winning, len(anchor)).flatten(), 'amin')
    return winning & (owner[anchor] == instance)


def _rows(table: Tensor, index: Tensor) -> Tensor:
    """``table[index]`` in half of its time on a CPU."""
    return table.index_select(0, index.flatten()).view(*index.shape, *table.shape[1:])


def _iou(boxes: Tensor, targets: Tensor) -> Tensor:
    """IoU of (..., 4) boxes with (..., 4) targets, broadcast; 0 where both are empty."""
    # Edge by edge: operations along a last dimension of two or four take several times as long.
    x1, y1, x2, y2 = boxes.unbind(dim=-1)
    left, top, right, bottom = targets.unbind(dim=-1)
    width = (torch.minimum(x2, right) - torch.maximum(x1, left)).clamp(min=0)
    height = (torch.minimum(y2, bottom) - torch.maximum(y1, top)).clamp(min=0)
    overlap = width * height
    area = (x2 - x1) * (y2 - y1) + (right - left) * (bottom - top)
    return overlap / (area - overlap).clamp(min=torch.finfo(overlap.dtype).tiny)
