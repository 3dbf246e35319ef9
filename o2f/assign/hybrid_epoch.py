"""H-DETR's Hybrid-Epoch scheme for a dense detector: one-to-many targets first, then one-to-one (section 4.3)."""

from mmdet.registry import TASK_UTILS
from torch import Tensor

from o2f.assign.centre_region import AnchorGrid
from o2f.assign.matching_score import Instances
from o2f.assign.selection import Selected


@TASK_UTILS.register_module()
class HybridEpochSelection:
    """One-to-many targets in the first epochs, one-to-one targets in the last (Hybrid-Epoch).

    Combine it with degrees of a constant 1.

    Args:
        one_to_many (dict): config of the selection of the first epochs. The default is FCOS's own targets.
            ``dict(type='OneToFewSelection', k=10)`` takes the 10 best anchors by Eq. 1.
        one_to_one (dict): config of the selection of the last epochs.
        switch (float): rho, the share of the epochs that are one-to-many, from 0 to 1. H-DETR uses 2/3.

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
        """Choose the targets of an epoch: one-to-many while epoch < rho x max_epochs. Epochs count from 0."""
        # Rounding keeps a share such as 2/3 of 12 from becoming 8.000000001.
        self.active = self.one_to_many if epoch < round(self.switch * max_epochs, 6) else self.one_to_one
        for selection in (self.one_to_many, self.one_to_one):  # each may have its own schedule
            selection.set_epoch(epoch, max_epochs)

    def __call__(
        self, cls_logits: Tensor, centerness_logits: Tensor, boxes: Tensor, instances: Instances, grid: AnchorGrid
    ) -> Selected:
        """Select with the active selection. The arguments are those of any selection.

        They are listed under [`MatchingScore.candidates`][o2f.assign.matching_score.MatchingScore.candidates].
        """
        return self.active(cls_logits, centerness_logits, boxes, instances, grid)
