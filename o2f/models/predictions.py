"""What a head predicts for a batch."""

from dataclasses import dataclass

from torch import Tensor

from o2f.assign.centre_region import AnchorGrid


@dataclass(frozen=True)
class Predictions:
    """A head's outputs over all levels.

    Attributes:
        cls_logits (Tensor): (B, N, C) classification logits.
        factor_logits (Tensor): (B, N) logits of the second factor of the joint score.
        boxes (Tensor): (B, N, 4), x1 y1 x2 y2 in pixels.
        grid (AnchorGrid): the N anchor points.
    """

    cls_logits: Tensor
    factor_logits: Tensor
    boxes: Tensor
    grid: AnchorGrid
