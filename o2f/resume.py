"""Lets mmengine read its own checkpoints again under torch's safe loading.

mmengine 0.10 calls ``torch.load`` without ``weights_only``; since torch 2.6 that refuses the log buffers
(``HistoryBuffer``) and NumPy values that mmengine itself saves beside the weights, so no run can be resumed. Naming
those few harmless types is enough; nothing else is unpickled.
"""
import numpy as np
import torch


def allow_mmengine_checkpoints() -> None:
    """Add the types that mmengine's own checkpoints hold to torch's list of safe globals."""
    from mmengine.logging import HistoryBuffer
    multiarray = np._core.multiarray if hasattr(np, '_core') else np.core.multiarray
    dtypes = {type(np.dtype(kind)) for kind in (np.float32, np.float64, np.int32, np.int64, np.bool_)}
    # The same functions were pickled under numpy.core by NumPy 1 and under numpy._core by NumPy 2.
    moved = [(function, f'{module}.multiarray.{name}') for module in ('numpy.core', 'numpy._core')
             for name, function in (('_reconstruct', multiarray._reconstruct), ('scalar', multiarray.scalar))]
    # HistoryBuffer pickles its own look-up table of statistics by name.
    statistics = [getattr(HistoryBuffer, name) for name in ('max', 'min', 'mean', 'current')]
    torch.serialization.add_safe_globals(
        [HistoryBuffer, np.ndarray, np.dtype, getattr, *dtypes, *moved, *statistics])
