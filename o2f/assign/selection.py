"""Which anchors are positive: the top K of each instance by Eq. 1 (section 3.2 and the first half of 3.3)."""

from dataclasses import dataclass
from typing import Optional, Tuple

import torch
from mmdet.registry import TASK_UTILS
from torch import Tensor

from o2f.assign.centre_region import AnchorGrid
from o2f.assign.matching_score import Candidates, Instances, MatchingScore, one_instance_per_anchor


@dataclass(frozen=True)
class Selected:
    """The anchors selected for each instance. All shapes are (G, S); S is the most that an instance can get.

    Attributes:
        anchor (Tensor): int64, indices among all B x N anchors of the batch.
        p (Tensor): float64, the anchor's joint score for the instance's class.
        kept (Tensor): bool, False where the instance had too few candidates or lost the anchor to another instance.
        certain (Tensor): bool, True for fully positive anchors: one for each instance that kept any, or all of them in
            one-to-many selections.
    """

    anchor: Tensor
    p: Tensor
    kept: Tensor
    certain: Tensor

    @property
    def ambiguous(self) -> Tensor:
        """The set A of Eq. 4, (G, S) bool: anchors that are kept but not certain."""
        return self.kept & ~self.certain


@TASK_UTILS.register_module()
class OneToFewSelection(MatchingScore):
    """The certain anchor and the ambiguous anchors of every instance.

    Each instance claims its top anchors by Eq. 1, but no more than it has anchors in Omega with IoU > 0. An anchor that
    several instances claim goes to the one with the highest S. The best anchor that an instance keeps is certain, its
    others are ambiguous. Ties go to the lower anchor index, then to the lower instance index.

    Args:
        k (int): K of section 3.3 and Table 2. K = 0 is one-to-one.
        alpha (float): see [`MatchingScore`][].
        metric (str): see [`MatchingScore`][].
        radius (float, optional): see [`MatchingScore`][].
        k_includes_certain (bool): True, as released, selects K anchors in all, one of them certain. False, as in the
            paper's text, selects K ambiguous anchors besides the certain one.

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
        """Do nothing: the selection does not depend on the epoch."""

    @torch.no_grad()
    def __call__(
        self, cls_logits: Tensor, centerness_logits: Tensor, boxes: Tensor, instances: Instances, grid: AnchorGrid
    ) -> Selected:
        """Select for a batch, without a loop over images or instances and without waiting for the device.

        The arguments are those of [`MatchingScore.candidates`][].

        Returns:
            Selected: (G, S) anchors, best first. S is K, or less if Omega has fewer points.
        """
        arguments = cls_logits, centerness_logits, boxes, instances, grid
        anchor, p, score, claimed = self.in_parts(self._claims, *arguments)
        kept = one_instance_per_anchor(anchor, score, claimed, num_anchors=boxes.shape[0] * boxes.shape[1])
        certain = kept & (kept.cumsum(dim=1) == 1)
        return Selected(anchor, p, kept, certain)

    def _claims(self, found: Candidates) -> Tuple[Tensor, Tensor, Tensor, Tensor]:
        """The best candidates, best first: anchor, joint score, Eq. 1, and whether it is claimed. All are (G, S)."""
        score, order = found.score.where(found.inside, -1).sort(dim=1, descending=True, stable=True)
        wanted = min(self.num_selected, score.size(1))
        score, order = score[:, :wanted], order[:, :wanted]
        available = (found.inside & (found.iou > 0)).sum(dim=1, keepdim=True)
        claimed = (score >= 0) & (torch.arange(wanted, device=score.device) < available)
        return found.anchor.gather(1, order), found.p.gather(1, order), score, claimed
