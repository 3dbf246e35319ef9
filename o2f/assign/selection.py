"""Section 3.2 and the first half of 3.3: which anchors. The top K by Eq. 1, one instance per anchor."""

from dataclasses import dataclass
from typing import Optional, Tuple

import torch
from mmdet.registry import TASK_UTILS
from torch import Tensor

from o2f.assign.centre_region import AnchorGrid
from o2f.assign.matching_score import Candidates, Instances, MatchingScore, one_instance_per_anchor


@dataclass(frozen=True)
class Selected:
    """The anchors selected for each instance; shapes are (G, S) with S the most an instance can get.

    Attributes:
        anchor (Tensor): int64, index of the anchor among all B x N of the batch.
        p (Tensor): float64, its joint score for the instance's class.
        kept (Tensor): bool, False where the instance had fewer candidates or lost the anchor to another instance.
        certain (Tensor): bool, the fully positive ones: one of each instance that kept any, or in one-to-many all.
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
class OneToFewSelection(MatchingScore):
    """Select the certain anchor and the ambiguous anchors of every instance.

    Each instance wants its top anchors by Eq. 1, no more than it has anchors in Omega with IoU > 0; an anchor wanted by
    several goes to the highest S; the best one that is left is certain, the others are ambiguous. Equal S are settled
    by the lower anchor index, then the lower instance index.

    Args:
        k (int): K of section 3.3 and Table 2. 0 is one-to-one.
        alpha, metric, radius: see :class:`MatchingScore`.
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
        radius: Optional[float] = 1.5,
        k_includes_certain: bool = True,
    ) -> None:
        super().__init__(alpha, metric, radius)
        if not (k >= 0 and k % 1 == 0):
            raise ValueError(f'selection: k must be a whole number, 0 or more, not {k!r}')
        self.num_selected = int(max(k, 1) if k_includes_certain else k + 1)

    def set_epoch(self, epoch: int, max_epochs: int) -> None:
        """Nothing changes by epoch."""

    @torch.no_grad()
    def __call__(
        self, cls_logits: Tensor, centerness_logits: Tensor, boxes: Tensor, instances: Instances, grid: AnchorGrid
    ) -> Selected:
        """Select for a whole batch, without a loop over images or instances and without waiting for the device.

        The arguments are those of :meth:`MatchingScore.candidates`.

        Returns:
            Selected: (G, S) anchors, best first, with S = K, or less if Omega is smaller.
        """
        arguments = cls_logits, centerness_logits, boxes, instances, grid
        anchor, p, score, claimed = self.in_parts(self._claims, *arguments)
        kept = one_instance_per_anchor(anchor, score, claimed, num_anchors=boxes.shape[0] * boxes.shape[1])
        certain = kept & (kept.cumsum(dim=1) == 1)
        return Selected(anchor, p, kept, certain)

    def _claims(self, found: Candidates) -> Tuple[Tensor, Tensor, Tensor, Tensor]:
        """Anchor, joint score and Eq. 1 of the best candidates, best first, and which are wanted; all (G, S)."""
        score, order = found.score.where(found.inside, -1).sort(dim=1, descending=True, stable=True)
        wanted = min(self.num_selected, score.size(1))
        score, order = score[:, :wanted], order[:, :wanted]
        available = (found.inside & (found.iou > 0)).sum(dim=1, keepdim=True)
        claimed = (score >= 0) & (torch.arange(wanted, device=score.device) < available)
        return found.anchor.gather(1, order), found.p.gather(1, order), score, claimed
