"""Instance segmentation: the head of section 3.4 with CondInst's controller (section 4.5, Table 9).

Only the targets differ from CondInst. In training, MMDetection's mask head reads the positives from
``get_positive_infos``; in inference, it reads the candidates from ``predict_by_feat``. Every positive anchor, certain
or ambiguous, trains its instance's mask. The mask head here adds the semantic branch of the released models.
"""

from dataclasses import replace
from typing import Dict, List, Optional, Sequence, Tuple

import torch
from mmcv.cnn import ConvModule
from mmdet.models.dense_heads import CondInstBboxHead, CondInstMaskHead
from mmdet.models.utils import unpack_gt_instances
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmdet.utils import reduce_mean
from mmengine.model import bias_init_with_prob, normal_init
from mmengine.structures import InstanceData
from torch import Tensor, nn

from o2f.assign.matching_score import Instances
from o2f.assign.selection import Selected
from o2f.models.head import OneToFewHead
from o2f.models.postprocess import candidates_of_level


@MODELS.register_module()
class OneToFewCondInstHead(OneToFewHead):
    """One-to-few head for CondInst. At each point it also predicts the weights of the small network that draws a mask.

    Args:
        *args (Any): arguments of [`OneToFewHead`][].
        num_params (int): number of these weights. CondInst has 169: three layers of 8 channels on 8 bases and 2
            coordinates.
        region_centre (str): centre of Omega: 'mask' is the mask's centroid, as released; 'box' is the box's centre.
        threshold (str): the score that ``test_cfg.score_thr`` applies to in inference. With 'classification', as
            released, each level gives its ``nms_pre`` points of the highest joint score, and of these every class whose
            classification score is above the threshold. 'joint' is the rule of [`OneToFewHead`][]. Both rank by the
            joint score.
        **kwargs (Any): arguments of [`OneToFewHead`][].

    Raises:
        ValueError: ``region_centre``, ``threshold`` or an argument of [`OneToFewHead`][] is out of its range.
    """

    def __init__(
        self,
        *args,
        num_params: int = 169,
        region_centre: str = 'mask',
        threshold: str = 'classification',
        **kwargs,
    ) -> None:
        if region_centre not in ('mask', 'box'):
            raise ValueError(f"bbox_head: region_centre must be 'mask' or 'box', not {region_centre!r}")
        if threshold not in ('classification', 'joint'):
            raise ValueError(f"bbox_head: threshold must be 'classification' or 'joint', not {threshold!r}")
        self.num_params = num_params
        self.region_centre = region_centre
        self.threshold = threshold
        super().__init__(*args, **kwargs)

    def _init_predictor(self) -> None:
        super()._init_predictor()
        self.controller = nn.Conv2d(self.feat_channels, self.num_params, 3, padding=1)

    def predict_from(
        self, classification: List[Tensor], regression: List[Tensor], factor: Optional[str] = None
    ) -> tuple:
        """Predict from the maps of the towers.

        Args:
            classification (list[Tensor]): maps of the classification tower.
            regression (list[Tensor]): maps of the regression tower.
            factor (str, optional): the score factor, if not this head's.

        Returns:
            tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]: the three outputs of
                [`OneToFewHead.forward`][], and per level the weights of the mask network (B, num_params, H, W).
        """
        outputs = super().predict_from(classification, regression, factor)
        return *outputs, [self.controller(map_) for map_ in regression]

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
        """Compute the losses of [`OneToFewHead.loss_by_feat`][], and keep the positives for the mask head.

        Args:
            cls_scores (list[Tensor]): classification logits, from [`OneToFewCondInstHead.predict_from`][].
            bbox_preds (list[Tensor]): distances in pixels, from [`OneToFewCondInstHead.predict_from`][].
            centernesses (list[Tensor]): logits of the score factor, from [`OneToFewCondInstHead.predict_from`][].
            param_preds (list[Tensor]): weights of the mask network, from [`OneToFewCondInstHead.predict_from`][].
            batch_gt_instances (list[InstanceData]): ``bboxes`` (n, 4) in pixels and ``labels`` (n,) of each image. With
                ``region_centre='mask'`` also ``masks``. n may be 0.
            batch_img_metas (list[dict]): see [`OneToFewHead.loss_by_feat`][].
            batch_gt_instances_ignore (list[InstanceData], optional): see [`OneToFewHead.loss_by_feat`][].

        Returns:
            dict[str, Tensor]: the losses of [`OneToFewHead.loss_by_feat`][].
        """
        predictions = self._predictions(cls_scores, bbox_preds, centernesses)
        instances = self._gather_instances(batch_gt_instances, batch_img_metas, predictions.boxes.device)
        losses, selected = self._losses_and_targets(
            predictions, instances, batch_gt_instances, batch_gt_instances_ignore
        )
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

    def _gather_instances(self, batch: List[InstanceData], metas: List[dict], device: torch.device) -> Instances:
        instances = super()._gather_instances(batch, metas, device)
        if self.region_centre == 'box':
            return instances
        return replace(instances, centres=torch.cat([mask_centroids(image, device) for image in batch]))

    def get_positive_infos(self) -> List[InstanceData]:
        """The positives of the last [`OneToFewCondInstHead.loss_by_feat`][]. They are then released with its graph.

        Returns:
            list[InstanceData]: the P positives of each image, in the format of MMDetection's ``CondInstBboxHead``:
                ``points`` (P, 2), ``strides`` (P,), the logits ``scores`` (P, C) and ``centernesses`` (P, 1),
                ``param_preds`` (P, num_params), ``pos_assigned_gt_inds`` (P,), the index of the instance in the image,
                and ``pos_inds`` (P,), the index of the anchor among the image's N.
        """
        infos = CondInstBboxHead.get_positive_infos(self)
        self._raw_positive_infos = {}
        return infos

    def predict_by_feat(self, *args, **kwargs) -> List[InstanceData]:
        """The candidates or detections of each image, as in MMDetection's ``CondInstBboxHead.predict_by_feat``.

        They are those of [`OneToFewHead`][], each with its ``param_preds``, ``points`` and ``strides``."""
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
        """Decode one image as ``OneToFewHead`` does, and keep what the mask head needs of each candidate."""
        cfg = self.test_cfg if cfg is None else cfg
        levels = []
        for cls_logits, distances, factor_logits, params, points, strides in zip(
            cls_score_list, bbox_pred_list, score_factor_list, param_pred_list, mlvl_points, mlvl_strides
        ):
            of_points = dict(param_preds=params.flatten(1).T, points=points, strides=strides)
            outputs = cls_logits, distances, factor_logits
            levels.append(self._decode_level(*outputs, points, img_meta['img_shape'], cfg, of_points))
        return self._bbox_post_process(InstanceData.cat(levels), cfg, rescale, with_nms, img_meta)

    def _candidates(self, cls_scores: Tensor, joint: Tensor, cfg: dict) -> Tuple[Tensor, Tensor, Tensor]:
        if self.threshold == 'joint':
            return super()._candidates(cls_scores, joint, cfg)
        point = joint.amax(dim=1).topk(min(candidates_of_level(cfg, len(joint)), len(joint))).indices
        row, label = (cls_scores[point] > cfg.get('score_thr', 0)).nonzero(as_tuple=True)
        point = point[row]
        scores, order = joint[point, label].sort(descending=True)
        return scores, label[order], point[order]


def mask_centroids(instances: InstanceData, device: torch.device) -> Tensor:
    """Compute the centroids of an image's masks as MMDetection's CondInst does: means of pixel indices.

    Args:
        instances (InstanceData): ``masks`` and ``bboxes`` (n, 4) in pixels of n instances.
        device (torch.device): where to compute.

    Returns:
        Tensor: (n, 2) float32, x and y in pixels. If a mask has no pixel, it is the centre of the box.
    """
    masks = instances.masks.to_tensor(dtype=torch.bool, device=device)
    columns, rows = masks.sum(dim=1), masks.sum(dim=2)  # integers keep the moments exact
    moments = torch.stack([(sums * torch.arange(sums.size(1), device=device)).sum(dim=1) for sums in (columns, rows)])
    area = columns.sum(dim=1)
    middles = (instances.bboxes[:, :2] + instances.bboxes[:, 2:]) / 2
    return torch.where((area > 0).unsqueeze(1), (moments / area.clamp(min=1)).T, middles)


def _by_image(selected: Selected, counts: List[int], num_points: int) -> List[Tuple[Tensor, Tensor]]:
    """The P positives of each image: (P,) indices among its N anchors, and (P,) the instance of each."""
    positives = []
    for image, (anchor, kept) in enumerate(zip(selected.anchor.split(counts), selected.kept.split(counts))):
        instance, place = kept.nonzero(as_tuple=True)
        positives.append((anchor[instance, place] - image * num_points, instance))
    return positives


@MODELS.register_module()
class SemanticCondInstMaskHead(CondInstMaskHead):
    """MMDetection's CondInst mask head with a semantic branch on the first map. The branch is used in training only.

    The head also trains on batches without positives. Every parameter then still gets a gradient, which distributed
    training requires. The divisor of the mask loss is averaged over ranks.

    Args:
        *args (Any): arguments of MMDetection's ``CondInstMaskHead``.
        num_classes (int): number of classes, without background.
        semantic_channels (int): channels of the semantic branch's two convolutions, 128 as released.
        loss_semantic (dict): config of the semantic loss. It is divided by the number of pixels that show an instance,
            averaged over ranks and at least 1.
        **kwargs (Any): arguments of MMDetection's ``CondInstMaskHead``.
    """

    def __init__(
        self,
        *args,
        num_classes: int,
        semantic_channels: int = 128,
        loss_semantic: dict = dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25),
        **kwargs,
    ) -> None:
        self.num_classes = num_classes
        self.semantic_channels = semantic_channels
        super().__init__(*args, **kwargs)
        self.loss_semantic = MODELS.build(loss_semantic)
        self._num_masks = 0  # masks of the batch whose loss is being computed

    def _init_layers(self) -> None:
        super()._init_layers()
        features = self.mask_feature_head
        channels = [features.in_channels, self.semantic_channels, self.semantic_channels]
        self.semantic_convs = nn.Sequential(
            *(
                ConvModule(before, after, 3, padding=1, bias=False, norm_cfg=features.norm_cfg)
                for before, after in zip(channels, channels[1:])
            )
        )
        self.semantic_pred = nn.Conv2d(channels[-1], self.num_classes, 1)

    def init_weights(self) -> None:
        """Draw the weights of all convolutions with a standard deviation of 0.01, as released.

        The semantic branch starts with scores of 0.01. MMDetection's CondInst draws larger weights for the convolution
        that predicts the mask bases.
        """
        super().init_weights()
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                normal_init(module, std=0.01)
        normal_init(self.semantic_pred, std=0.01, bias=bias_init_with_prob(0.01))

    def forward_single(self, mask_feat: Tensor, positive_info: InstanceData) -> Tuple[Tensor]:
        """Draw the masks of one image.

        Args:
            mask_feat (Tensor): (8, H, W), the mask bases.
            positive_info (InstanceData): ``param_preds``, ``points`` and ``strides`` of P positives or candidates.

        Returns:
            tuple[Tensor]: mask logits (P, H', W') at the output stride.
        """
        if len(positive_info.param_preds) == 0:  # empty, but part of the graph
            return (mask_feat[:0] + positive_info.param_preds.sum(),)
        return super().forward_single(mask_feat, positive_info)

    def loss(
        self, x: Sequence[Tensor], batch_data_samples: SampleList, positive_infos: List[InstanceData], **kwargs
    ) -> Dict[str, Tensor]:
        """Compute the losses of one batch.

        Args:
            x (sequence[Tensor]): (B, in_channels, H, W) per level.
            batch_data_samples (list[DetDataSample]): samples with ``labels`` and ``masks``. The masks cover the padded
                image.
            positive_infos (list[InstanceData]): the positives, from the box head's ``get_positive_infos``.
            **kwargs (Any): further arguments of MMDetection's ``CondInstMaskHead.loss``.

        Returns:
            dict[str, Tensor]: ``loss_mask`` and ``loss_semantic``, scalars.
        """
        losses = super().loss(x, batch_data_samples, positive_infos, **kwargs)
        truth = unpack_gt_instances(batch_data_samples)[0]
        return dict(losses, loss_semantic=self._semantic_loss(x[self.mask_feature_head.start_level], truth))

    def loss_by_feat(self, mask_preds: List[Tensor], *args, **kwargs) -> Dict[str, Tensor]:
        """Compute ``loss_mask`` of MMDetection's ``CondInstMaskHead`` with two changes.

        The divisor is the number of masks, averaged over ranks and at least 1. Images without positives stay part of
        the graph.

        Args:
            mask_preds (list[Tensor]): mask logits (P, H', W') of each image.
            *args (Any): further arguments of ``CondInstMaskHead.loss_by_feat``.
            **kwargs (Any): the same.

        Returns:
            dict[str, Tensor]: ``loss_mask``, a scalar.
        """
        self._num_masks = 0
        loss = super().loss_by_feat(mask_preds, *args, **kwargs)['loss_mask']
        averaged = reduce_mean(loss.new_tensor(float(self._num_masks))).clamp(min=1)
        loss = loss * (max(self._num_masks, 1) / averaged)
        return dict(loss_mask=loss + sum(masks.sum() for masks in mask_preds if len(masks) == 0))

    def _get_targets_single(self, *args) -> Tuple[Tensor, Optional[Tensor], int]:
        """The masks of one image that are trained, their targets, and their number, which is added to the count."""
        found = super()._get_targets_single(*args)
        self._num_masks += found[-1]
        return found

    def _semantic_loss(self, x: Tensor, batch_gt_instances: List[InstanceData]) -> Tensor:
        """The focal loss over all pixels and classes of the first map."""
        logits = self.semantic_pred(self.semantic_convs(x)).permute(0, 2, 3, 1)
        targets = torch.stack(
            [
                semantic_target(image, self.num_classes, self.mask_feat_stride, logits.device)
                for image in batch_gt_instances
            ]
        )
        num_positives = reduce_mean((targets < self.num_classes).sum().float()).clamp(min=1)
        return self.loss_semantic(logits.reshape(-1, self.num_classes), targets.flatten(), avg_factor=num_positives)


def semantic_target(
    instances: InstanceData, num_classes: int, stride: int, device: Optional[torch.device] = None
) -> Tensor:
    """Find the class of each pixel of a map: the class of the smallest instance that covers the pixel.

    Args:
        instances (InstanceData): ``labels`` (n,) and ``masks`` of n instances, of H x W pixels.
        num_classes (int): number of classes. It is also the target where there is no instance.
        stride (int): the map takes every stride-th pixel, starting at stride // 2.
        device (torch.device, optional): where to compute.

    Returns:
        Tensor: (H', W') int64, the classes.
    """
    masks = instances.masks.to_tensor(dtype=torch.bool, device=device)
    area = masks.flatten(1).sum(dim=1)
    masks = masks[:, stride // 2 :: stride, stride // 2 :: stride]
    target = torch.full(masks.shape[1:], num_classes, device=device)
    if len(masks) == 0:
        return target
    smallest, owner = area[:, None, None].where(masks, masks.new_tensor(2**62, dtype=area.dtype)).min(dim=0)
    return instances.labels[owner].where(masks.any(dim=0), target)
