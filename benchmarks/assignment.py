"""Assignment: targets of one batch, selection and degrees.

Images of 800 x 1333 with five levels of 22,400 points in all, and 80 classes. The comparison is the same rule image by
image and instance by instance (`benchmarks/per_instance.py`). Before the measurement, both must give the same anchors,
the same certain anchors and the same degrees.
"""

from functools import partial
from typing import Callable, Iterator, List

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks import per_instance, timing
from benchmarks.problem import Problem, problem
from benchmarks.rows import Row
from o2f.assign.degrees import LinearDegrees
from o2f.assign.one_to_many import FCOSSelection, QualityATSSSelection
from o2f.assign.poto import HungarianSelection
from o2f.assign.selection import OneToFewSelection, Selected

#: Instances per image, and how many times as fast as the loop over instances this is to be.
TARGETS = {7: 15, 30: 50, 100: 100, 300: 200}
#: What is a matter of milliseconds is called so often in each turn, so that the turn is not all first call.
CALLS = 10


def measure(quick: bool) -> List[Row]:
    """Time and memory on the CPU, and on a GPU where there is one."""
    size = (200, 333) if quick else (800, 1333)
    targets = {7: None, 30: None} if quick else TARGETS
    problems = {count: problem(count, size=size) for count in targets}
    rows = [_time(count, given, targets[count], quick) for count, given in problems.items()]
    rows += _memory(*list(problems.items())[-1])
    rows += _other_selections(problem(30 if quick else 100, size=size), quick)
    if torch.cuda.is_available():
        rows += [_on_gpu(count, size, quick) for count in (7, 100, 300)]
    return rows


def assign(given: Problem) -> tuple:
    """Section 3.2 and 3.3 as the head calls them: ``Selected`` and the degrees, both (G, S)."""
    selected = OneToFewSelection()(*given.arguments)
    return selected, LinearDegrees()(selected)


def require_identical(given: Problem, selected: Selected, degrees: Tensor) -> None:
    """Raise an AssertionError unless the loop over instances has the same anchors, certain ones and degrees."""
    expected = per_instance.assign(given, dtype=torch.float64)
    assert len(expected) == len(selected.anchor), f'{len(selected.anchor)} instances, not {len(expected)}'
    for number, of_loop in enumerate(expected):
        kept = selected.kept[number]
        anchor, order = selected.anchor[number][kept].sort()
        certain, degree = selected.certain[number][kept][order], degrees[number][kept][order]
        assert torch.equal(anchor, of_loop.anchor), f'instance {number} has other anchors'
        assert torch.equal(certain, of_loop.certain), f'instance {number} has another certain anchor'
        torch.testing.assert_close(degree, of_loop.degree, rtol=1e-12, atol=0)


def _time(count: int, given: Problem, target: float, quick: bool) -> Row:
    require_identical(given, *assign(given))
    seconds = timing.in_turns(
        dict(ours=partial(often, partial(assign, given)), loop=partial(per_instance.assign, given)),
        repeats=1 if quick else 7,
    )
    return Row(
        f'2 images, {count} instances each',
        seconds['ours'] / CALLS * 1e3,
        'ms',
        seconds['loop'] * 1e3,
        'loop over instances',
        faster=target,
    )


def often(function: Callable, calls: int = CALLS) -> None:
    """Call a function again and again."""
    for _ in range(calls):
        function()


def _memory(count: int, given: Problem) -> Iterator[Row]:
    """Beyond the head's outputs and the instances."""
    images = len(given.boxes)
    ours, loop = (timing.memory(partial(function, given))[0] for function in (assign, per_instance.assign))
    case = f'{count} instances per image, memory at the peak per image'
    yield Row(case, ours / images / 1e6, 'MB', loop / images / 1e6, 'loop over instances', below=10)
    with LargestTensor() as largest:
        assign(given)
    score_map = given.cls_logits.numel() * given.cls_logits.element_size()
    case = f'{count} instances per image, largest single tensor made'
    yield Row(case, largest.bytes / 1e6, 'MB', score_map / 1e6, 'the score map', at_most=1.0)


class LargestTensor(TorchDispatchMode):
    """Notes the bytes of the largest tensor that an operation makes; a view of another one is not made."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        there = {_storage(x) for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)}
        result = func(*args, **(kwargs or {}))
        for x in tree_leaves(result):
            if isinstance(x, Tensor) and _storage(x) not in there:
                self.bytes = max(self.bytes, x.numel() * x.element_size())
        return result


def _storage(x: Tensor) -> int:
    return x.untyped_storage().data_ptr()


def _other_selections(given: Problem, quick: bool) -> Iterator[Row]:
    """What the paper's other rows train with."""
    count = len(given.instances.labels) // len(given.boxes)
    selections = {
        "FCOS's own targets": FCOSSelection(),
        'ATSS by quality': QualityATSSSelection(),
        "POTO's Hungarian matching": HungarianSelection(),
    }
    for name, selection in selections.items():
        seconds = timing.in_turns(dict(ours=partial(selection, *given.arguments)), repeats=1 if quick else 7)
        peak = timing.memory(partial(selection, *given.arguments))[0] / 1e6
        case = f'{name}, 2 images, {count} instances each'
        yield Row(case, seconds['ours'] * 1e3, 'ms', note=f'{peak:.1f} MB at the peak')


def _on_gpu(count: int, size: tuple, quick: bool) -> Row:
    """A batch of 16; the host never waits for the device, or CUDA itself raises an error."""
    on_cpu = problem(count, images=16, size=size)
    given = on_cpu.to('cuda')
    # The first call copies the grid's tables to the device. Rounding differs between devices, so that anchors with
    # nearly the same score may change places, but it is seldom.
    selected, expected = assign(given)[0], assign(on_cpu)[0]
    same = (selected.anchor.cpu() == expected.anchor) | ~expected.kept
    assert same.float().mean() > 0.999, 'the GPU has other anchors than the CPU'
    torch.cuda.set_sync_debug_mode('error')
    try:
        assign(given)
    finally:
        torch.cuda.set_sync_debug_mode('default')
    # In one go, as a training step queues it: the host's part counts, the wait at the end once.
    seconds = timing.in_turns(dict(ours=partial(often, partial(assign, given))), repeats=3 if quick else 21)
    return Row(f'16 images, {count} instances each', seconds['ours'] / CALLS * 1e3, 'ms', below=2)
