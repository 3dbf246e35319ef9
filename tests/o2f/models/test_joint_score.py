"""log p and log(1 - p) of the joint score are right to the last digits, far beyond where p itself is 0 or 1."""

import itertools
from decimal import Decimal, localcontext

import pytest
import torch

from o2f.models.loss import log_joint

LOGITS = (-100.0, -40.0, -17.5, -3.0, -0.5, 0.0, 0.25, 2.0, 9.0, 30.0, 100.0)


def exact(a: float, b: float):
    """Both logarithms with 200 digits."""
    with localcontext() as context:
        context.prec = 200
        p = 1 / ((1 + (-Decimal(a)).exp()) * (1 + (-Decimal(b)).exp()))
        return float(p.ln()), float((1 - p).ln())


@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float64, 1e-14), (torch.float32, 1e-6)])
def test_equals_200_digits(dtype, tolerance):
    """For all pairs of logits, also where 1 - p rounds to 0: log p to a relative and log(1 - p) to an absolute or a
    relative error at the level of the number format. A log(1 - p) below that belongs to a p that weighs nothing."""
    a, b = zip(*itertools.product(LOGITS, repeat=2))
    log_p, log_not_p = log_joint(torch.tensor(a, dtype=dtype), torch.tensor(b, dtype=dtype))
    expected = [exact(*pair) for pair in zip(a, b)]
    assert log_p.tolist() == pytest.approx([pair[0] for pair in expected], rel=tolerance, abs=1e-37)
    assert log_not_p.tolist() == pytest.approx([pair[1] for pair in expected], rel=tolerance, abs=tolerance)


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
def test_finite_for_all_finite_logits(dtype):
    """Values and gradients, at the largest logits half precision can hold and beyond."""
    extremes = (-1e30, -65504.0, -1e4, -100.0, 0.0, 100.0, 1e4, 65504.0, 1e30)
    a, b = (torch.tensor(x, dtype=dtype, requires_grad=True) for x in zip(*itertools.product(extremes, repeat=2)))
    logs = log_joint(a, b)
    gradients = torch.autograd.grad(sum(log.sum() for log in logs), (a, b))
    assert all(tensor.isfinite().all() for tensor in (*logs, *gradients))


def test_values_at_extreme_logits():
    """p = 1/4 at 0 and 0; 1 - p = e^-x + e^-y for large x and y."""
    a, b = torch.tensor([0.0, 1e4, 1e4, -1e4], dtype=torch.float64), torch.tensor([0.0, 1e4, 2e4, 1e4]).double()
    log_p, log_not_p = log_joint(a, b)
    assert log_p.exp()[0].item() == pytest.approx(0.25)
    assert log_not_p.tolist() == pytest.approx([torch.tensor(0.75).log().item(), -1e4 + 0.6931471805599453, -1e4, 0])
    assert log_p.tolist()[3] == -1e4


def test_broadcasts():
    assert [log.shape for log in log_joint(torch.zeros(2, 5, 3), torch.zeros(2, 5, 1))] == [(2, 5, 3)] * 2


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
def test_a_factor_of_one(dtype):
    """b = +inf: p is sigmoid(a) exactly, values and gradients are those of logsigmoid, and none is NaN."""
    a = torch.tensor([-1e30, -1e4, -100.0, -1.0, 0.0, 1.0, 100.0, 1e4, 1e30], dtype=dtype, requires_grad=True)
    infinite = torch.full_like(a, float('inf'))
    for log, sign in zip(log_joint(a, infinite), (1, -1)):
        expected = torch.nn.functional.logsigmoid(sign * a)
        assert torch.equal(log, expected)
        assert torch.equal(*(torch.autograd.grad(x.sum(), a, retain_graph=True)[0] for x in (log, expected)))
