"""DETR's matching cost, by which OneNet selects the anchor of an instance."""

import torch
from torch import Tensor

#: Weights of the three terms, and alpha and gamma of the focal term.
FOCAL, L1, GIOU = 2.0, 5.0, 2.0
ALPHA, GAMMA = 0.25, 2.0


def detr_cost(p: Tensor, boxes: Tensor, targets: Tensor, sides: Tensor) -> Tensor:
    """The cost of giving an anchor to an instance: 2 focal + 5 L1 - 2 GIoU.

    The focal term is the focal loss of p as a positive minus that as a negative. L1 is the sum over the four edges of
    the boxes, which are divided by the width and height of the image, without its padding.

    Args:
        p (Tensor): (...) float64, the anchor's joint score for the instance's class.
        boxes (Tensor): (..., 4) float64, the anchor's predicted box, x1 y1 x2 y2 in pixels.
        targets (Tensor): (..., 4) float64, the instance's box, broadcast against ``boxes``.
        sides (Tensor): (..., 4), width, height, width and height of the instance's image in pixels.

    Returns:
        Tensor: (...) float64, the smaller the better.
    """
    p = p.clamp(1e-8, 1 - 1e-8)
    positive = ALPHA * (1 - p) ** GAMMA * -p.log()
    negative = (1 - ALPHA) * p**GAMMA * -torch.log1p(-p)
    edges = (boxes - targets).abs() / sides
    return FOCAL * (positive - negative) + L1 * edges.sum(dim=-1) - GIOU * _giou(boxes, targets)


def _giou(boxes: Tensor, targets: Tensor) -> Tensor:
    """Generalised IoU of (..., 4) boxes, broadcast. It is -1 of two points far apart, and 0 of equal points."""
    x1, y1, x2, y2 = boxes.unbind(dim=-1)
    left, top, right, bottom = targets.unbind(dim=-1)
    overlap = (torch.minimum(x2, right) - torch.maximum(x1, left)).clamp(min=0)
    overlap = overlap * (torch.minimum(y2, bottom) - torch.maximum(y1, top)).clamp(min=0)
    union = (x2 - x1) * (y2 - y1) + (right - left) * (bottom - top) - overlap
    around = (torch.maximum(x2, right) - torch.minimum(x1, left)) * (torch.maximum(y2, bottom) - torch.minimum(y1, top))
    tiny = torch.finfo(boxes.dtype).tiny
    return overlap / union.clamp(min=tiny) - (around - union) / around.clamp(min=tiny)
