"""Checkpoints from any source: read without running code in them, and loaded completely.

The authors' released checkpoints (MMDetection 2) load too. Those of FCOS type use the parameter names of
[`OneToFewHead`][o2f.OneToFewHead]. In those of CondInst, the mask branch is part of the box head and has other names.
The weights themselves are those of MMDetection 3's modules.
"""

import pickle
import re
from pathlib import Path
from typing import Any, Dict, List, NamedTuple

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from o2f.errors import InputError
from o2f.io.coco_file import moved_classes

#: A count of batches that these models do not use. Older files lack it.
_NOT_NEEDED = 'num_batches_tracked'


class Checkpoint(NamedTuple):
    """The content of a checkpoint.

    Attributes:
        weights (dict[str, Tensor]): the weights by name, on the CPU.
        meta (dict): mmengine's ``meta``. It is empty if the file has none.
    """

    weights: Dict[str, Tensor]
    meta: dict


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint of mmengine or mmcv, or a file of weights alone.

    Only tensors and plain values are unpickled, so nothing in the file is run. Names of the authors' released
    checkpoints are converted to the names of the modules here.

    Args:
        path (Path): the file.

    Returns:
        Checkpoint: the weights and ``meta``.

    Raises:
        InputError: the file is missing or damaged, holds no weights, or holds objects that could run code.
    """
    found: Any = _load(path)
    content = found if isinstance(found, dict) else {}
    weights = content.get('state_dict', content)
    named = isinstance(weights, dict) and all(isinstance(name, str) for name in weights)
    if not weights or not named or not all(isinstance(weight, Tensor) for weight in weights.values()):
        raise InputError(f"{path} holds no weights: neither a state dict, nor one under the key 'state_dict'")
    meta = content.get('meta')
    try:
        # In checkpoints of models on several GPUs, all names begin with the wrapper's.
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
        path (Path): the source of the weights, for messages.

    Raises:
        InputError: see [`check_weights`][o2f.io.checkpoints.check_weights].
    """
    check_weights(model, weights, path)
    model.load_state_dict(weights, strict=False)


def check_weights(model: nn.Module, weights: Dict[str, Tensor], source: object) -> None:
    """Check that ``weights`` are all weights of ``model``, and can be used.

    Args:
        model (Module): the detector.
        weights (dict[str, Tensor]): weights by name.
        source (Path | str): where they are from, for messages.

    Raises:
        InputError: names are missing or unknown, shapes differ, or weights are not finite.
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
        raise InputError(f'{source} does not fit the model of its config: it {"; it ".join(trouble)}')
    broken = [name for name in wanted if name in weights and not torch.isfinite(weights[name]).all()]
    if broken:
        raise InputError(
            f'{source} has weights that are not finite: {_first(broken)}: its training diverged; take an earlier '
            'checkpoint, or train with a smaller learning rate'
        )


def check_labels(trained: Any, classes: Any, source: object) -> None:
    """Check that the classes of the data have the labels that the checkpoint was trained with.

    Args:
        trained (sequence[str] | None): the classes of the training in the order of their labels, or None if the
            checkpoint does not say.
        classes (sequence[str] | None): those of the data.
        source (Path | str): where the weights are from, for messages.

    Raises:
        InputError: a class of both has another label in the training.
    """
    moved = moved_classes(trained, classes)
    if moved:
        here, there = list(classes).index(moved[0]), list(trained).index(moved[0])
        raise InputError(
            f'{source} was trained with the classes {", ".join(trained)}, where {moved[0]!r} has the label {there}, '
            f'and it has {here} in the data: write classes in the order of the training'
        )


def _first(names: List[str], few: int = 3) -> str:
    more = f' and {len(names) - few} more' if len(names) > few else ''
    return ', '.join(names[:few]) + more


_BRANCH = 'mask_head.mask_feature_head'
#: The beginning of a released name, and its replacement.
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
#: The divisor of coordinates relative to an anchor point, in pixels. MMDetection computes it: 8 strides of the level.
_SIZES_OF_INTEREST = 'bbox_head.sizes_of_interest'
_STRIDES = (8, 16, 32, 64, 128)


def convert_released(state_dict: Dict[str, Tensor]) -> Dict[str, Tensor]:
    """Rename the weights of a released checkpoint to the names of this package's detectors.

    Args:
        state_dict (dict[str, Tensor]): the checkpoint's ``state_dict``. It is not changed.

    Returns:
        dict[str, Tensor]: the same tensors. Those of CondInst fit [`TwoReadingsCondInst`][o2f.TwoReadingsCondInst] with
            [`OneToFewCondInstHead`][o2f.OneToFewCondInstHead] and
            [`SemanticCondInstMaskHead`][o2f.SemanticCondInstMaskHead]. Other names are kept.

    Raises:
        ValueError: the mask head was trained with sizes of interest other than 8 strides, the only ones supported.
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
