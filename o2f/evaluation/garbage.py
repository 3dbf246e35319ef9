"""Python's garbage collector beside an evaluation."""

import contextlib
import gc
from typing import Iterator


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """Turn the garbage collector off, as a context or a decorator.

    An evaluation creates an object for each detection, which starts the collector again and again. It visits all
    objects of the process, half a million of them MMDetection's. On a small dataset that takes longer than the
    evaluation.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
