"""Checkpoints from anyone: read without running what is in them, and loaded without a gap."""

import pickle
import re
from pathlib import Path
from typing import Any, Dict, List, NamedTuple

import torch
from mmengine.model import BaseModel
from torch import Tensor

from o2f.errors import InputError
from o2f.released import convert_released

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
