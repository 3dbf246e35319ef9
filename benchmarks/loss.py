"""Classification loss: Eq. 4 and its gradient.

Two images of 800 x 1333 with 80 classes, so logits of 2 x 22,400 x 80, and 30 instances in each. The comparison is the
same formula by plain autograd in single precision: p = sigmoid x sigmoid, and BCE and the focal loss by their
definitions. Values and gradients must agree before the measurement.
"""

from functools import partial
from typing import Callable, Iterator, List, NamedTuple

import torch
from torch import Tensor

from benchmarks import assignment, timing
from benchmarks.problem import Problem, problem
from benchmarks.rows import Row
from o2f.assign.selection import Selected
from o2f.models.loss import OneToFewLoss


class Targets(NamedTuple):
    """What the loss is called with beside the logits: (G,) labels, (G, S) anchors and degrees, and the normaliser."""

    labels: Tensor
    selected: Selected
    degrees: Tensor
    number: Tensor


def measure(quick: bool) -> List[Row]:
    """On the CPU, and on a GPU where there is one, there also with logits in half precision."""
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    given = problem(30, images=2, size=(200, 333) if quick else (800, 1333)).to(device)
    targets = targets_of(given)
    rows = list(_compare(given, targets, '', quick))
    for dtype in (torch.bfloat16, torch.float16) if device == 'cuda' else ():
        rows += _compare(given.with_logits(dtype), targets, f', logits in {str(dtype)[6:]}', quick)
    return rows


def targets_of(given: Problem) -> Targets:
    """As the head makes them."""
    selected, degrees = assignment.assign(given)
    return Targets(given.instances.labels, selected, degrees, selected.kept.sum().float().clamp(min=1))


def ours(given: Problem, targets: Targets) -> Tensor:
    """``OneToFewLoss`` as released."""
    return OneToFewLoss()(given.cls_logits, given.centerness_logits, *targets)


def plain(given: Problem, targets: Targets) -> Tensor:
    """The same formula for autograd, each sum as it is defined, on probabilities."""
    p = (given.cls_logits.float().sigmoid() * given.centerness_logits.float().sigmoid().unsqueeze(-1)).flatten(0, 1)
    selected, kept = targets.selected, targets.selected.kept
    anchor, label = selected.anchor[kept], targets.labels.unsqueeze(1).expand_as(kept)[kept]
    t, weight = torch.zeros_like(p), torch.zeros_like(p)
    t[anchor, label] = targets.degrees[kept].float()
    weight[anchor, label] = torch.where(selected.certain, 1.0, 0.4)[kept]
    bce = -t * torch.log(p) - (1 - t) * torch.log(1 - p)
    focal = 0.75 * p**2 * -torch.log(1 - p)
    return torch.where(weight > 0, weight * bce, focal).sum() / targets.number


def require_equal(given: Problem, targets: Targets, function: Callable = ours) -> None:
    """Raise an AssertionError unless ``function`` and the plain formula agree in value and in both gradients."""
    (value, *gradients), (expected, *others) = (
        _with_gradients(loss, given.with_gradients(), targets) for loss in (function, plain)
    )
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=0)
    for gradient, other in zip(gradients, others):
        # Near p = 0 the plain formula has lost the digits of 1 - p, but there the gradient is next to nothing.
        torch.testing.assert_close(gradient, other, rtol=1e-2, atol=1e-5 * other.abs().max().item())


def step(function: Callable, given: Problem, targets: Targets) -> None:
    """Forward and backward; the gradients are dropped."""
    _with_gradients(function, given, targets)


def _with_gradients(function: Callable, given: Problem, targets: Targets) -> tuple:
    loss = function(given, targets)
    return loss.detach(), *torch.autograd.grad(loss, (given.cls_logits, given.centerness_logits))


def _compare(given: Problem, targets: Targets, case: str, quick: bool) -> Iterator[Row]:
    require_equal(given, targets)
    given = given.with_gradients()
    runs = {name: partial(step, function, given, targets) for name, function in (('ours', ours), ('plain', plain))}
    seconds = timing.in_turns(runs, repeats=1 if quick else 9)
    yield _row(f'forward and backward{case}', 'ms', seconds['ours'] * 1e3, seconds['plain'] * 1e3, faster=2)
    held = [timing.memory(partial(function, given, targets))[1] / 1e6 for function in (ours, plain)]
    yield _row(f'memory held between the two{case}', 'MB', *held, at_most=0.5)
    peak = [timing.memory(run)[0] / 1e6 for run in runs.values()]
    yield _row(f'memory at the peak of both{case}', 'MB', *peak)


def _row(case: str, unit: str, of_ours: float, of_plain: float, **target: float) -> Row:
    return Row(case, of_ours, unit, of_plain, 'plain autograd', **target)
