"""A CondInst small enough to train in a test, and images with masks."""

from typing import List, Optional

import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.structures.mask import BitmapMasks
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from tiny_detectors import detector_config, fcos_head_config, head_config, make_images
from torch import nn

MASK_HEAD = dict(
    type='CondInstMaskHead',
    mask_feature_head=dict(
        in_channels=8,
        feat_channels=8,
        start_level=0,
        end_level=2,
        out_channels=8,
        mask_stride=8,
        num_stacked_convs=2,
        norm_cfg=dict(type='BN'),
    ),
    loss_mask=dict(type='DiceLoss', eps=5e-6, loss_weight=2.0),
)
SEMANTIC_MASK_HEAD = dict(MASK_HEAD, type='SemanticCondInstMaskHead', num_classes=3, semantic_channels=4)

#: name -> configs of the box head and of the mask head.
HEADS = dict(
    one_to_few=(head_config(type='OneToFewCondInstHead'), SEMANTIC_MASK_HEAD),
    one_to_many=(dict(fcos_head_config(), type='CondInstBboxHead', center_sampling=True), MASK_HEAD),
)


def condinst_config(head: str, kind: str = 'TwoReadingsCondInst', box_head: Optional[dict] = None, **test_cfg) -> dict:
    """CondInst on the backbone of ``detector_config``; ``box_head`` changes the head's config."""
    of_boxes, of_masks = HEADS[head]
    config = detector_config(kind, dict(of_boxes, **(box_head or {})), mask_thr=0.5, **test_cfg)
    config.data_preprocessor.pad_mask = True
    return ConfigDict(config, mask_head=of_masks)


def make_condinst(head: str, seed: int = 0, **arguments) -> nn.Module:
    """A detector with random weights, large enough for scores all over 0 to 1 and for masks that differ."""
    torch.manual_seed(seed)
    model = MODELS.build(condinst_config(head, **arguments))
    spread = dict(conv_cls=0.5, conv_reg=0.5, conv_centerness=0.5, controller=0.3)
    with torch.no_grad():
        for name, convolution in model.bbox_head.named_modules():
            if name in spread:
                convolution.weight.normal_(0, spread[name])
                convolution.bias.fill_(dict(conv_reg=2, controller=0).get(name, -1))
    return model.eval()


def ellipses(boxes: torch.Tensor, size) -> BitmapMasks:
    """The ellipse in each box but for its upper left quarter, so that the centroid is not the box's middle."""
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    masks = np.zeros((len(boxes), *size), dtype=np.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.tolist()):
        width, height = max(x2 - x1, 1e-6), max(y2 - y1, 1e-6)
        u, v = (2 * x - x1 - x2) / width, (2 * y - y1 - y2) / height
        mask[(u**2 + v**2 < 1) & ((u > 0) | (v > 0))] = 1
    return BitmapMasks(masks, *size)


def with_masks(instances: InstanceData, size) -> InstanceData:
    """The instances with a mask each, of an image of this size."""
    instances.masks = ellipses(instances.bboxes, size)
    return instances


def make_masked_images(number: int, size=(64, 96), seed: int = 0) -> List[dict]:
    """``make_images`` with a mask for every instance."""
    images = make_images(number, size, seed)
    for image in images:
        with_masks(image['data_samples'].gt_instances, size)
    return images
