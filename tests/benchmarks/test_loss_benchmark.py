"""The benchmark of the classification loss: it runs, and it does not time what is not the same."""

import pytest
import torch

from benchmarks import loss
from benchmarks.problem import problem


@pytest.fixture(scope='module')
def given():
    return problem(6, size=(96, 128), classes=5)


def test_rows_of_a_quick_run():
    """One row of time and two of memory, all positive; the map that is held is the one of the gradient."""
    rows = loss.measure(quick=True)
    time, held, peak = rows[:3]
    assert [row.unit for row in (time, held, peak)] == ['ms', 'MB', 'MB']
    assert all(row.ours > 0 and row.against > 0 for row in rows)
    assert held.met and peak.ours < peak.against
    given = problem(30, size=(200, 333))
    in_mb = given.cls_logits.numel() * 4 / 1e6
    assert held.ours == pytest.approx(in_mb, rel=0.05)


def test_plain_formula_and_loss_agree(given):
    """Also in half precision, whose logits both take as they are."""
    targets = loss.targets_of(given)
    assert targets.selected.kept.sum() > 20
    loss.require_equal(given, targets)
    loss.require_equal(given.with_logits(torch.bfloat16), targets)


@pytest.mark.parametrize(
    'other',
    [
        lambda given, targets: loss.ours(given, targets) * (1 + 3e-4),
        lambda given, targets: loss.ours(given, targets._replace(degrees=targets.degrees * 0.99)),
        lambda given, targets: (
            loss.ours(given, targets) + given.cls_logits[0, 0, 0] - given.cls_logits[0, 0, 0].detach()
        ),
    ],
    ids=['value', 'degrees', 'gradient'],
)
def test_a_difference_is_caught(given, other):
    """In the value, in the targets, and in the gradient alone."""
    with pytest.raises(AssertionError):
        loss.require_equal(given, loss.targets_of(given), other)
