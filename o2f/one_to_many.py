"""One-to-many selections, in which every selected anchor is fully positive: for DeFCN's auxiliary loss and for the
first part of Hybrid-Epoch."""

from types import SimpleNamespace
from typing import Sequence, Tuple

import torch
from mmdet.models.dense_heads.condinst_head import CondInstBboxHead
from mmdet.registry import TASK_UTILS
from mmengine.structures import InstanceData
from torch import Tensor

from o2f.centre_region import Grid, points_of
from o2f.matching_score import Instances, MatchingScore, one_instance_per_anchor
from o2f.selection import Selected


@TASK_UTILS.register_module()
class FCOSSelection:
    """FCOS's own targets: points near the box's middle whose box fits the level's size range; the smallest box wins.

    The rule is MMDetection's. Its CondInst head is asked, as it also says which instance a point belongs to.

    Args:
        regress_ranges (sequence): smallest and greatest distance to a box's edge per level, in pixels.
        radius (float): half-side of the centre region in strides.
    """

    def __init__(
        self,
        regress_ranges: Sequence[Tuple[float, float]] = ((-1, 64), (64, 128), (128, 256), (256, 512), (512, 1e8)),
        radius: float = 1.5,
    ) -> None:
        self.regress_ranges = regress_ranges
        self.radius = radius

    def set_epoch(self, epoch: int, max_epochs: int) -> None:
        """Nothing changes by epoch."""

    @torch.no_grad()
    def __call__(
        self, cls_logits: Tensor, centerness_logits: Tensor, boxes: Tensor, instances: Instances, grid: Grid
    ) -> Selected:
        """Select for a batch; the arguments are those of :meth:`MatchingScore.candidates`.

        Returns:
            Selected: (G, S) anchors, S the most that an instance has and at least 1, all of them certain.

        Raises:
            ValueError: there are not as many ranges as levels.
        """
        if len(self.regress_ranges) != len(grid.shapes):
            raise ValueError(f'FCOSSelection: {len(self.regress_ranges)} regress_ranges, but {len(grid.shapes)} levels')
        owners = [self._owners(instances, image, grid) for image in range(len(boxes))]
        anchor, instance = (torch.cat(part) for part in zip(*owners))
        anchor, kept = _by_instance(anchor, instance, len(instances.labels))
        a = cls_logits.flatten(0, 1)[anchor, instances.labels.unsqueeze(-1)].double()
        p = a.sigmoid() * centerness_logits.flatten()[anchor].double().sigmoid()
        return Selected(anchor, p, kept, kept)

    def _owners(self, instances: Instances, image: int, grid: Grid) -> Tuple[Tensor, Tensor]:
        """Anchors of one image that are positive, and the instance of each: two (P,) of indices in the batch."""
        rows = (instances.image == image).nonzero().squeeze(1)
        points = points_of(grid, instances.boxes.device)
        sizes = [height * width for height, width in grid.shapes]
        ranges = [points.new_tensor(pair).expand(size, 2) for pair, size in zip(self.regress_ranges, sizes)]
        head = SimpleNamespace(
            num_classes=1 << 30,  # its label of the background, above every class
            center_sampling=True,
            center_sample_radius=self.radius,
            strides=grid.strides,
        )
        truth = InstanceData(bboxes=instances.boxes[rows], labels=instances.labels[rows])
        _, _, anchor, owner = CondInstBboxHead._get_targets_single(head, truth, points, torch.cat(ranges), sizes)
        return anchor + image * grid.num_points, rows[owner]


@TASK_UTILS.register_module()
class QualityATSSSelection(MatchingScore):
    """DeFCN's auxiliary targets in ATSS's manner, by the quality of predictions instead of distances and anchor boxes.

    Candidates are the ``topk`` best of each level by Eq. 1 without its indicator. Those that reach the mean plus the
    standard deviation of all of the instance's candidates and lie in the box are positive; ties go to the best quality.

    Args:
        topk (int): candidates per level, or all points of a level that has fewer.
        alpha (float): weight of the IoU in the quality.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(self, topk: int = 9, alpha: float = 0.8) -> None:
        super().__init__(alpha, 'multiply', radius=None)
        if not (topk >= 1 and topk % 1 == 0):
            raise ValueError(f'selection: topk must be a whole number, 1 or more, not {topk!r}')
        self.topk = int(topk)

    def set_epoch(self, epoch: int, max_epochs: int) -> None:
        """Nothing changes by epoch."""

    @torch.no_grad()
    def __call__(
        self, cls_logits: Tensor, centerness_logits: Tensor, boxes: Tensor, instances: Instances, grid: Grid
    ) -> Selected:
        """Select for a batch; the arguments are those of :meth:`MatchingScore.candidates`.

        Returns:
            Selected: (G, S) anchors, S = topk x levels or fewer, all of them certain.
        """
        found = self.candidates(cls_logits, centerness_logits, boxes, instances, grid)
        order = torch.cat(
            [
                level.topk(min(self.topk, level.size(1)), dim=1).indices + first
                for level, first in zip(found.score.split([h * w for h, w in grid.shapes], dim=1), grid.offsets)
            ],
            dim=1,
        )
        quality, anchor = found.score.gather(1, order), found.anchor.gather(1, order)
        mean = quality.mean(dim=1, keepdim=True)
        # Tensor.std warns where there is no instance, and is NaN of a single candidate.
        variance = (quality - mean).square().sum(dim=1, keepdim=True) / max(quality.size(1) - 1, 1)
        claimed = (quality >= mean + variance.sqrt()) & found.inside.gather(1, order)
        kept = one_instance_per_anchor(anchor, quality, claimed, num_anchors=boxes.shape[0] * boxes.shape[1])
        return Selected(anchor, found.p.gather(1, order), kept, kept)


def _by_instance(anchor: Tensor, instance: Tensor, count: int) -> Tuple[Tensor, Tensor]:
    """(P,) anchors and their instances as (G, S) anchors with a mask, S the most that an instance has, at least 1."""
    instance, order = instance.sort(stable=True)
    sizes = torch.bincount(instance, minlength=count)
    place = torch.arange(len(instance), device=anchor.device) - (sizes.cumsum(0) - sizes)[instance]
    table = anchor.new_zeros(count, max(int(sizes.max()), 1) if count else 1)
    kept = torch.zeros_like(table, dtype=torch.bool)
    table[instance, place], kept[instance, place] = anchor[order], True
    return table, kept
