"""Section 3.3: Eq. 3's degrees and their schedule."""

import math

import pytest
import torch
from assignment_cases import make_batch
from reference import iou, sigmoid

from o2f.assign.degrees import (
    ConstantDegrees,
    LinearDegrees,
    QualityDegrees,
    ScheduledDegrees,
    positives_per_instance,
)
from o2f.assign.selection import OneToFewSelection, Selected

#: Two instances with three ambiguous anchors in all, one that kept only its certain anchor, one that kept none.
SELECTED = Selected(
    anchor=torch.arange(16).view(4, 4),
    p=torch.tensor(
        [[0.9, 0.5, 0.25, 0.8], [0.2, 0.9, 0.4, 0.9], [0.9, 0.9, 0.9, 0.9], [0.9, 0.9, 0.9, 0.9]], dtype=torch.float64
    ),
    kept=torch.tensor([[1, 1, 1, 0], [1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]]).bool(),
    certain=torch.tensor([[1, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]).bool(),
)


def test_eq_3_over_the_ambiguous_anchors_alone():
    """The maximum leaves out the certain anchor and those that were lost; others get no degree."""
    degrees = LinearDegrees(t_max=0.6, t_min=0.2)(SELECTED)
    assert degrees.dtype == torch.float64
    assert degrees.tolist() == [[1, 0.6, 0.3, 0], [1, 0, 0.6, 0], [0, 1, 0, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize('epochs', [2, 12, 36, 50])
@pytest.mark.parametrize(('t_max', 't_min'), [(0.6, 0.2), (0.7, 0.1), (0.4, 0.4)])
def test_t_falls_linearly(epochs, t_max, t_min):
    """T^j of Eq. 3 for j = 0 ... N - 1: T^max first, T^min last, and the formula between."""
    degrees = LinearDegrees(t_max, t_min)
    schedule = []
    for epoch in range(epochs):
        degrees.set_epoch(epoch, epochs)
        schedule.append(degrees.t)
    assert schedule == pytest.approx([(t_min - t_max) / (epochs - 1) * j + t_max for j in range(epochs)], abs=1e-15)
    assert schedule[0] == t_max and schedule[-1] == pytest.approx(t_min, abs=1e-15)
    assert degrees(SELECTED)[0].tolist() == pytest.approx([1, t_min, t_min / 2, 0])


def test_training_of_one_epoch_has_t_max():
    """N = 1 divides by N - 1 = 0 in Eq. 3; the first epoch's value stands."""
    degrees = LinearDegrees(0.6, 0.2)
    degrees.set_epoch(0, 1)
    assert degrees.t == 0.6


def test_before_any_epoch_t_is_t_max():
    assert LinearDegrees(0.5, 0.1).t == 0.5


def test_vanishing_scores_give_degrees_of_0():
    """p / max p is 0 / 0 when all joint scores underflow; the degree is then 0, not NaN."""
    nothing = Selected(SELECTED.anchor, torch.zeros_like(SELECTED.p), SELECTED.kept, SELECTED.certain)
    assert torch.equal(LinearDegrees()(nothing), SELECTED.certain.double())


def test_constant_degrees():
    """Table 1: t for every ambiguous anchor, whatever its score and the epoch."""
    degrees = ConstantDegrees(0.25)
    degrees.set_epoch(11, 12)
    assert degrees(SELECTED).dtype == torch.float64
    assert degrees(SELECTED).tolist() == [[1, 0.25, 0.25, 0], [1, 0, 0.25, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert ConstantDegrees(1)(SELECTED).tolist() == SELECTED.kept.double().tolist()


def test_constant_degrees_are_exact():
    """Degrees are promised in double precision, so 0.2 must not come back as single precision's 0.2."""
    assert ConstantDegrees(0.2)(SELECTED)[0].tolist() == [1, 0.2, 0.2, 0]


@pytest.mark.parametrize('degrees', [LinearDegrees(), ConstantDegrees(0.2)], ids=['linear', 'constant'])
def test_without_instances(degrees):
    empty = Selected(*(tensor[:0] for tensor in (SELECTED.anchor, SELECTED.p, SELECTED.kept, SELECTED.certain)))
    assert degrees(empty).shape == (0, 4)


@pytest.mark.parametrize(
    ('kind', 'argument', 'value'),
    [
        (LinearDegrees, 't_max', 1.1),
        (LinearDegrees, 't_max', -0.1),
        (LinearDegrees, 't_min', 2),
        (LinearDegrees, 't_min', -1),
        (LinearDegrees, 't_min', float('nan')),
        (ConstantDegrees, 't', 1.5),
        (ConstantDegrees, 't', -0.5),
    ],
)
def test_bad_arguments_are_named(kind, argument, value):
    with pytest.raises(ValueError, match=f'degrees: {argument} must be'):
        kind(**{argument: value})


def test_positives_per_instance():
    """Of the four instances three have a certain anchor; they have three ambiguous ones with 0.6 + 0.3 + 0.6."""
    found = positives_per_instance(SELECTED, LinearDegrees(0.6, 0.2)(SELECTED))
    assert {name: value.item() for name, value in found.items()} == pytest.approx(
        dict(certain_anchors=3 / 4, ambiguous_anchors=3 / 4, ambiguous_degree=1.5 / 4)
    )
    nobody = Selected(*(getattr(SELECTED, name)[:0] for name in ('anchor', 'p', 'kept', 'certain')))
    assert all(value == 0 for value in positives_per_instance(nobody, nobody.p).values())


def test_scheduled_degrees_follow_their_schedule():
    """Eq. 3 with another shape of T^j; with a linear one they are the paper's degrees."""
    cosine = ScheduledDegrees(dict(first=0.6, last=0.2, shape='cosine'))
    linear, paper = ScheduledDegrees(dict(first=0.6, last=0.2)), LinearDegrees(0.6, 0.2)
    for epoch in range(12):
        for degrees in (cosine, linear, paper):
            degrees.set_epoch(epoch, 12)
        t = 0.4 + 0.2 * math.cos(math.pi * epoch / 11)
        assert cosine(SELECTED)[0].tolist() == pytest.approx([1, t, t / 2, 0])
        assert torch.equal(linear(SELECTED), paper(SELECTED))


@pytest.mark.parametrize(
    ('kind', 'seed'), [('three', 0), ('crowd', 1), ('clusters', 2), ('no_overlap', 0), ('none', 0)]
)
@pytest.mark.parametrize(('a', 'b'), [(0.5, 6), (0.5, 2), (1, 0)])
def test_quality_degrees_are_those_of_a_slow_loop(kind, seed, a, b):
    """t = u* m / m* with m = p^a u^b, over the anchors that an instance keeps, the certain one included."""
    batch = make_batch(kind, seed)
    instances = batch.joined()
    outputs = batch.cls_logits, batch.centerness_logits, batch.boxes
    selected = OneToFewSelection(k=10)(*outputs, instances, batch.grid)
    found = QualityDegrees(a, b)(selected)
    assert found.dtype == torch.float64 and found.shape == selected.anchor.shape
    boxes = batch.boxes.flatten(0, 1).double().tolist()
    for j, (box, label) in enumerate(zip(instances.boxes.double().tolist(), instances.labels.tolist())):
        kept = [i for i, keep in enumerate(selected.kept[j].tolist()) if keep]
        u = {i: iou(boxes[selected.anchor[j, i]], box) for i in kept}
        p = {}
        for i in kept:
            image, anchor = divmod(int(selected.anchor[j, i]), batch.grid.num_points)
            logits = batch.cls_logits[image, anchor, label], batch.centerness_logits[image, anchor]
            p[i] = sigmoid(float(logits[0])) * sigmoid(float(logits[1]))
        m = {i: p[i] ** a * u[i] ** b for i in kept}
        for i in range(found.size(1)):
            expected = max(u.values()) * m[i] / max(m.values()) if i in kept and max(m.values()) > 0 else 0.0
            assert found[j, i].item() == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert kind in ('none', 'no_overlap') or (found[selected.certain] < 1).any()


def test_bad_powers_are_named():
    with pytest.raises(ValueError, match='degrees: powers must be 0 or more, not -1 and 6'):
        QualityDegrees(p_power=-1, iou_power=6)
