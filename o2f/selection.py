"""Section 3.2: which anchors. Eq. 1 inside the centre region, top K, one instance per anchor."""

import math
from dataclasses import dataclass

import torch
from mmdet.registry import TASK_UTILS
from torch import Tensor

from o2f.centre_region import Grid, centre_region_candidates


@dataclass(frozen=True)
class Instances:
    """The annotated instances of a whole batch, image after image; G in all.

    Attributes:
        boxes (Tensor): (G, 4), x1 y1 x2 y2 in pixels.
        labels (Tensor): (G,) int64, class of each.
        image (Tensor): (G,) int64, which image of the batch it is in.
    """

    boxes: Tensor
    labels: Tensor
    image: Tensor


@dataclass(frozen=True)
class Selected:
    """The anchors selected for each instance, best first; shapes are (G, S) with S the most an instance can get.

    Attributes:
        anchor (Tensor): int64, index of the anchor among all B x N of the batch.
        p (Tensor): float64, its joint score for the instance's class.
        kept (Tensor): bool, False where the instance had fewer candidates or lost the anchor to another instance.
        certain (Tensor): bool, the one certain anchor of each instance that kept any.
    """

    anchor: Tensor
    p: Tensor
    kept: Tensor
    certain: Tensor

    @property
    def ambiguous(self) -> Tensor:
        """(G, S) bool: kept, but not certain; the set A of Eq. 4."""
        return self.kept & ~self.certain


@TASK_UTILS.register_module()
class OneToFewSelection:
    """Select the certain anchor and the ambiguous anchors of every instance (Eq. 1).

    S = 1[i in Omega_j] * p^(1-alpha) * IoU^alpha. Each instance wants its top anchors by S, no more than it has
    anchors in Omega with IoU > 0; an anchor wanted by several goes to the highest S; the best one that is left is
    certain, the others are ambiguous. Equal S are settled by the lower anchor index, then the lower instance index.

    Args:
        k (int): K of section 3.3 and Table 2. 0 is one-to-one.
        alpha (float): weight of the IoU in Eq. 1, from 0 to 1.
        metric (str): 'multiply' for Eq. 1, 'add' for (1-alpha) p + alpha IoU (Table 4).
        radius (float): half-side of Omega's square in strides.
        k_includes_certain (bool): True as released: K anchors in all, one of them certain. False is the paper's text:
            K ambiguous anchors besides the certain one.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        k: int = 7,
        alpha: float = 0.8,
        metric: str = 'multiply',
        radius: float = 1.5,
        k_includes_certain: bool = True,
    ) -> None:
        if not (k >= 0 and k % 1 == 0):
            raise ValueError(f'selection: k must be a whole number, 0 or more, not {k!r}')
        if not 0 <= alpha <= 1:
            raise ValueError(f'selection: alpha must be between 0 and 1, not {alpha!r}')
        if metric not in ('multiply', 'add'):
            raise ValueError(f"selection: metric must be 'multiply' or 'add', not {metric!r}")
        if not 0 < radius < math.inf:
            raise ValueError(f'selection: radius must be above 0, not {radius!r}')
        self.alpha = alpha
        self.metric = metric
        self.radius = radius
        self.num_selected = int(max(k, 1) if k_includes_certain else k + 1)

    def set_epoch(self, epoch: int, max_epochs: int) -> None:
        """Nothing changes by epoch."""

    @torch.no_grad()
    def __call__(
        self, cls_logits: Tensor, centerness_logits: Tensor, boxes: Tensor, instances: Instances, grid: Grid
    ) -> Selected:
        """Select for a whole batch, without a loop over images or instances and without waiting for the device.

        Args:
            cls_logits (Tensor): (B, N, C).
            centerness_logits (Tensor): (B, N).
            boxes (Tensor): (B, N, 4) predicted boxes, x1 y1 x2 y2 in pixels.
            instances (Instances): the G instances of the batch.
            grid (Grid): the N anchor points.

        Returns:
            Selected: (G, S) anchors with S = K, or less if Omega is smaller.
        """
        index, inside = centre_region_candidates(instances.boxes, grid, self.radius)
        anchor = index + (instances.image * grid.num_points).unsqueeze(-1)
        # Candidates are few, so they are scored in double: the order then does not hang on how a machine rounds.
        a = cls_logits.flatten(0, 1)[anchor, instances.labels.unsqueeze(-1)].double()
        b = centerness_logits.flatten()[anchor].double()
        p = a.sigmoid() * b.sigmoid()
        iou = _iou(boxes.flatten(0, 1)[anchor].double(), instances.boxes.unsqueeze(1).double())
        # Back to single precision at the end, so that scores equal but for the last bit of a double are ties.
        score = torch.where(inside, self._matching_score(p, iou), -1).float()

        wanted = min(self.num_selected, score.size(1))
        score, order = score.sort(dim=1, descending=True, stable=True)
        score, order = score[:, :wanted], order[:, :wanted]
        available = (inside & (iou > 0)).sum(dim=1, keepdim=True)
        claimed = (score >= 0) & (torch.arange(wanted, device=score.device) < available)
        anchor, p = anchor.gather(1, order), p.gather(1, order)

        kept = _one_instance_per_anchor(anchor, score, claimed, num_anchors=boxes.shape[0] * boxes.shape[1])
        certain = kept & (kept.cumsum(dim=1) == 1)
        return Selected(anchor, p, kept, certain)

    def _matching_score(self, p: Tensor, iou: Tensor) -> Tensor:
        """Eq. 1 without its indicator, or Table 4's sum."""
        if self.metric == 'add':
            return (1 - self.alpha) * p + self.alpha * iou
        return p ** (1 - self.alpha) * iou**self.alpha


def _one_instance_per_anchor(anchor: Tensor, score: Tensor, claimed: Tensor, num_anchors: int) -> Tensor:
    """(G, S) bool: the claims that win. Each anchor goes to the claim with the highest score, ties to the first
    instance. The two tables have one entry per anchor, the class dimension of the score map less."""
    instance = torch.arange(len(anchor), device=anchor.device).unsqueeze(1).expand_as(anchor)
    best = score.new_full((num_anchors,), -1)
    best.scatter_reduce_(0, anchor.flatten(), torch.where(claimed, score, -1).flatten(), 'amax')
    winning = claimed & (score == best[anchor])
    owner = instance.new_full((num_anchors,), len(anchor))
    owner.scatter_reduce_(0, anchor.flatten(), instance.where(winning, len(anchor)).flatten(), 'amin')
    return winning & (owner[anchor] == instance)


def _iou(boxes: Tensor, targets: Tensor) -> Tensor:
    """IoU of (..., 4) boxes with (..., 4) targets, broadcast; 0 where both are empty."""
    size = torch.minimum(boxes[..., 2:], targets[..., 2:]) - torch.maximum(boxes[..., :2], targets[..., :2])
    overlap = size.clamp(min=0).prod(dim=-1)
    area = (boxes[..., 2:] - boxes[..., :2]).prod(dim=-1) + (targets[..., 2:] - targets[..., :2]).prod(dim=-1)
    return overlap / (area - overlap).clamp(min=torch.finfo(overlap.dtype).tiny)
