"""Checkpoints from anyone: read without running what is in them, and loaded without a gap.

The authors' released checkpoints (MMDetection 2) load too. Those of the FCOS type have the names of
:class:`OneToFewHead`. In those of CondInst the mask branch is a part of the box head and has other names; the weights
are the same as those of MMDetection 3's modules.
"""

import pickle
import re
from pathlib import Path
from typing import Any, Dict, List, NamedTuple

import torch
from mmengine.model import BaseModel
from torch import Tensor

from o2f.errors import InputError

#: Counts batches for a momentum that these models do not use; older files lack it.
_NOT_NEEDED = 'num_batches_tracked'


class Checkpoint(NamedTuple):
    """A checkpoint's weights by name, on the CPU, and what its maker noted beside them (mmengine's ``meta``)."""

    weights: Dict[str, Tensor]
    meta: dict


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint: mmengine's or mmcv's, where the weights are under ``state_dict``, or weights alone.

    Only tensors and plain values are unpickled, so nothing in the file is run. Names of the authors' released
    checkpoints are turned into those of the modules here.

    Returns:
        Checkpoint: its weights, and its ``meta``, which is empty where the file has none.

    Raises:
        InputError: the file is not there, is damaged, holds no weights, or holds objects that could run code.
    """
    found: Any = _load(path)
    content = found if isinstance(found, dict) else {}
    weights = content.get('state_dict', content)
    named = isinstance(weights, dict) and all(isinstance(name, str) for name in weights)
    if not weights or not named or not all(isinstance(weight, Tensor) for weight in weights.values()):
        raise InputError(f"{path} holds no weights: neither a state dict, nor one under the key 'state_dict'")
    meta = content.get('meta')
    try:
        # A model that was spread over several GPUs has its wrapper's name before the others.
        weights = convert_released({re.sub(r'^module\.', '', name): weight for name, weight in weights.items()})
    except ValueError as error:
        raise InputError(f'{path}: {error}') from error
    return Checkpoint(weights, meta if isinstance(meta, dict) else {})


def _load(path: Path) -> object:
    try:
        return torch.load(path, map_location='cpu', weights_only=True)
    except FileNotFoundError:
        raise InputError(f'{path} is missing: name a checkpoint file') from None
    except OSError as error:
        raise InputError(f'{path} cannot be read: {error.strerror or error}') from error
    except Exception as error:  # a damaged file can raise almost anything
        found = re.search(r'GLOBAL ([\w.]+)', str(error)) if isinstance(error, pickle.UnpicklingError) else None
        if found is None:
            raise InputError(f'{path} is damaged, or no checkpoint') from error
        raise InputError(
            f'{path} holds {found[1]}, which is no weight: it is not loaded, as unpickling it could run code. '
            "Have whoever made it save the model's state_dict alone"
        ) from error


def load_strictly(model: BaseModel, weights: Dict[str, Tensor], path: Path) -> None:
    """Load all of ``weights`` into all of ``model``.

    Args:
        model (BaseModel): the detector.
        weights (dict[str, Tensor]): weights by name.
        path (Path): where they come from, for messages.

    Raises:
        InputError: names are missing or left over, or shapes differ.
    """
    wanted = model.state_dict()
    missing = [name for name in wanted if name not in weights and not name.endswith(_NOT_NEEDED)]
    unexpected = [name for name in weights if name not in wanted]
    reshaped = [
        f'{name} {tuple(weights[name].shape)} instead of {tuple(weight.shape)}'
        for name, weight in wanted.items()
        if name in weights and weights[name].shape != weight.shape
    ]
    parts = dict(lacks=missing, **{'has besides': unexpected, 'has other shapes:': reshaped})
    trouble = [f'{what} {_first(names)}' for what, names in parts.items() if names]
    if trouble:
        raise InputError(f'{path} does not fit the model of its config: it {"; it ".join(trouble)}')
    model.load_state_dict(weights, strict=False)


def _first(names: List[str], few: int = 3) -> str:
    more = f' and {len(names) - few} more' if len(names) > few else ''
    return ', '.join(names[:few]) + more


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
