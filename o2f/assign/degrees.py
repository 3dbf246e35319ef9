"""How positive an ambiguous anchor is, and how that falls over training (section 3.3, Eq. 3)."""

from typing import Dict

import torch
from mmdet.registry import TASK_UTILS
from torch import Tensor

from o2f.assign.schedule import ScheduleConfig, read_schedule
from o2f.assign.selection import Selected


@TASK_UTILS.register_module()
class ScheduledDegrees:
    """Positive degrees that change over training: t = p / max p * T^j (Eq. 3, with any schedule of T).

    As in the released code, max p is taken over the instance's ambiguous anchors, without the certain one.

    Args:
        t (float | dict): T^j, a number from 0 to 1 or a [`Schedule`][] of such numbers.

    Raises:
        ValueError: ``t`` is out of its range.
    """

    def __init__(self, t: ScheduleConfig) -> None:
        self.schedule = read_schedule(t, 'degrees: t', 0, 1)
        self.t = self.schedule.first

    def set_epoch(self, epoch: int, max_epochs: int) -> None:
        """Set T^j for epoch j = ``epoch`` of N = ``max_epochs``. Epochs count from 0."""
        self.t = self.schedule.at(epoch, max_epochs)

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
class LinearDegrees(ScheduledDegrees):
    """The paper's degrees: T^j falls linearly from ``t_max`` to ``t_min`` over the epochs (Eq. 3).

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
        super().__init__(dict(first=t_max, last=t_min))


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
        """Compute the positive degrees of a batch; see [`ScheduledDegrees.__call__`][]."""
        return selected.certain.double() + selected.ambiguous.double() * self.t


@TASK_UTILS.register_module()
class QualityDegrees:
    """Degrees by the quality of predictions, for certain and ambiguous anchors alike, as in YOLOv10 and TOOD.

    t = u* m / m* with m = p^a IoU^b. m* and u* are the largest m and the largest IoU of the instance's anchors.

    Args:
        p_power (float): a, 0 or more. YOLOv10 uses 0.5.
        iou_power (float): b, 0 or more. YOLOv10 uses 6. The selection ranks by the same m if its alpha is b / (a + b).

    Raises:
        ValueError: a power is negative.
    """

    def __init__(self, p_power: float = 0.5, iou_power: float = 6.0) -> None:
        if not min(p_power, iou_power) >= 0:
            raise ValueError(f'degrees: powers must be 0 or more, not {p_power!r} and {iou_power!r}')
        self.p_power = p_power
        self.iou_power = iou_power

    def set_epoch(self, epoch: int, max_epochs: int) -> None:
        """Do nothing: the degrees do not depend on the epoch."""

    @torch.no_grad()
    def __call__(self, selected: Selected) -> Tensor:
        """Compute the positive degrees of a batch.

        Args:
            selected (Selected): (G, S) anchors of each instance, with their IoU.

        Returns:
            Tensor: (G, S) float64, 0 for anchors that are not kept.
        """
        assert selected.iou is not None  # every selection of o2f gives it
        iou = selected.iou.where(selected.kept, 0)
        quality = (selected.p**self.p_power * iou**self.iou_power).where(selected.kept, 0)
        best = quality.amax(dim=1, keepdim=True).clamp(min=torch.finfo(quality.dtype).tiny)
        return quality / best * iou.amax(dim=1, keepdim=True)


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
