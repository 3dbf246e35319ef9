"""CondInst's mask head with the auxiliary semantic segmentation of the released models (Table 9)."""

from typing import Dict, List, Optional, Sequence, Tuple

import torch
from mmcv.cnn import ConvModule
from mmdet.models.dense_heads import CondInstMaskHead
from mmdet.models.utils import unpack_gt_instances
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmdet.utils import reduce_mean
from mmengine.model import bias_init_with_prob, kaiming_init, normal_init
from mmengine.structures import InstanceData
from torch import Tensor, nn


@MODELS.register_module()
class SemanticCondInstMaskHead(CondInstMaskHead):
    """MMDetection's CondInst mask head, with a semantic segmentation of the first map that only training sees.

    It also trains where no image of a batch has a positive: every parameter then gets a gradient of zero or more, which
    distributed training asks for. There the mask loss too is divided by a number averaged over ranks.

    Args:
        num_classes (int): categories, background not counted.
        semantic_channels (int): channels of the semantic branch's two convolutions, 128 as released.
        loss_semantic (dict): config of the semantic loss; it is divided by the number of pixels that show an instance,
            averaged over ranks, at least 1.
        args, kwargs: the rest goes to MMDetection's ``CondInstMaskHead``.
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
        self._num_masks = 0  # of the batch whose loss is being computed

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
        """The mask branch as MMDetection has it; the semantic branch starts at scores of 0.01."""
        super().init_weights()
        for module in self.semantic_convs:
            kaiming_init(module.conv, a=1, distribution='uniform')
        normal_init(self.semantic_pred, std=0.01, bias=bias_init_with_prob(0.01))

    def forward_single(self, mask_feat: Tensor, positive_info: InstanceData) -> Tuple[Tensor]:
        """Draw the masks of one image.

        Args:
            mask_feat (Tensor): (8, H, W), the bases.
            positive_info (InstanceData): ``param_preds``, ``points`` and ``strides`` of P positives or candidates.

        Returns:
            tuple[Tensor]: mask logits (P, H', W') at the stride of the output.
        """
        if len(positive_info.param_preds) == 0:  # empty, yet part of the graph
            return (mask_feat[:0] + positive_info.param_preds.sum(),)
        return super().forward_single(mask_feat, positive_info)

    def loss(
        self, x: Sequence[Tensor], batch_data_samples: SampleList, positive_infos: List[InstanceData], **kwargs
    ) -> Dict[str, Tensor]:
        """The losses of one batch.

        Args:
            x (sequence[Tensor]): (B, in_channels, H, W) per level.
            batch_data_samples (list[DetDataSample]): with ``labels`` and ``masks``; the masks cover the padded image.
            positive_infos (list[InstanceData]): what the box head's ``get_positive_infos`` gives.

        Returns:
            dict[str, Tensor]: ``loss_mask`` and ``loss_semantic``, scalars.
        """
        losses = super().loss(x, batch_data_samples, positive_infos, **kwargs)
        truth = unpack_gt_instances(batch_data_samples)[0]
        return dict(losses, loss_semantic=self._semantic_loss(x[self.mask_feature_head.start_level], truth))

    def loss_by_feat(self, mask_preds: List[Tensor], *args, **kwargs) -> Dict[str, Tensor]:
        """``loss_mask`` of :class:`CondInstMaskHead`, over the number of masks averaged over ranks, at least 1; images
        without a positive stay in its graph."""
        self._num_masks = 0
        loss = super().loss_by_feat(mask_preds, *args, **kwargs)['loss_mask']
        averaged = reduce_mean(loss.new_tensor(float(self._num_masks))).clamp(min=1)
        loss = loss * (max(self._num_masks, 1) / averaged)
        return dict(loss_mask=loss + sum(masks.sum() for masks in mask_preds if len(masks) == 0))

    def _get_targets_single(self, *args) -> Tuple[Tensor, Optional[Tensor], int]:
        """The masks of one image that are trained, their targets and how many they are, which is counted."""
        found = super()._get_targets_single(*args)
        self._num_masks += found[-1]
        return found

    def _semantic_loss(self, x: Tensor, batch_gt_instances: List[InstanceData]) -> Tensor:
        """The focal loss of every pixel and class of the first map."""
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
    """The class of each pixel of a map: that of the smallest instance that covers it.

    Args:
        instances (InstanceData): ``labels`` (n,) and ``masks`` of n instances, of H x W pixels.
        num_classes (int): the target where there is no instance.
        stride (int): every stride-th pixel is taken, from stride // 2 on.
        device (torch.device, optional): where to compute.

    Returns:
        Tensor: (H', W') int64.
    """
    masks = instances.masks.to_tensor(dtype=torch.bool, device=device)
    area = masks.flatten(1).sum(dim=1)
    masks = masks[:, stride // 2 :: stride, stride // 2 :: stride]
    target = torch.full(masks.shape[1:], num_classes, device=device)
    if len(masks) == 0:
        return target
    smallest, owner = area[:, None, None].where(masks, masks.new_tensor(2**62, dtype=area.dtype)).min(dim=0)
    return instances.labels[owner].where(masks.any(dim=0), target)
