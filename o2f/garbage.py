"""Python's garbage collector, kept out of work that makes many objects and no cycles."""

import contextlib
import gc
from typing import Iterator


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """No search for cycles within; also a decorator.

    An object for each of many detections sets it off again and again. It goes through all objects of the process,
    MMDetection's own half a million among them, and on a small dataset takes longer than the evaluation.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
