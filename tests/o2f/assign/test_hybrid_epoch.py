"""Hybrid-Epoch: which targets each epoch has, over the schedules of the paper and in a resumed run."""

import pytest
import torch
from assignment_cases import make_batch
from mmdet.registry import TASK_UTILS
from tiny_detectors import head_config, train

from o2f.assign.hybrid_epoch import HybridEpochSelection
from o2f.assign.one_to_many import FCOSSelection
from o2f.assign.selection import OneToFewSelection

MANY = dict(type='FCOSSelection', regress_ranges=((-1, 16), (16, 32), (32, 1e8)))
ONE = dict(type='OneToFewSelection', k=0)


def is_one_to_many(selection: HybridEpochSelection) -> bool:
    """Read off the targets themselves, of a batch for which the two kinds differ."""
    batch = make_batch('large', 1)
    arguments = batch.cls_logits, batch.centerness_logits, batch.boxes, batch.joined(), batch.grid
    selected = selection(*arguments)
    kinds = {
        True: selection.one_to_many(*arguments),
        False: selection.one_to_one(*arguments),
    }
    assert kinds[True].kept.sum() > kinds[False].kept.sum() > 0
    return next(
        many
        for many, other in kinds.items()
        if selected.anchor.shape == other.anchor.shape
        and all(torch.equal(getattr(selected, name), getattr(other, name)) for name in vars(other))
    )


@pytest.mark.parametrize(
    ('epochs', 'switch', 'first_one_to_one'),
    [
        (12, 2 / 3, 8),
        (36, 2 / 3, 24),
        (50, 2 / 3, 34),  # 33.3: epoch 33 is still below
        (12, 0.5, 6),
        (3, 0.34, 2),
        (100, 0.29, 29),  # the product is 28.999999999999996
        (100, 0.07, 7),  # the product is 7.000000000000001
        (12, 0, 0),
        (12, 1, 12),
        (1, 0, 0),
        (1, 1, 1),
        (1, 2 / 3, 1),
    ],
)
def test_epochs(epochs, switch, first_one_to_one):
    """One-to-many while the epoch, counted from 0, is below rho x N."""
    selection = HybridEpochSelection(MANY, ONE, switch)
    schedule = []
    for epoch in range(epochs):
        selection.set_epoch(epoch, epochs)
        schedule.append(selection.active is selection.one_to_many)
    assert schedule == [epoch < first_one_to_one for epoch in range(epochs)]


def test_targets_are_those_of_the_active_selection():
    """In any order of epochs, as a resumed run or a second training begins anywhere."""
    selection = HybridEpochSelection(MANY, ONE)
    for epoch, many in ((0, True), (11, False), (7, True), (8, False), (3, True)):
        selection.set_epoch(epoch, 12)
        assert is_one_to_many(selection) is many


@pytest.mark.parametrize(('switch', 'many'), [(0, False), (0.5, True), (1, True)])
def test_before_any_epoch(switch, many):
    """Without a hook that tells the epoch it is the first."""
    assert is_one_to_many(HybridEpochSelection(MANY, ONE, switch)) is many


def test_defaults():
    """H-DETR's 2/3, FCOS's own targets, then the arg-max of Eq. 1."""
    selection = HybridEpochSelection()
    assert selection.switch == 2 / 3
    assert isinstance(selection.one_to_many, FCOSSelection) and len(selection.one_to_many.regress_ranges) == 5
    assert isinstance(selection.one_to_one, OneToFewSelection) and selection.one_to_one.num_selected == 1


def test_the_other_one_to_many_targets():
    """The 10 best by Eq. 1, which the default's docstring names."""
    selection = HybridEpochSelection(dict(type='OneToFewSelection', k=10), ONE)
    selection.set_epoch(0, 12)
    assert is_one_to_many(selection) and selection.active.num_selected == 10


def test_nested_selections_are_told_the_epoch():
    """Either part may have a schedule of its own, also while it is not active: three kinds of targets in a row."""
    three = dict(type='OneToFewSelection', k=3)
    inner = dict(type='HybridEpochSelection', one_to_many=three, one_to_one=ONE, switch=0.75)
    for outer in (
        dict(type='HybridEpochSelection', one_to_many=MANY, one_to_one=inner, switch=0.25),
        dict(type='HybridEpochSelection', one_to_many=inner, one_to_one=MANY, switch=1),
    ):
        selection, kinds = TASK_UTILS.build(outer), []
        for epoch in range(12):
            selection.set_epoch(epoch, 12)
            active = selection.active
            while isinstance(active, HybridEpochSelection):
                active = active.active
            kinds.append(getattr(active, 'num_selected', 'many'))
        assert kinds == (['many'] * 3 + [3] * 6 + [1] * 3 if outer['switch'] == 0.25 else [3] * 9 + [1] * 3)


@pytest.mark.parametrize('value', [-0.1, 1.1, float('nan')])
def test_bad_switch_is_named(value):
    with pytest.raises(ValueError, match='selection: switch must be'):
        HybridEpochSelection(switch=value)


def test_in_a_training_that_is_stopped_and_resumed(tmp_path):
    """Over mmengine's Runner and EpochHook: two epochs of three are one-to-many, and a run resumed in the third does
    not begin with them again."""
    head = head_config(
        selection=dict(type='HybridEpochSelection', one_to_many=MANY, one_to_one=ONE),
        degrees=dict(type='ConstantDegrees', t=1.0),
    )

    def note(head):
        return head.selection.active is head.selection.one_to_many

    seen = {
        name: train(tmp_path / folder, head=head, note=note, **how)[0]
        for name, folder, how in (
            ('whole', 'whole', {}),
            ('stopped', 'resumed', dict(stop_before=2)),
            ('resumed', 'resumed', dict(resume=True)),
        )
    }
    assert seen['whole'] == [(0, True)] * 2 + [(1, True)] * 2 + [(2, False)] * 2
    assert seen['stopped'] == seen['whole'][:4] and seen['resumed'] == seen['whole'][4:]
