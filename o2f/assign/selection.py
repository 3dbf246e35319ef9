"""Which anchors are positive: the top K of each instance by Eq. 1 (section 3.2 and the first half of 3.3)."""

import math
from dataclasses import dataclass
from typing import Optional, Tuple

import torch
from mmdet.registry import TASK_UTILS
from torch import Tensor

from o2f.assign.centre_region import AnchorGrid, Radius
from o2f.assign.matching_score import Candidates, Instances, MatchingScore, one_instance_per_anchor
from o2f.assign.schedule import ScheduleConfig, read_schedule


@dataclass(frozen=True)
class Selected:
    """The anchors selected for each instance. All shapes are (G, S); S is the most that an instance can get.

    Attributes:
        anchor (Tensor): int64, indices among all B x N anchors of the batch.
        p (Tensor): float64, the anchor's joint score for the instance's class.
        kept (Tensor): bool, False where the instance had too few candidates or lost the anchor to another instance.
        certain (Tensor): bool, True for fully positive anchors: one for each instance that kept any, or all of them in
            one-to-many selections.
        iou (Tensor, optional): float64, IoU of the anchor's predicted box with the instance's box. Every selection here
            gives it; [`QualityDegrees`][o2f.QualityDegrees] needs it.
    """

    anchor: Tensor
    p: Tensor
    kept: Tensor
    certain: Tensor
    iou: Optional[Tensor] = None

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
        k (int | dict): K of section 3.3 and Table 2. K = 0 is one-to-one. A
            [`Schedule`][o2f.assign.schedule.Schedule] changes it over the epochs; its numbers are rounded.
        alpha (float): see [`MatchingScore`][].
        metric (str): see [`MatchingScore`][].
        radius (float | str, optional): see [`MatchingScore`][].
        k_includes_certain (bool): True, as released, selects K anchors in all, one of them certain. False, as in the
            paper's text, selects K ambiguous anchors besides the certain one.
        claims (int, optional): how many anchors an instance claims. By default, it claims as many as it keeps. With
            more, it keeps the best of those that it wins, as in YOLO26's one-to-one branch (claims 7, K 0).

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        k: ScheduleConfig = 7,
        alpha: float = 0.8,
        metric: str = 'multiply',
        radius: Radius = 1.5,
        k_includes_certain: bool = True,
        claims: Optional[int] = None,
    ) -> None:
        super().__init__(alpha, metric, radius)
        ends = (k.get('first', 0), k.get('last', 0)) if isinstance(k, dict) else (k,)
        if not all(end >= 0 and end % 1 == 0 for end in ends):
            raise ValueError(f'selection: k must be a whole number, 0 or more, not {k!r}')
        if claims is not None and not (claims >= 1 and claims % 1 == 0):
            raise ValueError(f'selection: claims must be a whole number, 1 or more, not {claims!r}')
        self.schedule = read_schedule(k, 'selection: k')
        self.k_includes_certain = k_includes_certain
        kept = max(map(self._in_all, (self.schedule.first, self.schedule.last)))
        if claims is not None and claims < kept:
            raise ValueError(f'selection: claims must be {kept}, as many as it keeps, or more, not {claims!r}')
        self.claims = claims
        self.num_selected = self._in_all(self.schedule.first)

    def set_epoch(self, epoch: int, max_epochs: int) -> None:
        """Set K for an epoch of ``max_epochs``. Epochs count from 0."""
        self.num_selected = self._in_all(self.schedule.at(epoch, max_epochs))

    def _in_all(self, k: float) -> int:
        """How many anchors an instance keeps, the certain one included."""
        whole = math.floor(k + 0.5)
        return max(whole, 1) if self.k_includes_certain else whole + 1

    @torch.no_grad()
    def __call__(
        self, cls_logits: Tensor, centerness_logits: Tensor, boxes: Tensor, instances: Instances, grid: AnchorGrid
    ) -> Selected:
        """Select for a batch, without a loop over images or instances and without waiting for the device.

        The arguments are those of [`MatchingScore.candidates`][].

        Returns:
            Selected: (G, S) anchors, best first. S is K or ``claims``, or less if Omega has fewer points.
        """
        arguments = cls_logits, centerness_logits, boxes, instances, grid
        anchor, p, iou, score, claimed = self.in_parts(self._claims, *arguments)
        won = one_instance_per_anchor(anchor, score, claimed, num_anchors=boxes.shape[0] * boxes.shape[1])
        rank = won.cumsum(dim=1)  # from 1, among the anchors that the instance won
        return Selected(anchor, p, won & (rank <= self.num_selected), won & (rank == 1), iou)

    def _claims(self, found: Candidates) -> Tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """The best candidates, best first: anchor, joint score, IoU, Eq. 1, and whether it is claimed. All (G, S)."""
        score, order = found.score.where(found.inside, -math.inf).sort(dim=1, descending=True, stable=True)
        wanted = min(self.claims or self.num_selected, score.size(1))
        score, order = score[:, :wanted], order[:, :wanted]
        available = (found.inside & (found.iou > 0)).sum(dim=1, keepdim=True)
        claimed = (score > -math.inf) & (torch.arange(wanted, device=score.device) < available)
        anchor, p, iou = (values.gather(1, order) for values in (found.anchor, found.p, found.iou))
        return anchor, p, iou, score, claimed
