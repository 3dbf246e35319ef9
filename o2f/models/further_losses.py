"""Losses of other detectors beside Eq. 4 and Eq. 5: FCOS's centerness, DETR's L1, and PSS's order of scores."""

from typing import Optional

import torch
from mmdet.registry import MODELS
from mmdet.utils import reduce_mean
from torch import Tensor, nn

from o2f.assign.centre_region import points_of
from o2f.assign.matching_score import Instances
from o2f.assign.selection import Selected
from o2f.models.loss import at_least_float32, log_joint
from o2f.models.predictions import Predictions


def centerness_target(points: Tensor, boxes: Tensor) -> Tensor:
    """FCOS's centerness of (..., 2) points in (..., 4) boxes. It is 0 on the edge and outside."""
    near = points - boxes[..., :2]
    far = boxes[..., 2:] - points
    ratio = torch.minimum(near, far).clamp(min=0) / torch.maximum(near, far).clamp(min=torch.finfo(near.dtype).tiny)
    return ratio.prod(dim=-1).sqrt()


def l1(loss: nn.Module, predictions: Predictions, instances: Instances, selected: Selected) -> Tensor:
    """The L1 loss of the positives' boxes, in units of their image's width and height, over the number of positives."""
    predicted = predictions.boxes.flatten(0, 1)[selected.anchor]
    target = instances.boxes.unsqueeze(1).expand_as(predicted)
    sides = instances.sides()
    weight = selected.kept.float().unsqueeze(-1).expand_as(predicted)
    number = reduce_mean(selected.kept.sum().float()).clamp(min=1)
    return loss(predicted / sides, target / sides, weight, avg_factor=number)


def centerness(loss: nn.Module, predictions: Predictions, instances: Instances, selected: Selected) -> Tensor:
    """FCOS's loss of the positives' centerness against their targets, over the number of positives."""
    points = points_of(predictions.grid, predictions.boxes.device)[selected.anchor % predictions.grid.num_points]
    target = centerness_target(points, instances.boxes.unsqueeze(1).expand(*selected.anchor.shape, 4))
    logits = at_least_float32(predictions.factor_logits).flatten()[selected.anchor]
    number = reduce_mean(selected.kept.sum().float()).clamp(min=1)
    return loss(logits.flatten(), target.flatten(), selected.kept.float().flatten(), avg_factor=number)


@MODELS.register_module()
class RankingLoss(nn.Module):
    """PSS's loss on the order of joint scores: each positive should lead each negative by a margin.

    It is the mean of max(0, margin - p + n) over an image's positives p and its highest negatives n, and then over the
    images that have a positive.

    Args:
        loss_weight (float): factor on the loss. PSS uses 0.25.
        margin (float): the lead. PSS uses 0.5.
        negatives (int): how many negatives of an image count.

    Raises:
        ValueError: ``negatives`` is below 1.
    """

    def __init__(self, loss_weight: float = 0.25, margin: float = 0.5, negatives: int = 100) -> None:
        super().__init__()
        if negatives < 1:
            raise ValueError(f'loss_rank: negatives must be 1 or more, not {negatives!r}')
        self.loss_weight = loss_weight
        self.margin = margin
        self.negatives = negatives

    def forward(
        self,
        cls_logits: Tensor,
        factor_logits: Tensor,
        labels: Tensor,
        selected: Selected,
        ignored: Optional[Tensor] = None,
    ) -> Tensor:
        """Compute the loss of one batch.

        Args:
            cls_logits (Tensor): (B, N, C) classification logits.
            factor_logits (Tensor): (B, N) logits of the score factor.
            labels (Tensor): (G,) int64, the class of each instance.
            selected (Selected): (G, S) anchors of each instance.
            ignored (Tensor, optional): (B x N,) bool, anchors that are no negatives.

        Returns:
            Tensor: scalar, 0 if the batch has no positive.
        """
        images, points, classes = cls_logits.shape
        p = log_joint(at_least_float32(cls_logits), at_least_float32(factor_logits).unsqueeze(-1))[0].exp()
        element = selected.anchor * classes + labels.unsqueeze(-1)
        # Anchors that were not kept write to an extra element at the end.
        positive = torch.zeros(p.numel() + 1, dtype=torch.bool, device=p.device)
        positive.index_fill_(0, element.where(selected.kept, p.numel()).flatten(), True)
        scores = p.flatten(1)
        others = scores.masked_fill(positive[:-1].view_as(scores), -torch.inf)
        if ignored is not None:
            others = others.masked_fill(ignored.repeat_interleave(classes).view_as(scores), -torch.inf)
        highest = others.topk(min(self.negatives, others.size(1)), dim=1).values
        of_image = (selected.anchor // points).flatten()
        lead = p.flatten()[element].reshape(-1, 1) - highest[of_image]
        weight = selected.kept.to(p.dtype).flatten()
        # An image may have fewer negatives. The places of its positives then hold -inf, whose hinge is 0.
        negatives = (highest > -torch.inf).sum(dim=1).clamp(min=1)[of_image]
        each = (self.margin - lead).clamp(min=0).sum(dim=1) / negatives * weight
        total, number = (p.new_zeros(images).index_add(0, of_image, values) for values in (each, weight))
        with_positive = reduce_mean((number > 0).sum().float())
        mean = (total / number.clamp(min=1)).sum() / with_positive.clamp(min=1e-6)  # 0 without a positive
        return self.loss_weight * (mean + 0 * p.sum())  # keeps the graph whole
