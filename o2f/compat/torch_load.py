"""Lets mmengine read its own checkpoints under torch's safe loading.

mmengine 0.10 calls ``torch.load`` without ``weights_only``. Beside the weights, it saves log buffers
(``HistoryBuffer``) and NumPy values. torch 2.6 and later refuses to load these, so no run can be resumed. This module
adds the few harmless types to torch's list of safe ones. Nothing else is unpickled.
"""

import pickle
from importlib import import_module
from typing import Any, Callable

import numpy as np
import torch


def allow_mmengine_checkpoints() -> None:
    """Add the types in mmengine's checkpoints to torch's list of safe globals."""
    from mmengine.logging import HistoryBuffer

    multiarray = import_module('numpy._core.multiarray' if hasattr(np, '_core') else 'numpy.core.multiarray')
    dtypes = {type(np.dtype(kind)) for kind in (np.float32, np.float64, np.int32, np.int64, np.bool_)}
    # NumPy 1 pickled these functions under numpy.core, NumPy 2 pickles them under numpy._core.
    moved = [
        (getattr(multiarray, name), f'{module}.multiarray.{name}')
        for module in ('numpy.core', 'numpy._core')
        for name in ('_reconstruct', 'scalar')
    ]
    torch.serialization.add_safe_globals(
        [HistoryBuffer, np.ndarray, np.dtype, (_statistic_of(HistoryBuffer), 'builtins.getattr'), *dtypes, *moved]
    )


def _statistic_of(buffer: type) -> Callable[[Any, str], Any]:
    """A safe replacement for ``getattr`` in checkpoints.

    HistoryBuffer pickles its table of statistics with ``getattr``. The real ``getattr`` must not be allowed: from any
    type it leads to ``__globals__``, and so to running code.
    """

    def statistic(owner: Any, name: str) -> Any:
        if owner is not buffer or name not in ('max', 'min', 'mean', 'current'):
            raise pickle.UnpicklingError(f'a checkpoint may not ask for attribute {name!r} of {owner!r}')
        return getattr(owner, name)

    return statistic
