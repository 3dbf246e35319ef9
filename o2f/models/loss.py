"""The joint score and the classification loss on it, both in log space (section 3.4, Eq. 4).

The joint score is p = s(a) s(b), where s is the sigmoid, a the classification logit and b the centerness logit. BCE on
this product is not safe: in half precision, 1 - p becomes 0 long before the logits are large. Here log p and log(1 - p)
are computed from the logits. They stay accurate, because 1 - s(a) s(b) = s(-a) + s(a) s(-b) is a sum of positive terms.
"""

from typing import Any, Optional, Tuple

import torch
from mmdet.registry import MODELS
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from o2f.assign.selection import Selected


@MODELS.register_module()
class OneToFewLoss(nn.Module):
    """The classification loss of Eq. 4.

    L_cls = sum BCE(p_c, 1) + w sum_A BCE(p_i, t_i) + sum_B FL(p_i, 0), divided by a number of anchors. Here c is the
    certain anchor of each instance and A the set of its ambiguous ones. B holds every (anchor, class) that is not
    positive, so the other classes of a positive anchor are negatives too.

    Args:
        ambiguous_weight (float): w. The released code uses 0.4, the paper's text 1.0.
        negative_weight (float): weight of the negatives in the focal loss, 1 - alpha in RetinaNet's terms.
        gamma (float): exponent of the focal loss for negatives.
        positive_weight (float): weight of the certain term. Eq. 4 has 1.0, with ``positive_gamma`` 0. With 0.25 and 2.0
            the whole is a focal loss on p, as in POTO.
        positive_gamma (float): positives are weighted by |t - p| to this power. At t = 1 this is the (1-p)^gamma of the
            focal loss.
        loss_weight (float): factor on the whole loss.
        use_sigmoid (bool): must be True. MMDetection's heads read it to count the output channels.

    Raises:
        ValueError: ``use_sigmoid`` is False or a weight is negative.
    """

    def __init__(
        self,
        ambiguous_weight: float = 0.4,
        negative_weight: float = 0.75,
        gamma: float = 2.0,
        positive_weight: float = 1.0,
        positive_gamma: float = 0.0,
        loss_weight: float = 1.0,
        use_sigmoid: bool = True,
    ) -> None:
        super().__init__()
        if not use_sigmoid:
            raise ValueError('loss_cls: OneToFewLoss knows only use_sigmoid=True')
        if min(ambiguous_weight, negative_weight, gamma, positive_weight, positive_gamma, loss_weight) < 0:
            raise ValueError('loss_cls: weights and gammas must be 0 or more')
        self.ambiguous_weight = ambiguous_weight
        self.negative_weight = negative_weight
        self.gamma = gamma
        self.positive_weight = positive_weight
        self.positive_gamma = positive_gamma
        self.loss_weight = loss_weight

    def forward(
        self,
        cls_logits: Tensor,
        centerness_logits: Tensor,
        labels: Tensor,
        selected: Selected,
        degrees: Tensor,
        avg_factor: Tensor,
        ignored: Optional[Tensor] = None,
    ) -> Tensor:
        """Compute the loss of one batch.

        Args:
            cls_logits (Tensor): (B, N, C) classification logits.
            centerness_logits (Tensor): (B, N) centerness logits.
            labels (Tensor): (G,) int64, the class of each instance.
            selected (Selected): (G, S) anchors of each instance.
            degrees (Tensor): (G, S) positive degrees t.
            avg_factor (Tensor): scalar, the divisor of the loss.
            ignored (Tensor, optional): (B x N,) bool, anchors that are not negatives of any class.

        Returns:
            Tensor: scalar, in float32 or better, whatever the dtype of the logits and autocast.
        """
        with torch.autocast(cls_logits.device.type, enabled=False):
            a, b = at_least_float32(cls_logits).flatten(0, 1), at_least_float32(centerness_logits).flatten()
            positive = self._positives(a, b, labels, selected, degrees.to(a.dtype))
            is_negative = _is_negative(a, labels, selected)
            if ignored is not None:
                is_negative &= ~ignored.unsqueeze(-1)
            negative = _NegativeLoss.apply(a, b, is_negative, self.negative_weight, self.gamma)
            return self.loss_weight * (positive + negative) / avg_factor

    def _positives(self, a: Tensor, b: Tensor, labels: Tensor, selected: Selected, t: Tensor) -> Tensor:
        """The first two sums of Eq. 4. BCE(p_c, 1) is BCE(p, t) at t = 1."""
        log_p, log_not_p = log_joint(a[selected.anchor, labels.unsqueeze(-1)], b[selected.anchor])
        bce = -t * log_p - (1 - t) * log_not_p
        if self.positive_gamma:
            # For exponents below 1, the gradient of the power is not finite at 0.
            error = (t - log_p.exp()).abs().clamp(min=torch.finfo(t.dtype).tiny)
            bce = bce * error**self.positive_gamma
        certain, ambiguous = selected.certain.to(bce.dtype), selected.ambiguous.to(bce.dtype)
        return ((self.positive_weight * certain + self.ambiguous_weight * ambiguous) * bce).sum()


def _is_negative(a: Tensor, labels: Tensor, selected: Selected) -> Tensor:
    """The set B of Eq. 4, (B x N, C) bool."""
    negative = a.new_ones(a.numel() + 1, dtype=torch.bool)
    element = selected.anchor * a.size(1) + labels.unsqueeze(-1)
    # Anchors that were not kept write to an extra element at the end. Filtering them out would make the device wait.
    negative.index_fill_(0, element.where(selected.kept, a.numel()).flatten(), False)
    return negative[:-1].view_as(a)


class _NegativeLoss(torch.autograd.Function):
    """The sum of w p^gamma * -log(1-p) over the negatives.

    Almost all elements are negatives, so the loss spends most of its time and memory here. Autograd on the formula
    would keep one map for each operation. This function keeps only the gradient, computed in the forward pass.
    Intermediate values exist for one block of anchors at a time.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, is_negative: Tensor, weight: float, gamma: float) -> Tensor:
        rows = max(1, _BLOCK.get(a.device.type, _LARGE_BLOCK) // max(a.size(1), 1))
        total, grad_a, grad_b = a.new_zeros(()), torch.empty_like(a), torch.empty_like(b)
        maps = (a, b, is_negative, grad_a, grad_b)
        for of_a, of_b, chosen, into_a, into_b in zip(*(map_.split(rows) for map_ in maps)):
            total += _focal_negatives(of_a, of_b.unsqueeze(-1), chosen, weight, gamma, into_a, into_b)
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(grad_a, grad_b)
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tuple[Optional[Tensor], ...]:
        grad_a, grad_b = ctx.saved_tensors
        return grad_a * grad, grad_b * grad, None, None, None


#: Elements of a block. On a CPU its temporaries stay in the cache; on a GPU it is large enough to fill the device.
_BLOCK = dict(cpu=1 << 17)
_LARGE_BLOCK = 1 << 24
#: sigmoid(-_FAR) is still a normal number in single precision.
_FAR = 80.0


def _focal_negatives(
    a: Tensor, b: Tensor, is_negative: Tensor, weight: float, gamma: float, grad_a: Tensor, grad_b: Tensor
) -> Tensor:
    """Sum the focal terms of (n, C) logits ``a`` with (n, 1) logits ``b``.

    The derivatives of the sum are written into ``grad_a`` (n, C) and ``grad_b`` (n,). Let q = s(-a), r = s(-b) and
    L = -log(1-p). The derivative of p^g L by a is p^g (g L + p / (1-p)) q. The derivative by b has r in place of q.
    1 - p = q + s(a) r is a sum of positive terms, so it is exact however near p is to 1.
    """
    # For very large logits, 1-p would underflow. Subtracting off from both logits multiplies q, r and 1-p by e^off.
    off = torch.minimum(a, b).sub_(_FAR).clamp_(min=0)
    not_a, not_b, p = torch.sigmoid(off - a), torch.sigmoid(off - b), torch.sigmoid(a)
    not_p = torch.addcmul(not_a, p, not_b).clamp_(max=1 - torch.finfo(a.dtype).eps / 2)
    p *= torch.sigmoid(b)
    # L = p * log(x) / (x-1) with x = 1-p. Near x = 1 the quotient hardly changes, so L stays exact where x rounds to 1.
    loss = torch.log(not_p).div_(not_p - 1).mul_(p).add_(off)
    focus = (p**gamma).mul_(is_negative).mul_(weight)
    total = (focus * loss).sum()
    pull = loss.mul_(gamma).add_(p.div_(not_p)).mul_(focus)
    torch.mul(pull, not_a, out=grad_a)
    torch.sum(pull.mul_(not_b), dim=-1, out=grad_b)
    return total


def at_least_float32(x: Tensor) -> Tensor:
    """``x`` in single precision, or as it is if it has that or double precision."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def log_joint(a: Tensor, b: Tensor) -> Tuple[Tensor, Tensor]:
    """Compute log p and log(1 - p) of the joint score p = sigmoid(a) * sigmoid(b).

    Args:
        a (Tensor): classification logits of any shape.
        b (Tensor): centerness logits, broadcast against ``a``. With +inf, p is sigmoid(a).

    Returns:
        tuple[Tensor, Tensor]: log p and log(1 - p), both of the broadcast shape. They are finite for all finite logits
            and for b = +inf.
    """
    log_a, log_b = logsigmoid(a), logsigmoid(b)
    return log_a + log_b, torch.logaddexp(logsigmoid(-a), log_a + logsigmoid(-b))
