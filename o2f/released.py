"""The authors' released checkpoints (MMDetection 2), for the detectors of this package.

Those of the FCOS type have the names of :class:`OneToFewHead` and load as they are. In those of CondInst the mask
branch is a part of the box head, under names of its own; nothing but names differs from MMDetection 3's modules.
"""

import re
from typing import Dict

import torch
from torch import Tensor

_BRANCH = 'mask_head.mask_feature_head'
#: A released name's beginning and what stands there now.
_RENAMED = (
    (r'bbox_head\.conv_quality\.', r'bbox_head.conv_centerness.'),
    (r'bbox_head\.refine\.(\d)\.0\.', rf'{_BRANCH}.convs_all_levels.\1.conv\1.conv.'),
    (r'bbox_head\.refine\.(\d)\.1\.', rf'{_BRANCH}.convs_all_levels.\1.conv\1.bn.'),
    (r'bbox_head\.mask_tower\.(\d)\.0\.', rf'{_BRANCH}.conv_branch.\1.conv.'),
    (r'bbox_head\.mask_tower\.(\d)\.1\.', rf'{_BRANCH}.conv_branch.\1.bn.'),
    (r'bbox_head\.mask_tower\.\d\.(?=weight|bias)', rf'{_BRANCH}.conv_pred.'),
    (r'bbox_head\.seg_head\.0\.', r'mask_head.semantic_convs.0.conv.'),
    (r'bbox_head\.seg_head\.1\.', r'mask_head.semantic_convs.0.bn.'),
    (r'bbox_head\.seg_head\.3\.', r'mask_head.semantic_convs.1.conv.'),
    (r'bbox_head\.seg_head\.4\.', r'mask_head.semantic_convs.1.bn.'),
    (r'bbox_head\.seg_out\.', r'mask_head.semantic_pred.'),
)
#: Pixels that coordinates relative to an anchor point are divided by: 8 strides of its level, in MMDetection computed.
_SIZES_OF_INTEREST = 'bbox_head.sizes_of_interest'
_STRIDES = (8, 16, 32, 64, 128)


def convert_released(state_dict: Dict[str, Tensor]) -> Dict[str, Tensor]:
    """The weights of a released checkpoint under the names of this package's detectors.

    Args:
        state_dict (dict[str, Tensor]): the checkpoint's ``state_dict``; it stays as it is.

    Returns:
        dict[str, Tensor]: the same tensors. Of CondInst they fit ``TwoReadingsCondInst`` with
        :class:`OneToFewCondInstHead` and :class:`SemanticCondInstMaskHead`; any others keep their names.

    Raises:
        ValueError: the mask head was trained with other sizes of interest than 8 strides, which these modules have.
    """
    sizes = state_dict.get(_SIZES_OF_INTEREST)
    expected = 8 * torch.tensor(_STRIDES, dtype=torch.float32)
    if sizes is not None and not torch.equal(sizes.float().cpu(), expected):
        raise ValueError(f'{_SIZES_OF_INTEREST} is {sizes.tolist()}, not 8 strides, {expected.tolist()}')
    return {_renamed(name): tensor for name, tensor in state_dict.items() if name != _SIZES_OF_INTEREST}


def _renamed(name: str) -> str:
    for released, present in _RENAMED:
        name, replaced = re.subn(f'^{released}', present, name)
        if replaced:
            break
    return name
