"""Section 4.5, Table 9: the head of section 3.4 with CondInst's controller, for instance segmentation.

Everything but the targets is CondInst's: MMDetection's mask head reads the positives of :meth:`get_positive_infos` in
training and the candidates of :meth:`predict_by_feat` in inference. Every positive anchor, certain and ambiguous alike,
teaches its instance's mask.
"""

from dataclasses import replace
from typing import Dict, List, Optional, Tuple

import torch
from mmdet.models.dense_heads import CondInstBboxHead
from mmdet.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor, nn

from o2f.head import OneToFewHead
from o2f.matching_score import Instances
from o2f.selection import Selected


@MODELS.register_module()
class OneToFewCondInstHead(OneToFewHead):
    """One-to-few head that also predicts, at each point, the weights of the small network that draws a mask.

    Args:
        num_params (int): number of those weights; 169 for CondInst's three layers of 8 channels on 8 bases and 2
            coordinates.
        region_centre (str): middle of the centre region Omega: 'mask' for the mask's centroid, as released, or 'box'.
        args, kwargs: the rest goes to :class:`OneToFewHead`.

    Raises:
        ValueError: ``region_centre`` or an argument of :class:`OneToFewHead` is out of its range.
    """

    def __init__(self, *args, num_params: int = 169, region_centre: str = 'mask', **kwargs) -> None:
        if region_centre not in ('mask', 'box'):
            raise ValueError(f"bbox_head: region_centre must be 'mask' or 'box', not {region_centre!r}")
        self.num_params = num_params
        self.region_centre = region_centre
        super().__init__(*args, **kwargs)

    def _init_predictor(self) -> None:
        super()._init_predictor()
        self.controller = nn.Conv2d(self.feat_channels, self.num_params, 3, padding=1)

    def forward(self, x: Tuple[Tensor]) -> Tuple[List[Tensor], List[Tensor], List[Tensor], List[Tensor]]:
        """Predict from the FPN's maps.

        Args:
            x (tuple[Tensor]): (B, in_channels, H, W) per level.

        Returns:
            tuple: what :meth:`OneToFewHead.forward` returns, and per level the mask weights (B, num_params, H, W).
        """
        cls_logits, distances, regression = self._forward_towers(x)
        params = [self.controller(map_) for map_ in regression]
        return cls_logits, distances, self._score_factors(regression), params

    def loss_by_feat(
        self,
        cls_scores: List[Tensor],
        bbox_preds: List[Tensor],
        centernesses: List[Tensor],
        param_preds: List[Tensor],
        batch_gt_instances: List[InstanceData],
        batch_img_metas: List[dict],
        batch_gt_instances_ignore: Optional[List[InstanceData]] = None,
    ) -> Dict[str, Tensor]:
        """The losses of :meth:`OneToFewHead.loss_by_feat`; keeps the positives for the mask head.

        Args:
            cls_scores, bbox_preds, centernesses, param_preds (list[Tensor]): what :meth:`forward` returns.
            batch_gt_instances (list[InstanceData]): of each image ``bboxes`` (n, 4) in pixels, ``labels`` (n,), and for
                Omega round the centroids also ``masks`` of n instances; n may be 0.
            batch_img_metas, batch_gt_instances_ignore: see :meth:`OneToFewHead.loss_by_feat`.

        Returns:
            dict[str, Tensor]: those of :meth:`OneToFewHead.loss_by_feat`.
        """
        predictions = self._predictions(cls_scores, bbox_preds, centernesses)
        losses, selected = self._losses_and_targets(predictions, batch_gt_instances, batch_gt_instances_ignore)
        counts = [len(instances) for instances in batch_gt_instances]
        positives = _by_image(selected, counts, predictions.grid.num_points)
        priors = self.prior_generator.grid_priors(
            predictions.grid.shapes, dtype=torch.float32, device=predictions.boxes.device, with_stride=True
        )
        self._raw_positive_infos = dict(
            cls_scores=cls_scores,
            centernesses=centernesses,
            param_preds=param_preds,
            all_level_points=[level[:, :2] for level in priors],
            all_level_strides=[level[:, 2] for level in priors],
            pos_inds_list=[anchor for anchor, _ in positives],
            pos_gt_inds_list=[instance for _, instance in positives],
        )
        return losses

    def _gather_instances(self, batch: List[InstanceData], device: torch.device) -> Instances:
        instances = super()._gather_instances(batch, device)
        if self.region_centre == 'box':
            return instances
        return replace(instances, centres=torch.cat([mask_centroids(image, device) for image in batch]))

    def get_positive_infos(self) -> List[InstanceData]:
        """The positives of the last :meth:`loss_by_feat`, which are then let go with the batch's graph.

        Returns:
            list[InstanceData]: per image, of its P positives, what MMDetection's ``CondInstBboxHead`` gives:
            ``points`` (P, 2), ``strides`` (P,), ``scores`` (P, C) and ``centernesses`` (P, 1), both logits,
            ``param_preds`` (P, num_params), ``pos_assigned_gt_inds`` (P,), the instance of each among the image's, and
            ``pos_inds`` (P,), its anchor among the image's N.
        """
        infos = CondInstBboxHead.get_positive_infos(self)
        self._raw_positive_infos = {}
        return infos

    def predict_by_feat(self, *args, **kwargs) -> List[InstanceData]:
        """The candidates or detections of each image, as MMDetection's ``CondInstBboxHead.predict_by_feat`` has them:
        those of :class:`OneToFewHead`, each with its ``param_preds``, ``points`` and ``strides``."""
        return CondInstBboxHead.predict_by_feat(self, *args, **kwargs)

    def _predict_by_feat_single(
        self,
        cls_score_list: List[Tensor],
        bbox_pred_list: List[Tensor],
        score_factor_list: List[Tensor],
        param_pred_list: List[Tensor],
        mlvl_points: List[Tensor],
        mlvl_strides: List[Tensor],
        img_meta: dict,
        cfg: Optional[dict] = None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> InstanceData:
        """Decode one image as :class:`OneToFewHead` does, carrying what the mask head needs of each candidate."""
        cfg = self.test_cfg if cfg is None else cfg
        levels = []
        for cls_logits, distances, factor_logits, params, points, strides in zip(
            cls_score_list, bbox_pred_list, score_factor_list, param_pred_list, mlvl_points, mlvl_strides
        ):
            of_points = dict(param_preds=params.flatten(1).T, points=points, strides=strides)
            outputs = cls_logits, distances, factor_logits
            levels.append(self._decode_level(*outputs, points, img_meta['img_shape'], cfg, of_points))
        return self._bbox_post_process(InstanceData.cat(levels), cfg, rescale, with_nms, img_meta)


def mask_centroids(instances: InstanceData, device: torch.device) -> Tensor:
    """Centroids of the masks of one image, as MMDetection's CondInst takes them: means of pixel indices.

    Args:
        instances (InstanceData): ``masks`` of n instances and their ``bboxes`` (n, 4) in pixels.
        device (torch.device): where to compute.

    Returns:
        Tensor: (n, 2) float32 x and y in pixels. An instance whose mask has no pixel has its box's middle.
    """
    masks = instances.masks.to_tensor(dtype=torch.bool, device=device)
    columns, rows = masks.sum(dim=1), masks.sum(dim=2)  # integers, so that the moments are exact
    moments = torch.stack([(sums * torch.arange(sums.size(1), device=device)).sum(dim=1) for sums in (columns, rows)])
    area = columns.sum(dim=1)
    middles = (instances.bboxes[:, :2] + instances.bboxes[:, 2:]) / 2
    return torch.where((area > 0).unsqueeze(1), (moments / area.clamp(min=1)).T, middles)


def _by_image(selected: Selected, counts: List[int], num_points: int) -> List[Tuple[Tensor, Tensor]]:
    """The positives of each image: their anchors among its N points, and the instance of each; two (P,)."""
    positives = []
    for image, (anchor, kept) in enumerate(zip(selected.anchor.split(counts), selected.kept.split(counts))):
        instance, place = kept.nonzero(as_tuple=True)
        positives.append((anchor[instance, place] - image * num_points, instance))
    return positives
