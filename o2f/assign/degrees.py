"""How positive an ambiguous anchor is, and how that falls over training (section 3.3, Eq. 3)."""

from typing import Dict

import torch
from mmdet.registry import TASK_UTILS
from torch import Tensor

from o2f.assign.selection import Selected


@TASK_UTILS.register_module()
class LinearDegrees:
    """Positive degrees that fall over training: t = p / max p * T^j (Eq. 3).

    T^j falls linearly from ``t_max`` to ``t_min`` over the epochs. As in the released code, max p is taken over the
    instance's ambiguous anchors, without the certain one.

    Args:
        t_max (float): T^max, the T of the first epoch, from 0 to 1.
        t_min (float): T^min, the T of the last epoch, from 0 to 1.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(self, t_max: float = 0.6, t_min: float = 0.2) -> None:
        for name, value in (('t_max', t_max), ('t_min', t_min)):
            if not 0 <= value <= 1:
                raise ValueError(f'degrees: {name} must be between 0 and 1, not {value!r}')
        self.t_max = t_max
        self.t_min = t_min
        self.t = t_max

    def set_epoch(self, epoch: int, max_epochs: int) -> None:
        """Set T^j for epoch j = ``epoch`` of N = ``max_epochs``. Epochs count from 0."""
        self.t = self.t_max + (self.t_min - self.t_max) * epoch / max(max_epochs - 1, 1)

    @torch.no_grad()
    def __call__(self, selected: Selected) -> Tensor:
        """Compute the positive degrees of a batch.

        Args:
            selected (Selected): (G, S) anchors of each instance.

        Returns:
            Tensor: (G, S) float64: 1 for certain anchors, t for ambiguous ones, 0 for the rest.
        """
        p = selected.p.where(selected.ambiguous, 0)
        ratio = p / p.amax(dim=1, keepdim=True).clamp(min=torch.finfo(p.dtype).tiny)
        return selected.certain + ratio * self.t


@TASK_UTILS.register_module()
class ConstantDegrees:
    """The same degree for every ambiguous anchor in every epoch.

    These are the soft labels of Table 1. With t = 1 the assignment is one-to-many.

    Args:
        t (float): the degree, from 0 to 1.

    Raises:
        ValueError: ``t`` is out of its range.
    """

    def __init__(self, t: float) -> None:
        if not 0 <= t <= 1:
            raise ValueError(f'degrees: t must be between 0 and 1, not {t!r}')
        self.t = t

    def set_epoch(self, epoch: int, max_epochs: int) -> None:
        """Do nothing: the degree does not depend on the epoch."""

    @torch.no_grad()
    def __call__(self, selected: Selected) -> Tensor:
        """Compute the positive degrees of a batch; see [`LinearDegrees.__call__`][]."""
        return selected.certain.double() + selected.ambiguous.double() * self.t


@torch.no_grad()
def positives_per_instance(selected: Selected, degrees: Tensor) -> Dict[str, Tensor]:
    """Count positives: means over the G instances of this rank's batch, 0 if there are none.

    Args:
        selected (Selected): (G, S) anchors of each instance.
        degrees (Tensor): (G, S) positive degrees t.

    Returns:
        dict[str, Tensor]: three scalars. ``certain_anchors`` and ``ambiguous_anchors`` are numbers of anchors per
            instance. ``ambiguous_degree`` is the sum of t over an instance's ambiguous anchors. No name contains
            "loss", because mmengine minimises everything whose name does.
    """
    ambiguous = selected.ambiguous
    totals = dict(
        certain_anchors=selected.certain.sum(),
        ambiguous_anchors=ambiguous.sum(),
        ambiguous_degree=degrees.where(ambiguous, 0).sum(),
    )
    return {name: total.float() / max(len(degrees), 1) for name, total in totals.items()}
