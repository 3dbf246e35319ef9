"""OneToFewLoss as DeFCN's focal loss on p, and with regions to ignore: the settings besides Eq. 4's."""

import itertools
import math

import pytest
import torch
from assignment_cases import joined_gradient, make_batch, select
from mmdet.registry import MODELS
from reference import Settings, assign, cls_loss, flat, focal_loss
from tiny_detectors import FOCAL
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from o2f.assign.degrees import ConstantDegrees
from o2f.assign.selection import Selected
from o2f.models.loss import OneToFewLoss

KINDS = ['none', 'one', 'uneven', 'crowd', 'same_box_other_class', 'degenerate']


def one_hot(batch, selected: Selected) -> Tensor:
    """(B, N, C) float64: 1 at the selected anchor of each instance for its class."""
    target = torch.zeros(batch.cls_logits.shape, dtype=torch.float64)
    flat_target = target.flatten(0, 1)
    for anchors, kept, label in zip(selected.anchor, selected.kept, batch.joined().labels):
        for anchor in anchors[kept]:
            flat_target[anchor, label] = 1
    return target


def problem(kind: str, factor=None, dtype=torch.float64):
    """Leaves, labels, one-to-one targets and their degrees; ``factor`` takes the place of the centerness logits."""
    batch = make_batch(kind, seed=1)
    selected, _ = select(batch, Settings(k=0))
    b = batch.centerness_logits if factor is None else torch.full_like(batch.centerness_logits, factor)
    leaves = [x.detach().clone().to(dtype).requires_grad_() for x in (batch.cls_logits, b)]
    return leaves, (batch.joined().labels, selected, ConstantDegrees(1.0)(selected)), one_hot(batch, selected)


def close(actual: Tensor, expected: Tensor, rtol: float) -> None:
    atol = rtol * 1e-2 * expected.abs().max().item()
    torch.testing.assert_close(actual.double(), expected.double(), rtol=rtol, atol=atol)


@pytest.mark.parametrize('alpha_gamma', [(0.25, 2.0), (0.4, 1.5), (0.5, 1.0)])
@pytest.mark.parametrize('kind', KINDS)
def test_is_the_focal_loss_on_the_joint_score(kind, alpha_gamma):
    """Value and both gradients, all positives being certain; the plain formula on p in double precision."""
    alpha, gamma = alpha_gamma
    settings = dict(positive_weight=alpha, negative_weight=1 - alpha, positive_gamma=gamma, gamma=gamma)
    leaves, targets, target = problem(kind)
    loss = OneToFewLoss(**settings)(*leaves, *targets, torch.tensor(3.0))
    a, b = (leaf.detach().clone().requires_grad_() for leaf in leaves)
    expected = focal_loss(a.sigmoid() * b.sigmoid().unsqueeze(-1), target, alpha, gamma) / 3
    assert loss.dtype == torch.float64 and loss.item() == pytest.approx(expected.item(), rel=1e-10)
    loss.backward()
    expected.backward()
    close(leaves[0].grad, a.grad, rtol=1e-9)
    close(leaves[1].grad, b.grad, rtol=1e-9)


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
@pytest.mark.parametrize('kind', KINDS)
def test_without_a_factor_is_the_focal_loss_of_others(kind, dtype):
    """With b = +inf, the head's score_factor='none': torchvision's and MMDetection's focal loss on the classification
    logits, values and gradients; the gradient by the factor is 0, and nothing is NaN."""
    (a, b), targets, target = problem(kind, factor=float('inf'), dtype=dtype)
    loss = OneToFewLoss(**FOCAL)(a, b, *targets, torch.tensor(5.0))
    loss.backward()
    assert torch.equal(b.grad, torch.zeros_like(b))

    theirs = [a.detach().double().requires_grad_() for _ in range(2)]
    by_mmdet = MODELS.build(dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25))
    expected = (
        sigmoid_focal_loss(theirs[0], target, 0.25, 2.0, reduction='sum') / 5,
        by_mmdet(theirs[1].flatten(0, 1), target.flatten(0, 1), avg_factor=5.0),
    )
    for value, leaf in zip(expected, theirs):
        value.backward()
        # MMDetection adds single precision's epsilon to what it divides by.
        assert loss.item() == pytest.approx(value.item(), rel=1e-5 if dtype == torch.float32 else 1e-7)
        close(a.grad, leaf.grad, rtol=1e-4 if dtype == torch.float32 else 1e-7)


def test_by_default_it_is_eq_4():
    """positive_weight 1 and positive_gamma 0 are the defaults, and leave the positives' terms as Eq. 4 has them."""
    batch, settings = make_batch('uneven', 1), Settings()
    selected, degrees = select(batch, settings)
    arguments = batch.cls_logits.double(), batch.centerness_logits.double(), batch.joined().labels, selected, degrees
    default = OneToFewLoss()(*arguments, torch.tensor(1.0))
    assert torch.equal(default, OneToFewLoss(positive_weight=1.0, positive_gamma=0.0)(*arguments, torch.tensor(1.0)))
    expected = cls_loss(*arguments[:2], assign(batch, settings), settings, divisor=1.0)
    assert default.item() == pytest.approx(expected.item(), rel=1e-10)


def test_positives_are_weighted_by_their_error():
    """Certain anchors by w |1 - p|^gamma and ambiguous ones by their own weight times |t - p|^gamma."""
    batch, settings = make_batch('large', 1), Settings()
    selected, degrees = select(batch, settings)
    loss = OneToFewLoss(negative_weight=0, positive_weight=0.3, positive_gamma=1.5)
    expected = 0.0
    for one in flat(assign(batch, settings)):
        bce = -one.degree * math.log(one.p) - (1 - one.degree) * math.log1p(-one.p)
        expected += (0.3 if one.certain else 0.4) * abs(one.degree - one.p) ** 1.5 * bce
    arguments = batch.cls_logits.double(), batch.centerness_logits.double(), batch.joined().labels, selected, degrees
    # 1e-10: a weight that is kept in single precision would show.
    assert loss(*arguments, torch.tensor(1.0)).item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize('gamma', [2.0, 1.0, 0.5])
def test_gradcheck(gamma):
    """By both logits, certain, ambiguous and negative elements together."""
    batch, settings = make_batch('one', 1), Settings(k=3)
    selected, degrees = select(batch, settings)
    loss = OneToFewLoss(positive_weight=0.25, positive_gamma=gamma)
    leaves = batch.cls_logits.double().requires_grad_(), batch.centerness_logits.double().requires_grad_()
    around = selected.anchor[selected.kept].tolist()

    def of_a_few(a: Tensor, b: Tensor) -> Tensor:  # at the positives alone, as there are thousands of others
        logits, factor = leaves[0].detach().flatten(0, 1).clone(), leaves[1].detach().flatten().clone()
        logits[around], factor[around] = a, b
        shaped = logits.view_as(leaves[0]), factor.view_as(leaves[1])
        return loss(*shaped, batch.joined().labels, selected, degrees, torch.tensor(2.0))

    inputs = leaves[0].detach().flatten(0, 1)[around], leaves[1].detach().flatten()[around]
    assert torch.autograd.gradcheck(of_a_few, [x.clone().requires_grad_() for x in inputs])


@pytest.mark.parametrize('gamma', [2.0, 1.0, 0.5])
@pytest.mark.parametrize('factor', [float('inf'), 1e4, 0.0, -1e4])
@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_finite_for_extreme_logits(dtype, factor, gamma):
    """Also where p is exactly the target, at which a power below 1 has no finite derivative."""
    one = torch.tensor([[True]])
    selected = Selected(torch.tensor([[1]]), torch.ones(1, 1), one, one)
    loss = OneToFewLoss(positive_weight=0.25, positive_gamma=gamma)
    for at_positive, elsewhere in itertools.product((-1e4, 0.0, 1e4), repeat=2):
        logits = torch.full((1, 3, 2), elsewhere, dtype=dtype)
        logits[0, 1, 0] = at_positive
        logits.requires_grad_()
        b = torch.full((1, 3), factor, dtype=dtype, requires_grad=True)
        value = loss(logits, b, torch.tensor([0]), selected, torch.ones(1, 1), torch.tensor(1.0))
        value.backward()
        assert all(x.isfinite().all() for x in (value, logits.grad, b.grad)), (at_positive, elsewhere)


# --- regions to ignore --------------------------------------------------------------------------------------


@pytest.mark.parametrize('settings', [{}, FOCAL], ids=['eq_4', 'focal'])
def test_ignored_anchors_are_no_negatives(settings):
    """They add nothing and get no gradient, for every class; an ignored positive stays a positive."""
    batch = make_batch('uneven', 1)
    selected, degrees = select(batch, Settings())
    points = batch.grid.num_points
    ignored = torch.rand(len(batch.instances) * points, generator=torch.Generator().manual_seed(0)) < 0.3
    ignored[selected.anchor[selected.kept][::2]] = True
    targets = batch.joined().labels, selected, degrees, torch.tensor(1.0)

    def run(ignored=None, **changes):
        outputs = batch.head_outputs()
        maps = [torch.cat([m.flatten(2).transpose(1, 2) for m in outputs[i]], dim=1).double() for i in (0, 2)]
        loss = OneToFewLoss(**{**settings, **changes})(maps[0], maps[1].squeeze(-1), *targets, ignored)
        loss.backward()
        return loss.item(), joined_gradient(outputs[0]).flatten(0, 1), joined_gradient(outputs[2]).flatten()

    (value, grad_a, grad_b), (full, full_a, _) = run(ignored), run()
    # The same sum, element by element: what an ignored anchor's classes would add but for its positive.
    positive = torch.zeros(len(ignored), batch.cls_logits.shape[-1], dtype=torch.bool)
    for anchors, kept, label in zip(selected.anchor, selected.kept, batch.joined().labels):
        positive[anchors[kept], label] = True
    p = (batch.cls_logits.double().sigmoid() * batch.centerness_logits.double().sigmoid().unsqueeze(-1)).flatten(0, 1)
    left_out = ignored.unsqueeze(-1) & ~positive
    assert left_out.sum() > 100 and (ignored.unsqueeze(-1) & positive).any()
    expected = full - (0.75 * p**2 * -torch.log(1 - p))[left_out].sum().item()
    assert value == pytest.approx(expected, rel=1e-9)
    assert not grad_a[left_out].any() and torch.equal(grad_a[~left_out], full_a[~left_out])
    assert not grad_b[ignored & ~positive.any(dim=-1)].any() and grad_b[~ignored].all()


def test_nothing_ignored_changes_nothing():
    """And with everything ignored the positives' terms are what is left."""
    batch = make_batch('three', 1)
    selected, degrees = select(batch, Settings())
    logits = batch.cls_logits.double(), batch.centerness_logits.double()
    targets = batch.joined().labels, selected, degrees, torch.tensor(1.0)
    nothing = torch.zeros(2 * batch.grid.num_points, dtype=torch.bool)
    assert torch.equal(OneToFewLoss()(*logits, *targets), OneToFewLoss()(*logits, *targets, nothing))
    positives = OneToFewLoss(negative_weight=0)(*logits, *targets)
    assert OneToFewLoss()(*logits, *targets, ~nothing).item() == pytest.approx(positives.item(), rel=1e-12)


@pytest.mark.parametrize('argument', ['positive_weight', 'positive_gamma', 'ambiguous_weight'])
def test_bad_arguments_are_refused(argument):
    with pytest.raises(ValueError, match='loss_cls: weights and gammas must be 0 or more'):
        OneToFewLoss(**{argument: -0.1})
