"""Regions to ignore, such as those of CrowdHuman (section 4.4).

The authors' code trains anchors in them as negatives, and so does the default here. With ``ignore_regions=True`` a head
leaves them out.
"""

from typing import List, Optional, Sequence

import torch
from mmdet.models.dense_heads import FCOSHead
from mmdet.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor

from o2f.assign.centre_region import AnchorGrid, grid_of, points_of


def ignored_points(
    truth: Sequence[InstanceData], ignored: Optional[Sequence[InstanceData]], grid: AnchorGrid, device: torch.device
) -> Tensor:
    """Find the anchor points that lie in a region to ignore and in no instance's box.

    A person who is annotated inside such a region is known. In the person's box, anchors still learn not to detect that
    person twice.

    Args:
        truth (sequence[InstanceData]): ``bboxes`` (n, 4) of each image's instances, in pixels.
        ignored (sequence[InstanceData | None], optional): ``bboxes`` (m, 4) of each image's regions to ignore.
        grid (AnchorGrid): the N anchor points.
        device (torch.device): where to compute.

    Returns:
        Tensor: (B, N) bool, True where the point is ignored.
    """
    points = points_of(grid, device)
    none = torch.zeros(grid.num_points, dtype=torch.bool, device=device)
    return torch.stack(
        [
            _inside_any(points, regions.bboxes) & ~_inside_any(points, instances.bboxes)
            if regions is not None and len(regions)
            else none
            for instances, regions in zip(truth, ignored or [None] * len(truth))
        ]
    )


def _inside_any(points: Tensor, boxes: Tensor) -> Tensor:
    """(N,) bool: whether each of (N, 2) points lies strictly inside one of (n, 4) boxes."""
    points = points.unsqueeze(1)
    return ((points > boxes[:, :2]) & (points < boxes[:, 2:])).all(dim=-1).any(dim=-1)


@MODELS.register_module()
class FCOSHeadWithIgnore(FCOSHead):
    """MMDetection's FCOS head that can leave points in regions to ignore out of the classification loss.

    Args:
        *args (Any): arguments of MMDetection's ``FCOSHead``.
        ignore_regions (bool): leave these points out. Otherwise the losses are those of ``FCOSHead``.
        **kwargs (Any): arguments of MMDetection's ``FCOSHead``.
    """

    def __init__(self, *args, ignore_regions: bool = False, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.ignore_regions = ignore_regions

    def loss_by_feat(
        self,
        cls_scores: List[Tensor],
        bbox_preds: List[Tensor],
        centernesses: List[Tensor],
        batch_gt_instances: List[InstanceData],
        batch_img_metas: List[dict],
        batch_gt_instances_ignore: Optional[List[InstanceData]] = None,
    ) -> dict:
        """Compute the losses of ``FCOSHead``. Positive points all lie in a box, so none of them is ignored.

        Args:
            cls_scores (list[Tensor]): classification logits, (B, C, H, W) per level.
            bbox_preds (list[Tensor]): distances, (B, 4, H, W) per level.
            centernesses (list[Tensor]): centerness logits, (B, 1, H, W) per level.
            batch_gt_instances (list[InstanceData]): ``bboxes`` (n, 4) in pixels and ``labels`` (n,) of each image.
            batch_img_metas (list[dict]): meta information that ``FCOSHead`` needs for each image.
            batch_gt_instances_ignore (list[InstanceData], optional): ``bboxes`` (m, 4) in pixels, the regions to ignore
                of each image.

        Returns:
            dict[str, Tensor]: ``loss_cls``, ``loss_bbox`` and ``loss_centerness``, scalars.
        """
        if self.ignore_regions:
            grid = grid_of(cls_scores, self.strides)
            ignored = ignored_points(batch_gt_instances, batch_gt_instances_ignore, grid, cls_scores[0].device)
            levels = ignored.split([height * width for height, width in grid.shapes], dim=1)
            # A negative with a logit far below zero has no loss, and a constant has no gradient.
            cls_scores = [
                score.masked_fill(level.view(-1, 1, *score.shape[-2:]), -100.0)
                for score, level in zip(cls_scores, levels)
            ]
        return super().loss_by_feat(
            cls_scores, bbox_preds, centernesses, batch_gt_instances, batch_img_metas, batch_gt_instances_ignore
        )
