"""Section 3.4, Eq. 4 and 5: values and gradients against the reference, and safety where probabilities are not."""

import dataclasses
import itertools
import math

import pytest
import torch
from assignment_cases import TRUTH, joined_gradient, loss_of, make_batch, select
from reference import Settings, assign, box_loss, box_weights, cls_loss, flat, normaliser
from tiny_detectors import head_of

import o2f.models.loss
from o2f.assign.selection import Selected
from o2f.models.loss import OneToFewLoss, log_joint

#: Settings by name: as released, as the paper's text has it, and with nothing at its default.
SETTINGS = dict(
    released=Settings(),
    paper=Settings(ambiguous_weight=1.0, box_weight='uniform', k_includes_certain=False),
    other=Settings(ambiguous_weight=0.7, negative_weight=0.3, gamma=1.5, k=4, alpha=0.6, metric='add', t=0.35),
    one_to_one=Settings(k=0),
)
KINDS = [kind for kind in TRUTH if kind not in ('many', 'large', 'saturated', 'half', 'bfloat16')]
#: Predicted edges lie exactly on true edges, where GIoU has no derivative.
ON_KINKS = ('constant', 'few_values')


def losses_of(batch, settings: Settings, outputs=None):
    """``loss_by_feat`` of the batch, and the maps it was given."""
    outputs = outputs or batch.head_outputs()
    return head_of(batch, settings).loss_by_feat(*outputs, batch.truth(), [{}] * len(batch.instances)), outputs


def expected_of(batch, settings: Settings):
    """The reference's losses and their gradients by classification logits, centerness logits and distances."""
    found = assign(batch, settings)
    leaves = [x.double().requires_grad_() for x in (batch.cls_logits, batch.centerness_logits, batch.distances)]
    losses = (
        cls_loss(*leaves[:2], found, settings, normaliser(found)),
        box_loss(leaves[2], batch, found, settings, sum(box_weights(found, settings))),
    )
    sum(losses).backward()
    return [loss.item() for loss in losses], [leaf.grad for leaf in leaves]


def close(actual, expected, rtol):
    """Elementwise, but for a rounding error of the largest element."""
    atol = rtol * 1e-2 * expected.abs().max().item()
    torch.testing.assert_close(actual.double(), expected.double(), rtol=rtol, atol=atol)


@pytest.mark.parametrize('settings', SETTINGS.values(), ids=SETTINGS.keys())
@pytest.mark.parametrize('kind', KINDS)
def test_equals_the_reference(kind, settings):
    """Both losses of a head, and their gradients by each of its outputs, in single precision."""
    batch = make_batch(kind, seed=1)
    losses, outputs = losses_of(batch, settings)
    assert {name for name in losses if 'loss' in name} == {'loss_cls', 'loss_bbox'}
    sum(losses.values()).backward()
    values, (cls_grad, centerness_grad, distance_grad) = expected_of(batch, settings)
    assert losses['loss_cls'].item() == pytest.approx(values[0], rel=1e-5)
    assert losses['loss_bbox'].item() == pytest.approx(values[1], rel=1e-5)
    close(joined_gradient(outputs[0]), cls_grad, rtol=1e-5)
    close(joined_gradient(outputs[2]).squeeze(-1), centerness_grad, rtol=1e-5)
    if kind not in ON_KINKS:
        close(joined_gradient(outputs[1]), distance_grad, rtol=1e-4)


@pytest.mark.parametrize('settings', SETTINGS.values(), ids=SETTINGS.keys())
@pytest.mark.parametrize('kind', ['three', 'uneven', 'crowd', 'none'])
def test_equals_the_reference_in_double_precision(kind, settings):
    """Eq. 4 with float64 logits agrees to ten digits, so no single-precision number hides in it."""
    batch = make_batch(kind, seed=2)
    selected, degrees = select(batch, settings)
    leaves, others = (
        [x.double().requires_grad_() for x in (batch.cls_logits, batch.centerness_logits)] for _ in range(2)
    )
    loss = loss_of(settings)(*leaves, batch.joined().labels, selected, degrees, torch.tensor(7.0, dtype=torch.float64))
    loss.backward()
    expected = cls_loss(*others, assign(batch, settings), settings, divisor=7.0)
    expected.backward()
    assert loss.dtype == torch.float64
    assert loss.item() == pytest.approx(expected.item(), rel=1e-10)
    for leaf, other in zip(leaves, others):
        close(leaf.grad, other.grad, rtol=1e-9)


def small_problem(scale: float = 2.0, dtype=torch.float64):
    """Two images of six anchors and three classes; certain, ambiguous, lost and negative elements all present."""
    generator = torch.Generator().manual_seed(3)
    logits = (torch.randn(2, 6, 3, generator=generator, dtype=torch.float64) * scale).to(dtype)
    centerness = (torch.randn(2, 6, generator=generator, dtype=torch.float64) * scale).to(dtype)
    selected = Selected(
        anchor=torch.tensor([[0, 1, 2], [2, 4, 3], [9, 7, 11]]),
        p=torch.rand(3, 3, generator=generator).double(),
        kept=torch.tensor([[1, 1, 1], [0, 1, 1], [1, 0, 0]]).bool(),
        certain=torch.tensor([[1, 0, 0], [0, 1, 0], [1, 0, 0]]).bool(),
    )
    degrees = torch.tensor([[1, 0.6, 0.3], [0, 1, 0.6], [1, 0, 0]], dtype=torch.float64)
    return logits, centerness, torch.tensor([0, 2, 1]), selected, degrees


@pytest.mark.parametrize('gamma', [2.0, 1.0, 0.0])
def test_gradcheck(gamma):
    """The hand-written gradient of the negatives and autograd's of the positives are the derivatives of the value."""
    logits, centerness, labels, selected, degrees = small_problem()
    loss = OneToFewLoss(gamma=gamma, loss_weight=1.7)
    assert torch.autograd.gradcheck(
        lambda a, b: loss(a, b, labels, selected, degrees, torch.tensor(5.0)),
        (logits.requires_grad_(), centerness.requires_grad_()),
    )


def test_only_one_of_the_inputs_may_ask_for_a_gradient():
    """A frozen branch has no gradient, and the other's is the same as before."""
    logits, centerness, *rest = small_problem()

    def gradient_of(which):
        leaves = [logits.clone(), centerness.clone()]
        leaves[which].requires_grad_()
        return torch.autograd.grad(OneToFewLoss()(*leaves, *rest, torch.tensor(1.0)), leaves[which])[0]

    both = [logits.clone().requires_grad_(), centerness.clone().requires_grad_()]
    expected = torch.autograd.grad(OneToFewLoss()(*both, *rest, torch.tensor(1.0)), both)
    assert torch.equal(gradient_of(0), expected[0]) and torch.equal(gradient_of(1), expected[1])


def test_loss_weight_and_normaliser():
    """L_cls is proportional to its weight and goes down with the number of positives."""
    problem = small_problem()
    once = OneToFewLoss()(*problem, torch.tensor(1.0))
    assert OneToFewLoss(loss_weight=3.0)(*problem, torch.tensor(6.0)).item() == pytest.approx(once.item() / 2)


# --- extreme logits and low precision -----------------------------------------------------------------------


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize('size', [100.0, 1e4])
def test_finite_for_extreme_logits(size, dtype):
    """Loss and gradients for all signs of both logits on certain, ambiguous and negative elements."""
    _, _, labels, selected, degrees = small_problem()
    for a, b, other in itertools.product((-size, 0.0, size), repeat=3):
        logits = torch.full((2, 6, 3), other, dtype=dtype)
        logits[:, :, 0] = a
        logits.requires_grad_()
        centerness = torch.full((2, 6), b, dtype=dtype, requires_grad=True)
        loss = OneToFewLoss()(logits, centerness, labels, selected, degrees, torch.tensor(4.0))
        loss.backward()
        assert all(tensor.isfinite().all() for tensor in (loss, logits.grad, centerness.grad)), (a, b, other)


def test_values_at_extreme_logits():
    """Where p rounds to 0 or 1: -log p = 1e4 for a certain anchor at -1e4, 0.75 x 1e4 for a negative at 1e4."""
    empty, none = torch.zeros(0, 1), torch.zeros(0, 1).bool()
    nobody = Selected(empty.long(), empty, none, none)
    one = Selected(torch.tensor([[0]]), torch.zeros(1, 1), torch.tensor([[True]]), torch.tensor([[True]]))
    far = torch.full((1, 1, 1), 1e4)
    certain = OneToFewLoss()(-far, far[0], torch.tensor([0]), one, torch.ones(1, 1), torch.tensor(1.0))
    negative = OneToFewLoss()(far, 2 * far[0], torch.zeros(0).long(), nobody, empty, torch.tensor(1.0))
    assert certain.item() == pytest.approx(1e4) and negative.item() == pytest.approx(7500)


@pytest.mark.parametrize('gamma', [2.0, 1.5, 1.0, 0.0])
def test_negatives_are_exact_for_all_logits(gamma):
    """Six digits of each element's loss and derivatives in single precision, near p = 0, near p = 1 and beyond: against
    p^g L and its derivatives in double precision, each factor from its logarithm. Where both logits are beyond 80 and
    far apart, a derivative of 1e-16 may be 0."""
    sizes = torch.tensor([-30.0, -12, -5, -1, 0, 0.5, 3, 9, 17, 40, 79, 81, 85, 120, 300])
    a, b = (x.flatten().requires_grad_() for x in torch.meshgrid(sizes, sizes, indexing='ij'))
    nobody = Selected(torch.zeros(0, 1).long(), torch.zeros(0, 1), *[torch.zeros(0, 1).bool()] * 2)
    rest = torch.zeros(0).long(), nobody, torch.zeros(0, 1), torch.tensor(1.0)
    loss = OneToFewLoss(negative_weight=1.0, gamma=gamma)
    values = torch.stack([loss(x.view(1, 1, 1), y.view(1, 1), *rest) for x, y in zip(a, b)])
    gradients = torch.autograd.grad(values.sum(), (a, b))

    a, b = a.detach().double(), b.detach().double()
    log_p, log_not_p = log_joint(a, b)
    log_not_p = torch.where(log_p < -1, torch.log1p(-log_p.exp()), log_not_p)  # each where it has all its digits
    assert values.double().tolist() == pytest.approx((-log_not_p * (gamma * log_p).exp()).tolist(), rel=1e-6, abs=1e-30)
    for gradient, x in zip(gradients, (a, b)):
        log_not_x = torch.nn.functional.logsigmoid(-x)
        expected = -gamma * log_not_p * (gamma * log_p + log_not_x).exp()
        expected += ((gamma + 1) * log_p + log_not_x - log_not_p).exp()
        assert gradient.tolist() == pytest.approx(expected.tolist(), rel=1e-6, abs=1e-15)


def test_blocks_change_nothing(monkeypatch):
    """Negatives are summed in blocks of anchors; a block of one anchor gives what one block of all does."""
    batch = make_batch('uneven', seed=1)
    expected, others = losses_of(batch, Settings())
    monkeypatch.setitem(o2f.models.loss._BLOCK, 'cpu', 1)
    small, outputs = losses_of(batch, Settings())
    assert small['loss_cls'].item() == pytest.approx(expected['loss_cls'].item(), rel=1e-6)
    small['loss_cls'].backward()
    expected['loss_cls'].backward()
    for map_, other in zip((*outputs[0], *outputs[2]), (*others[0], *others[2])):
        torch.testing.assert_close(map_.grad, other.grad, rtol=1e-5, atol=0)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('kind', ['uneven', 'crowd'])
def test_half_precision_logits_lose_nothing_more(kind, dtype):
    """Loss equal to the single-precision loss of the same rounded logits, gradients equal to its rounded gradients."""
    batch = make_batch(kind, seed=1)
    low = dataclasses.replace(
        batch, cls_logits=batch.cls_logits.to(dtype), centerness_logits=batch.centerness_logits.to(dtype)
    )
    high = dataclasses.replace(low, cls_logits=low.cls_logits.float(), centerness_logits=low.centerness_logits.float())
    (losses, outputs), (expected, others) = (losses_of(which, Settings()) for which in (low, high))
    for name in losses:
        assert losses[name].dtype == torch.float32 and torch.equal(losses[name], expected[name])
    sum(losses.values()).backward()
    sum(expected.values()).backward()
    for map_, other in zip((*outputs[0], *outputs[2]), (*others[0], *others[2])):
        assert map_.grad.dtype == dtype and torch.equal(map_.grad, other.grad.to(dtype))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_autocast_changes_nothing(dtype):
    """Under mixed precision the losses and their gradients are computed as outside of it."""
    batch = make_batch('uneven', seed=1)
    expected, others = losses_of(batch, Settings())
    with torch.autocast('cpu', dtype):
        losses, outputs = losses_of(batch, Settings())
        assert all(loss.dtype == torch.float32 for loss in losses.values())
    sum(losses.values()).backward()
    sum(expected.values()).backward()
    assert {name: loss.item() for name, loss in losses.items()} == {
        name: loss.item() for name, loss in expected.items()
    }
    for map_, other in zip(itertools.chain(*outputs), itertools.chain(*others)):
        assert torch.equal(map_.grad, other.grad)


# --- what the settings mean ---------------------------------------------------------------------------------


def test_other_classes_of_a_selected_anchor_are_negatives():
    """At a certain anchor the other classes are pushed down while its own is pushed up."""
    logits, centerness, labels, selected, degrees = small_problem()
    logits.requires_grad_()
    OneToFewLoss()(logits, centerness, labels, selected, degrees, torch.tensor(1.0)).backward()
    at_certain = logits.grad[0, 0]  # anchor 0 is certain for class 0
    assert at_certain[0] < 0 and at_certain[1] > 0 and at_certain[2] > 0


def test_the_text_of_the_paper_changes_what_it_says():
    """ambiguous_weight=1 adds 0.6 of the ambiguous terms and nothing else; box_weight='uniform' is the mean GIoU loss;
    k_includes_certain=False is K + 1 anchors."""
    batch, released = make_batch('large', seed=1), Settings()
    base, _ = losses_of(batch, released)
    found = assign(batch, released)

    heavier, _ = losses_of(batch, dataclasses.replace(released, ambiguous_weight=1.0))
    terms = sum(
        -positive.degree * math.log(positive.p) - (1 - positive.degree) * math.log1p(-positive.p)
        for positive in flat(found)
        if not positive.certain
    )
    assert (heavier['loss_cls'] - base['loss_cls']).item() == pytest.approx(0.6 * terms / len(flat(found)), rel=1e-4)
    assert torch.equal(heavier['loss_bbox'], base['loss_bbox'])

    uniform, _ = losses_of(batch, dataclasses.replace(released, box_weight='uniform'))
    assert torch.equal(uniform['loss_cls'], base['loss_cls'])
    assert not torch.equal(uniform['loss_bbox'], base['loss_bbox'])  # its value is in test_equals_the_reference

    besides, _ = losses_of(batch, dataclasses.replace(released, k_includes_certain=False))
    one_more, _ = losses_of(batch, dataclasses.replace(released, k=8))
    assert torch.equal(besides['loss_cls'], one_more['loss_cls']) and not torch.equal(
        besides['loss_cls'], base['loss_cls']
    )


@pytest.mark.parametrize(
    ('argument', 'value'),
    [
        ('use_sigmoid', False),
        ('ambiguous_weight', -0.1),
        ('gamma', -1.0),
        ('negative_weight', -0.5),
        ('loss_weight', -1.0),
    ],
)
def test_bad_arguments_are_refused(argument, value):
    with pytest.raises(ValueError, match='loss_cls: .*(use_sigmoid|weights and gamma)'):
        OneToFewLoss(**{argument: value})
