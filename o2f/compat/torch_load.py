"""Lets mmengine read its own checkpoints again under torch's safe loading.

mmengine 0.10 calls ``torch.load`` without ``weights_only``; since torch 2.6 that refuses the log buffers
(``HistoryBuffer``) and NumPy values that mmengine itself saves beside the weights, so no run can be resumed. Naming
those few harmless types is enough; nothing else is unpickled.
"""

import pickle
from importlib import import_module
from typing import Any, Callable

import numpy as np
import torch


def allow_mmengine_checkpoints() -> None:
    """Add the types that mmengine's own checkpoints hold to torch's list of safe globals."""
    from mmengine.logging import HistoryBuffer

    multiarray = import_module('numpy._core.multiarray' if hasattr(np, '_core') else 'numpy.core.multiarray')
    dtypes = {type(np.dtype(kind)) for kind in (np.float32, np.float64, np.int32, np.int64, np.bool_)}
    # The same functions were pickled under numpy.core by NumPy 1 and under numpy._core by NumPy 2.
    moved = [
        (getattr(multiarray, name), f'{module}.multiarray.{name}')
        for module in ('numpy.core', 'numpy._core')
        for name in ('_reconstruct', 'scalar')
    ]
    torch.serialization.add_safe_globals(
        [HistoryBuffer, np.ndarray, np.dtype, (_statistic_of(HistoryBuffer), 'builtins.getattr'), *dtypes, *moved]
    )


def _statistic_of(buffer: type) -> Callable[[Any, str], Any]:
    """What a checkpoint finds under the name of ``getattr``.

    HistoryBuffer pickles its table of statistics with ``getattr``. The real one must not be allowed: it leads from any
    type to ``__globals__`` and so to running code.
    """

    def statistic(owner: Any, name: str) -> Any:
        if owner is not buffer or name not in ('max', 'min', 'mean', 'current'):
            raise pickle.UnpicklingError(f'a checkpoint may not ask for attribute {name!r} of {owner!r}')
        return getattr(owner, name)

    return statistic
