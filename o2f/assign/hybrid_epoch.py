"""H-DETR's Hybrid-Epoch scheme on a dense detector (section 4.3): one-to-many targets first, then one-to-one."""

from mmdet.registry import TASK_UTILS
from torch import Tensor

from o2f.assign.centre_region import AnchorGrid
from o2f.assign.matching_score import Instances
from o2f.assign.selection import Selected


@TASK_UTILS.register_module()
class HybridEpochSelection:
    """Switch the selection at one epoch; the degrees beside it should be a constant 1.

    Args:
        one_to_many (dict): config of the selection of the first epochs. FCOS's own targets by default; the 10 best by
            Eq. 1 are ``dict(type='OneToFewSelection', k=10)``.
        one_to_one (dict): config of the selection of the last epochs.
        switch (float): share rho of the epochs that are one-to-many, from 0 to 1; 2/3 in H-DETR.

    Raises:
        ValueError: ``switch`` is out of its range.
    """

    def __init__(
        self,
        one_to_many: dict = dict(type='FCOSSelection'),
        one_to_one: dict = dict(type='OneToFewSelection', k=0),
        switch: float = 2 / 3,
    ) -> None:
        if not 0 <= switch <= 1:
            raise ValueError(f'selection: switch must be between 0 and 1, not {switch!r}')
        self.one_to_many = TASK_UTILS.build(one_to_many)
        self.one_to_one = TASK_UTILS.build(one_to_one)
        self.switch = switch
        self.active = self.one_to_many if switch > 0 else self.one_to_one  # until set_epoch is called

    def set_epoch(self, epoch: int, max_epochs: int) -> None:
        """Choose the targets of epoch ``epoch``, counted from 0: one-to-many while epoch < rho x max_epochs."""
        # A share like 2/3 of 12 must not become 8.000000001.
        self.active = self.one_to_many if epoch < round(self.switch * max_epochs, 6) else self.one_to_one
        for selection in (self.one_to_many, self.one_to_one):  # either may have a schedule of its own
            selection.set_epoch(epoch, max_epochs)

    def __call__(
        self, cls_logits: Tensor, centerness_logits: Tensor, boxes: Tensor, instances: Instances, grid: AnchorGrid
    ) -> Selected:
        """Select as the active selection does; see :meth:`OneToFewSelection.__call__`."""
        return self.active(cls_logits, centerness_logits, boxes, instances, grid)
