"""The joint score p = sigmoid(classification) x sigmoid(centerness) of section 3.4, in log space.

BCE on the product of two sigmoids is not safe: in half precision 1 - p is 0 long before the logits are large. Both
logarithms come from the logits without that loss, as 1 - s(a) s(b) = s(-a) + s(a) s(-b) is a sum of positive terms.
"""

from typing import Tuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


def log_joint(a: Tensor, b: Tensor) -> Tuple[Tensor, Tensor]:
    """log p and log(1 - p) of p = sigmoid(a) * sigmoid(b).

    Args:
        a (Tensor): classification logits, any shape.
        b (Tensor): centerness logits, broadcast against ``a``; may be +inf, so that p = sigmoid(a).

    Returns:
        tuple[Tensor, Tensor]: log p and log(1 - p), of the broadcast shape; finite for all finite logits and
        at b = +inf.
    """
    log_a, log_b = logsigmoid(a), logsigmoid(b)
    return log_a + log_b, torch.logaddexp(logsigmoid(-a), log_a + logsigmoid(-b))
