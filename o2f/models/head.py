"""FCOS's head with a deeper centerness branch, trained with one-to-few targets (section 3.4, Fig. 3).

The head joins the three parts of the method. Each part is a value of its config: ``selection`` (section 3.2),
``degrees`` (3.3) and ``loss_cls`` (3.4). Parameter names are those of the authors' released checkpoints.
"""

import math
from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch
from mmcv.cnn import ConvModule, Scale
from mmdet.models.dense_heads.anchor_free_head import AnchorFreeHead
from mmdet.models.utils import filter_scores_and_topk, unpack_gt_instances
from mmdet.registry import MODELS, TASK_UTILS
from mmdet.structures import SampleList
from mmdet.structures.bbox import distance2bbox
from mmdet.utils import reduce_mean
from mmengine.structures import InstanceData
from torch import Tensor, nn

from o2f.assign.centre_region import AnchorGrid, grid_of, points_of
from o2f.assign.degrees import positives_per_instance
from o2f.assign.matching_score import Instances
from o2f.assign.selection import Selected
from o2f.models import further_losses
from o2f.models.further_losses import centerness_target
from o2f.models.ignore_regions import ignored_points
from o2f.models.loss import at_least_float32, log_joint
from o2f.models.postprocess import candidates_of_level
from o2f.models.predictions import Predictions


@MODELS.register_module()
class OneToFewHead(AnchorFreeHead):
    """FCOS head for end-to-end detection with one-to-few label assignment. Other settings make it DeFCN's head.

    Args:
        num_classes (int): number of classes, without background.
        in_channels (int): channels of each input map.
        strides (Sequence[int]): pixels per cell of each input map.
        centerness_convs (int): extra 3x3 convolutions before the centerness map, 0 to 3 (Table 5).
        centerness_channels (int): output channels of these convolutions, 64 in the paper.
        selection (dict): config of section 3.2, see [`OneToFewSelection`][o2f.OneToFewSelection].
        degrees (dict): config of section 3.3, see [`LinearDegrees`][o2f.LinearDegrees].
        loss_cls (dict): config of Eq. 4, see [`OneToFewLoss`][o2f.OneToFewLoss].
        loss_bbox (dict): config of the box loss of Eq. 5.
        box_weight (str): 'centerness' weights the box loss of each positive by FCOS's centerness target, as released.
            'uniform' is Eq. 5 as the paper writes it. 'degree' weights it by the positive degree.
        normaliser (str): what L_cls is divided by: the number of 'positives', or the sum of their 'degrees'. With the
            latter, the box loss too is divided by at least 1, as in YOLOv10.
        score_factor (str): the second factor of the joint score p. 'centerness' is the paper's. '3dmf' is DeFCN's 3D
            max filtering, in place of the centerness branch. 'none' is plain POTO, where p is the classification score.
            'pss' is PSS's: p = s(cls) s(centerness) s(pss), where only the layers of pss learn from ``loss_cls`` and
            ``loss_rank``. A second branch that shares the predictors must train the rest.
        max_filtering (dict): further settings of [`MaxFiltering3D`][o2f.MaxFiltering3D].
        auxiliary (dict, optional): config of a one-to-many selection. It adds DeFCN's auxiliary loss.
        loss_aux (dict): config of the auxiliary loss, which uses the classification score alone.
        loss_l1 (dict, optional): config of a further box loss, on edges divided by the images' width and height.
        loss_centerness (dict, optional): config of FCOS's loss on the centerness branch alone. The classification loss
            then uses the classification score alone.
        loss_rank (dict, optional): config of a loss on the order of joint scores, see
            [`RankingLoss`][o2f.RankingLoss].
        second (dict, optional): settings of a second branch that only training sees, where they differ from this
            head's. It takes over neither the auxiliary loss nor the losses on edges, centerness and ranks. See
            [`SecondBranch`][o2f.SecondBranch].
        ignore_regions (bool): leave anchors in regions to ignore out of the negatives.
        norm_cfg (dict): config of the normalisation layers.
        conv_bias (bool): whether the convolutions of the towers have a bias.
        **kwargs (Any): further arguments of MMDetection's ``AnchorFreeHead``, such as ``stacked_convs`` and
            ``feat_channels``.

    Raises:
        ValueError: a setting is out of its range, or does not fit another.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        strides=(8, 16, 32, 64, 128),
        centerness_convs: int = 3,
        centerness_channels: int = 64,
        selection: dict = dict(type='OneToFewSelection'),
        degrees: dict = dict(type='LinearDegrees'),
        loss_cls: dict = dict(type='OneToFewLoss', use_sigmoid=True),
        loss_bbox: dict = dict(type='GIoULoss', loss_weight=2.0),
        box_weight: str = 'centerness',
        normaliser: str = 'positives',
        score_factor: str = 'centerness',
        max_filtering: dict = dict(),
        auxiliary: Optional[dict] = None,
        loss_aux: dict = dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25),
        loss_l1: Optional[dict] = None,
        loss_centerness: Optional[dict] = None,
        loss_rank: Optional[dict] = None,
        second: Optional[dict] = None,
        ignore_regions: bool = False,
        norm_cfg: dict = dict(type='GN', num_groups=32, requires_grad=True),
        conv_bias: bool = True,
        **kwargs,
    ) -> None:
        if centerness_convs not in (0, 1, 2, 3):
            raise ValueError(f'bbox_head: centerness_convs must be 0, 1, 2 or 3, not {centerness_convs!r}')
        choices = dict(
            box_weight=(box_weight, ('centerness', 'uniform', 'degree')),
            score_factor=(score_factor, ('centerness', '3dmf', 'none', 'pss')),
            normaliser=(normaliser, ('positives', 'degrees')),
        )
        for name, (value, known) in choices.items():
            if value not in known:
                listed = ' or '.join((', '.join(map(repr, known[:-1])), repr(known[-1])))
                raise ValueError(f'bbox_head: {name} must be {listed}, not {value!r}')
        if loss_centerness and score_factor != 'centerness':
            raise ValueError(f'bbox_head: loss_centerness needs score_factor=centerness, not {score_factor!r}')
        self.num_centerness_convs = centerness_convs
        self.centerness_channels = centerness_channels
        self.box_weight = box_weight
        self.normaliser = normaliser
        self.score_factor = score_factor
        self.max_filtering_cfg = max_filtering
        self.ignore_regions = ignore_regions
        super().__init__(
            num_classes,
            in_channels,
            strides=strides,
            loss_cls=dict(loss_cls, use_sigmoid=True),
            loss_bbox=loss_bbox,
            norm_cfg=norm_cfg,
            conv_bias=conv_bias,
            **kwargs,
        )
        self.selection = TASK_UTILS.build(selection)
        self.degrees = TASK_UTILS.build(degrees)
        self.auxiliary = TASK_UTILS.build(auxiliary) if auxiliary else None
        self.loss_aux = MODELS.build(loss_aux) if auxiliary else None
        self.loss_l1 = MODELS.build(loss_l1) if loss_l1 else None
        self.loss_centerness = MODELS.build(loss_centerness) if loss_centerness else None
        self.loss_rank = MODELS.build(loss_rank) if loss_rank else None
        # Of PSS's three scores, the last belongs to the main branch alone.
        others_score = 'centerness' if score_factor == 'pss' else score_factor
        own = dict(
            num_classes=num_classes,
            in_channels=in_channels,
            strides=strides,
            centerness_convs=centerness_convs,
            centerness_channels=centerness_channels,
            selection=selection,
            degrees=degrees,
            loss_cls=loss_cls,
            loss_bbox=loss_bbox,
            box_weight=box_weight,
            normaliser=normaliser,
            score_factor=others_score,
            max_filtering=max_filtering,
            ignore_regions=ignore_regions,
            norm_cfg=norm_cfg,
            conv_bias=conv_bias,
            **kwargs,
        )
        self.second = MODELS.build({**own, 'type': 'SecondBranch', **second}) if second else None
        if self.second and self.second.shares == 'predictors':
            if self.second.score_factor not in (others_score, 'none'):
                raise ValueError(
                    f"second: with shares='predictors', score_factor must be {others_score!r} or 'none', "
                    f'not {self.second.score_factor!r}'
                )
        elif score_factor == 'pss':
            raise ValueError("bbox_head: score_factor='pss' needs a second branch with shares='predictors'")

    def _init_predictor(self) -> None:
        """Create the two output layers, a scale per level, and the layers of the joint score's second factor."""
        super()._init_predictor()
        self.scales = nn.ModuleList(Scale(1.0) for _ in self.strides)
        if self.score_factor == '3dmf':
            groups = self.norm_cfg.get('num_groups', 32)
            settings = dict(type='MaxFiltering3D', channels=self.feat_channels, num_groups=groups)
            self.max_filtering = MODELS.build({**settings, **self.max_filtering_cfg})
        if self.score_factor == 'pss':
            self.pss_convs = nn.Sequential(
                *(
                    ConvModule(
                        self.feat_channels,
                        self.feat_channels,
                        3,
                        padding=1,
                        norm_cfg=self.norm_cfg,
                        bias=self.conv_bias,
                    )
                    for _ in range(2)
                )
            )
            self.conv_pss = nn.Conv2d(self.feat_channels, 1, 3, padding=1)
        if self.score_factor in ('centerness', 'pss'):
            channels = [self.feat_channels] + [self.centerness_channels] * self.num_centerness_convs
            self.centerness_convs = nn.ModuleList(
                ConvModule(before, after, 3, padding=1, norm_cfg=self.norm_cfg, bias=self.conv_bias)
                for before, after in zip(channels, channels[1:])
            )
            self.conv_centerness = nn.Conv2d(channels[-1], 1, 3, padding=1)

    def forward(self, x: Tuple[Tensor]) -> Tuple[List[Tensor], List[Tensor], List[Tensor]]:
        """Predict from the maps of the FPN.

        Args:
            x (tuple[Tensor]): (B, in_channels, H, W) per level.

        Returns:
            tuple[list[Tensor], list[Tensor], list[Tensor]]: per level, classification logits (B, C, H, W), distances in
                pixels to the left, top, right and bottom edge of the box (B, 4, H, W), and logits of the score factor
                (B, 1, H, W).
        """
        return self.predict_from(*self.towers(x))

    def towers(self, x: Tuple[Tensor]) -> Tuple[List[Tensor], List[Tensor]]:
        """Per level, the maps of the classification tower and of the regression tower, (B, feat_channels, H, W)."""
        return [_through(self.cls_convs, map_) for map_ in x], [_through(self.reg_convs, map_) for map_ in x]

    def predict_from(
        self, classification: List[Tensor], regression: List[Tensor], factor: Optional[str] = None
    ) -> tuple:
        """Predict from the maps of the towers.

        Args:
            classification (list[Tensor]): maps of the classification tower.
            regression (list[Tensor]): maps of the regression tower.
            factor (str, optional): the score factor, if not this head's.

        Returns:
            tuple: see [`OneToFewHead.forward`][].
        """
        factor = self.score_factor if factor is None else factor
        cls_logits = [self.conv_cls(map_) for map_ in classification]
        # Distances reach hundreds of pixels, which half precision cannot hold exactly.
        distances = [
            at_least_float32(scale(self.conv_reg(map_))).clamp(min=0) * stride
            for map_, scale, stride in zip(regression, self.scales, self.strides)
        ]
        if factor == 'pss':
            centerness = self._score_factors(regression, 'centerness')
            cls_logits = [joint_logit(a, b).detach() for a, b in zip(cls_logits, centerness)]
        return cls_logits, distances, self._score_factors(regression, factor)

    def _score_factors(self, regression: Sequence[Tensor], factor: str) -> List[Tensor]:
        """Logits of a score factor, (B, 1, H, W) per level."""
        if factor == '3dmf':
            return self.max_filtering(regression)
        if factor == 'none':  # an infinite logit is a factor of exactly 1
            return [map_.new_full((map_.shape[0], 1, *map_.shape[-2:]), math.inf) for map_ in regression]
        if factor == 'pss':
            return [self.conv_pss(self.pss_convs(map_.detach())) for map_ in regression]
        return [self.conv_centerness(self._centerness_features(map_)) for map_ in regression]

    def _centerness_features(self, x: Tensor) -> Tensor:
        return _through(self.centerness_convs, x)

    def set_epoch(self, epoch: int, max_epochs: int) -> None:
        """Tell the parts which epoch of ``max_epochs`` it is. Epochs count from 0."""
        self.selection.set_epoch(epoch, max_epochs)
        self.degrees.set_epoch(epoch, max_epochs)
        if self.auxiliary:
            self.auxiliary.set_epoch(epoch, max_epochs)
        if self.second:
            self.second.set_epoch(epoch, max_epochs)

    def loss(self, x: Tuple[Tensor], batch_data_samples: SampleList) -> Dict[str, Tensor]:
        """Predict, and compute the training losses of both branches.

        Args:
            x (tuple[Tensor]): maps of the FPN, (B, in_channels, H, W) per level.
            batch_data_samples (list[DetDataSample]): one per image, with ``gt_instances``.

        Returns:
            dict[str, Tensor]: those of [`OneToFewHead.loss_by_feat`][], and those of the second branch under names that
                begin with ``second_``.
        """
        truth, ignored, metas = unpack_gt_instances(batch_data_samples)
        if not self.second:
            inputs = *self(x), truth, metas, ignored
            return self.loss_by_feat(*inputs)
        mine, its = self.second.maps_of_both(self, x)
        inputs = *self.predict_from(*mine), truth, metas, ignored
        found = self.loss_by_feat(*inputs)
        losses = {name: self.second.main_weight * loss if 'loss' in name else loss for name, loss in found.items()}
        return {**losses, **self.second.losses(self, its, truth, metas, ignored)}

    def loss_by_feat(
        self,
        cls_scores: List[Tensor],
        bbox_preds: List[Tensor],
        centernesses: List[Tensor],
        batch_gt_instances: List[InstanceData],
        batch_img_metas: List[dict],
        batch_gt_instances_ignore: Optional[List[InstanceData]] = None,
    ) -> Dict[str, Tensor]:
        """Compute the training losses of one batch.

        Args:
            cls_scores (list[Tensor]): classification logits, from [`OneToFewHead.forward`][].
            bbox_preds (list[Tensor]): distances in pixels, from [`OneToFewHead.forward`][].
            centernesses (list[Tensor]): logits of the score factor, from [`OneToFewHead.forward`][].
            batch_gt_instances (list[InstanceData]): ``bboxes`` (n, 4) in pixels and ``labels`` (n,) of each image. n
                may be 0.
            batch_img_metas (list[dict]): ``img_shape`` of each image, which DETR's cost and ``loss_l1`` need.
            batch_gt_instances_ignore (list[InstanceData], optional): ``bboxes`` (m, 4) in pixels, the regions to ignore
                of each image. They are used with ``ignore_regions``.

        Returns:
            dict[str, Tensor]: scalars. ``loss_cls`` is Eq. 4, ``loss_bbox`` is Eq. 5. ``loss_aux``, ``loss_l1``,
                ``loss_centerness`` and ``loss_rank`` are there if their settings are. The counts of
                [`positives_per_instance`][] are added for the log.
        """
        predictions = self._predictions(cls_scores, bbox_preds, centernesses)
        instances = self._gather_instances(batch_gt_instances, batch_img_metas, predictions.boxes.device)
        return self._losses_and_targets(predictions, instances, batch_gt_instances, batch_gt_instances_ignore)[0]

    def _losses_and_targets(
        self,
        predictions: Predictions,
        instances: Instances,
        batch_gt_instances: List[InstanceData],
        batch_gt_instances_ignore: Optional[List[InstanceData]],
    ) -> Tuple[Dict[str, Tensor], Selected]:
        """The losses of a batch, and the selected anchors, which the losses of subclasses may need."""
        selected, degrees = self.get_targets(predictions, instances)
        ignored = None
        if self.ignore_regions:
            grid, device = predictions.grid, predictions.boxes.device
            ignored = ignored_points(batch_gt_instances, batch_gt_instances_ignore, grid, device).flatten()
        losses = self._losses(predictions, instances, selected, degrees, ignored)
        return {**losses, **positives_per_instance(selected, degrees)}, selected

    def _predictions(
        self, cls_scores: List[Tensor], bbox_preds: List[Tensor], centernesses: List[Tensor]
    ) -> Predictions:
        grid = grid_of(cls_scores, self.strides)
        boxes = distance2bbox(points_of(grid, cls_scores[0].device), _flatten(bbox_preds))
        return Predictions(_flatten(cls_scores), _flatten(centernesses).squeeze(-1), boxes, grid)

    def _gather_instances(self, batch: List[InstanceData], metas: List[dict], device: torch.device) -> Instances:
        """Join the instances of all images. Image indices are counted on the host, where sizes are known."""
        counts = [len(instances) for instances in batch]
        image = torch.arange(len(batch)).repeat_interleave(torch.tensor(counts), output_size=sum(counts))
        size = None
        if all('img_shape' in meta for meta in metas):
            size = torch.tensor([meta['img_shape'][1::-1] for meta in metas], dtype=torch.float32)[image]
        return Instances(
            boxes=torch.cat([instances.bboxes for instances in batch]).reshape(-1, 4),
            labels=torch.cat([instances.labels for instances in batch]),
            image=image.to(device, non_blocking=True),
            size=None if size is None else size.to(device, non_blocking=True),
        )

    def get_targets(self, predictions: Predictions, instances: Instances) -> Tuple[Selected, Tensor]:
        """Compute the targets of a batch (sections 3.2 and 3.3).

        Args:
            predictions (Predictions): the head's outputs.
            instances (Instances): the G instances of the batch.

        Returns:
            tuple[Selected, Tensor]: (G, S) anchors of each instance, and their positive degrees (G, S).
        """
        outputs = predictions.cls_logits, predictions.factor_logits, predictions.boxes
        selected = self.selection(*outputs, instances, predictions.grid)
        return selected, self.degrees(selected)

    def _losses(
        self,
        predictions: Predictions,
        instances: Instances,
        selected: Selected,
        degrees: Tensor,
        ignored: Optional[Tensor],
    ) -> Dict[str, Tensor]:
        """Eq. 4, Eq. 5 and what the settings add. ``ignored`` (B x N,) marks anchors that are not negatives."""
        positives = degrees if self.normaliser == 'degrees' else selected.kept
        divisor = reduce_mean(positives.sum().float()).clamp(min=1)
        factor = predictions.factor_logits
        logits = predictions.cls_logits, torch.full_like(factor, math.inf) if self.loss_centerness else factor
        losses = dict(
            loss_cls=self.loss_cls(*logits, instances.labels, selected, degrees, divisor, ignored),
            loss_bbox=self._box_loss(predictions.boxes, instances, selected, degrees, predictions.grid),
        )
        if self.auxiliary:
            losses['loss_aux'] = self._auxiliary_loss(predictions, instances, ignored)
        if self.loss_l1:
            losses['loss_l1'] = further_losses.l1(self.loss_l1, predictions, instances, selected)
        if self.loss_centerness:
            losses['loss_centerness'] = further_losses.centerness(
                self.loss_centerness, predictions, instances, selected
            )
        if self.loss_rank:
            losses['loss_rank'] = self.loss_rank(*logits, instances.labels, selected, ignored)
        return losses

    def _auxiliary_loss(self, predictions: Predictions, instances: Instances, ignored: Optional[Tensor]) -> Tensor:
        """DeFCN's one-to-many focal loss on the classification score, without the score factor."""
        assert self.auxiliary is not None and self.loss_aux is not None  # the caller has checked
        no_factor = torch.full_like(predictions.factor_logits, math.inf)
        outputs = predictions.cls_logits, no_factor, predictions.boxes
        selected = self.auxiliary(*outputs, instances, predictions.grid)
        scores = at_least_float32(predictions.cls_logits).flatten(0, 1)  # half precision is too coarse for p near 0
        labels = torch.full((len(scores),), self.num_classes, device=scores.device)
        owner = instances.labels.unsqueeze(1).expand_as(selected.anchor)
        labels[selected.anchor[selected.kept]] = owner[selected.kept]
        weight = None if ignored is None else (~ignored | (labels < self.num_classes)).float()
        num_positives = reduce_mean(selected.kept.sum().float()).clamp(min=1)
        return self.loss_aux(scores, labels, weight, avg_factor=num_positives)

    def _box_loss(
        self, boxes: Tensor, instances: Instances, selected: Selected, degrees: Tensor, grid: AnchorGrid
    ) -> Tensor:
        """Eq. 5: the weighted mean over certain and ambiguous anchors."""
        target = instances.boxes.unsqueeze(1).expand(*selected.anchor.shape, 4)
        weight = selected.kept.float()
        if self.box_weight == 'centerness':
            points = points_of(grid, boxes.device)[selected.anchor % grid.num_points]
            weight = weight * centerness_target(points, target)
        if self.box_weight == 'degree':
            weight = degrees.float()
        predicted = boxes.flatten(0, 1)[selected.anchor].flatten(0, 1)
        loss = self.loss_bbox(predicted, target.flatten(0, 1), reduction_override='none')
        total = (loss * weight.flatten()).sum() if len(predicted) else predicted.sum()  # keeps the graph whole
        # The sum of weights can be tiny, but it is not 0 if there is a positive. YOLOv10's is at least 1.
        return total / reduce_mean(weight.sum()).clamp(min=1.0 if self.normaliser == 'degrees' else 1e-6)

    def predict_by_feat(self, cls_scores: List[Tensor], *args: Any, **kwargs: Any) -> List[InstanceData]:
        """The candidates or detections of each image, see MMDetection's ``predict_by_feat``.

        MMDetection takes the points in the type of the logits. In bfloat16, points beyond 1024 pixels would be rounded.
        """
        return super().predict_by_feat([at_least_float32(logits) for logits in cls_scores], *args, **kwargs)

    def _predict_by_feat_single(
        self,
        cls_score_list: List[Tensor],
        bbox_pred_list: List[Tensor],
        score_factor_list: List[Tensor],
        mlvl_priors: List[Tensor],
        img_meta: dict,
        cfg: Optional[dict] = None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> InstanceData:
        """Decode one image.

        Each level gives its ``nms_pre`` best joint scores above ``score_thr``. MMDetection's post-processing does the
        rest. Unlike in MMDetection's dense heads, the threshold applies to the joint score."""
        cfg = self.test_cfg if cfg is None else cfg
        levels = [
            self._decode_level(*level, img_meta['img_shape'], cfg)
            for level in zip(cls_score_list, bbox_pred_list, score_factor_list, mlvl_priors)
        ]
        return self._bbox_post_process(InstanceData.cat(levels), cfg, rescale, with_nms, img_meta)

    def _decode_level(
        self,
        cls_logits: Tensor,
        distances: Tensor,
        factor_logits: Tensor,
        points: Tensor,
        img_shape: Tuple[int, int],
        cfg: dict,
        of_points: Optional[Dict[str, Tensor]] = None,
    ) -> InstanceData:
        """The candidates of one level of one image, best first.

        They have ``bboxes``, ``scores`` and ``labels``. Each entry of ``of_points``, (H x W, ...), adds the row of the
        candidate's point."""
        cls_scores, factors = (
            at_least_float32(logits).sigmoid().permute(1, 2, 0).flatten(0, 1) for logits in (cls_logits, factor_logits)
        )
        scores, labels, point = self._candidates(cls_scores, cls_scores * factors, cfg)
        reach = distances.permute(1, 2, 0).reshape(-1, 4)[point]
        kept = {name: rows[point] for name, rows in (of_points or {}).items()}
        bboxes = distance2bbox(points[point].float(), reach, max_shape=img_shape)
        return InstanceData(bboxes=bboxes, scores=scores, labels=labels, **kept)

    def _candidates(self, cls_scores: Tensor, joint: Tensor, cfg: dict) -> Tuple[Tensor, Tensor, Tensor]:
        """Choose the candidates of a level from its (H x W, C) classification scores and joint scores.

        Returns the joint score, the class and the point of each, best first."""
        return filter_scores_and_topk(joint, cfg.get('score_thr', 0), candidates_of_level(cfg, joint.numel()))[:3]


def joint_logit(a: Tensor, b: Tensor) -> Tensor:
    """The logit of the joint score s(a) s(b), for logits that are broadcast."""
    log_p, log_not_p = log_joint(at_least_float32(a), at_least_float32(b))
    return log_p - log_not_p


def _through(convs: nn.ModuleList, x: Tensor) -> Tensor:
    for conv in convs:
        x = conv(x)
    return x


def _flatten(maps: List[Tensor]) -> Tensor:
    """Join the (B, C, H, W) maps of all levels to one (B, N, C)."""
    return torch.cat([map_.permute(0, 2, 3, 1).flatten(1, 2) for map_ in maps], dim=1)
