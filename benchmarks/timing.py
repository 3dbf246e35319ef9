"""Time and memory, measured in turns, so that a drifting machine is as slow for the one as for the other."""

import contextlib
import os
import sys
import time
from statistics import median
from typing import Any, Callable, Dict, Iterator, Sequence, Tuple

import torch


def in_turns(
    functions: Dict[str, Callable[[], Any]], repeats: int = 7, enough_s: float = 60.0, least: int = 3
) -> Dict[str, float]:
    """Median seconds of each function, called one after the other again and again, after one call that is not counted.

    Args:
        functions (dict): what to time, by name.
        repeats (int): turns.
        enough_s (float): no further turn is begun after so many seconds, once there were ``least``.
        least (int): turns that are taken however long they last.
    """
    for function in functions.values():
        function()
    times: Dict[str, list] = {name: [] for name in functions}
    begin = time.perf_counter()
    for turn in range(repeats):
        if turn >= least and time.perf_counter() - begin > enough_s:
            break
        for name, function in functions.items():
            times[name].append(seconds(function))
    return {name: median(of_name) for name, of_name in times.items()}


def seconds(function: Callable[[], Any]) -> float:
    """Wall seconds of one call, until a GPU has done its part too."""
    _wait()
    begin = time.perf_counter()
    function()
    _wait()
    return time.perf_counter() - begin


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def memory(function: Callable[[], Any]) -> Tuple[int, int]:
    """Bytes that one call allocates through torch beyond what is there before: at the peak, and held at its end by
    what it returns."""
    if torch.cuda.is_available():
        return _memory_of_gpu(function)
    with _quiet():
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
            result = function()  # held until all events are taken  # noqa: F841
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == '[memory]']
    return _peak([event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The profiler tells standard error, past Python, when it starts and stops; lost with it is what else is said."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _peak(changes: Sequence[int]) -> Tuple[int, int]:
    held = peak = 0
    for change in changes:
        held += change
        peak = max(peak, held)
    return peak, held


def _memory_of_gpu(function: Callable[[], Any]) -> Tuple[int, int]:
    _wait()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    result = function()  # noqa: F841
    _wait()
    return torch.cuda.max_memory_allocated() - before, torch.cuda.memory_allocated() - before
