"""One-to-many selections, in which every selected anchor is fully positive (section 4.3, Table 5).

DeFCN's auxiliary loss and the first part of Hybrid-Epoch use them.
"""

from functools import lru_cache, partial
from typing import Optional, Sequence, Tuple

import torch
from mmdet.registry import TASK_UTILS
from torch import Tensor

from o2f.assign.centre_region import AnchorGrid, candidate_points, points_of
from o2f.assign.matching_score import Candidates, Instances, MatchingScore, box_iou, one_instance_per_anchor
from o2f.assign.selection import Selected


@TASK_UTILS.register_module()
class FCOSSelection:
    """FCOS's own targets.

    An anchor is positive for a box if it lies near the box's centre and the box fits the size range of its level. If
    several boxes claim an anchor, the smallest wins; of boxes with equal areas, the first in the image. The targets are
    exactly those of MMDetection's FCOS with centre sampling. Omega is always centred on the boxes: the instances'
    ``centres`` are not used.

    Args:
        regress_ranges (sequence): for each level, the smallest and the largest distance in pixels from a point to the
            farthest edge of its box. Both ends belong to the range.
        radius (float, optional): half-side of the centre region in strides. With None, as without centre sampling, it
            is the whole box.

    Raises:
        ValueError: ``radius`` is not above 0.
    """

    def __init__(
        self,
        regress_ranges: Sequence[Tuple[float, float]] = ((-1, 64), (64, 128), (128, 256), (256, 512), (512, 1e8)),
        radius: Optional[float] = 1.5,
    ) -> None:
        if radius is not None and not 0 < radius < float('inf'):
            raise ValueError(f'selection: radius must be above 0, not {radius!r}')
        self.regress_ranges = tuple((low, high) for low, high in regress_ranges)
        self.radius = radius

    def set_epoch(self, epoch: int, max_epochs: int) -> None:
        """Do nothing: the selection does not depend on the epoch."""

    @torch.no_grad()
    def __call__(
        self, cls_logits: Tensor, centerness_logits: Tensor, boxes: Tensor, instances: Instances, grid: AnchorGrid
    ) -> Selected:
        """Select for a batch, without a loop over images or instances and without waiting for the device.

        The arguments are those of [`MatchingScore.candidates`][].

        Returns:
            Selected: (G, M) anchors, with the M of [`candidate_points`][]. All anchors that are kept are certain.

        Raises:
            ValueError: the number of ranges is not the number of levels.
        """
        if len(self.regress_ranges) != len(grid.shapes):
            raise ValueError(f'FCOSSelection: {len(self.regress_ranges)} regress_ranges, but {len(grid.shapes)} levels')
        index, inside = candidate_points(instances.boxes, grid, self.radius)
        claimed = inside & self._in_range(index, instances.boxes, grid)
        anchor = index + (instances.image * grid.num_points).unsqueeze(-1)
        area = (instances.boxes[:, 2:] - instances.boxes[:, :2]).prod(dim=1, keepdim=True).expand(anchor.shape)
        kept = one_instance_per_anchor(anchor, -area, claimed, num_anchors=boxes.shape[0] * boxes.shape[1])
        a = cls_logits.flatten(0, 1)[anchor, instances.labels.unsqueeze(-1)].double()
        p = a.sigmoid() * centerness_logits.flatten()[anchor].double().sigmoid()
        iou = box_iou(boxes.flatten(0, 1)[anchor].double(), instances.boxes.unsqueeze(1).double())
        return Selected(anchor, p, kept, kept, iou)

    def _in_range(self, index: Tensor, boxes: Tensor, grid: AnchorGrid) -> Tensor:
        """(G, M) bool: whether the distance from the point to the box's farthest edge is in the range of its level."""
        points = points_of(grid, boxes.device)[index]
        farthest = torch.cat((points - boxes[:, None, :2], boxes[:, None, 2:] - points), dim=-1).amax(dim=-1)
        # Candidates are ordered by level. Without a radius they are all points, else as many of each level.
        sizes = [height * width for height, width in grid.shapes]
        if self.radius is not None:
            sizes = [index.size(1) // len(sizes)] * len(sizes)
        low, high = _range_table(self.regress_ranges, tuple(sizes), boxes.device)
        return (farthest >= low) & (farthest <= high)


@lru_cache(maxsize=64)
def _range_table(ranges: Tuple[Tuple[float, float], ...], sizes: Tuple[int, ...], device: torch.device) -> Tensor:
    """(2, M) float32 on ``device``: the smallest and largest distance of each candidate, of which each level has
    ``sizes``. It is copied there once."""
    ends = [[range_[end] for range_, size in zip(ranges, sizes) for _ in range(size)] for end in (0, 1)]
    return torch.tensor(ends, dtype=torch.float32, device=device)


@TASK_UTILS.register_module()
class QualityATSSSelection(MatchingScore):
    """DeFCN's auxiliary targets: ATSS with the quality of predictions in place of distances and anchor boxes.

    The candidates of an instance are the ``topk`` best anchors of each level by Eq. 1 without its indicator. A
    candidate is positive if it lies in the box and its quality is at least the mean plus the standard deviation over
    the instance's candidates. An anchor that several instances claim goes to the one with the best quality.

    Args:
        topk (int): candidates per level. A level with fewer points gives all of them.
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
        """Do nothing: the selection does not depend on the epoch."""

    @torch.no_grad()
    def __call__(
        self, cls_logits: Tensor, centerness_logits: Tensor, boxes: Tensor, instances: Instances, grid: AnchorGrid
    ) -> Selected:
        """Select for a batch. The arguments are those of [`MatchingScore.candidates`][].

        Returns:
            Selected: (G, S) anchors, where S is at most topk x levels. All anchors that are kept are certain.
        """
        arguments = cls_logits, centerness_logits, boxes, instances, grid
        anchor, p, iou, quality, claimed = self.in_parts(partial(self._claims, grid), *arguments)
        kept = one_instance_per_anchor(anchor, quality, claimed, num_anchors=boxes.shape[0] * boxes.shape[1])
        return Selected(anchor, p, kept, kept, iou)

    def _claims(self, grid: AnchorGrid, found: Candidates) -> Tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """The best of each level: anchor, joint score, IoU, quality, and whether it is positive. All are (G, S)."""
        order = torch.cat(
            [
                level.topk(min(self.topk, level.size(1)), dim=1).indices + first
                for level, first in zip(found.score.split([h * w for h, w in grid.shapes], dim=1), grid.offsets)
            ],
            dim=1,
        )
        quality = found.score.gather(1, order)
        mean = quality.mean(dim=1, keepdim=True)
        # Tensor.std warns if there is no instance, and gives NaN for a single candidate.
        variance = (quality - mean).square().sum(dim=1, keepdim=True) / max(quality.size(1) - 1, 1)
        claimed = (quality >= mean + variance.sqrt()) & found.inside.gather(1, order)
        anchor, p, iou = (values.gather(1, order) for values in (found.anchor, found.p, found.iou))
        return anchor, p, iou, quality, claimed
