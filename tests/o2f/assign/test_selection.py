"""Section 3.2: the vectorised selection picks what the slow reference picks, and reads nothing back from the device."""

import dataclasses
import math
import random
from collections import Counter

import pytest
import torch
from assignment_cases import SETTINGS, TRUTH, Batch, make_batch, select, selection_of, settings_number
from reference import Settings, as_float32, assign, flat
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import o2f.assign.matching_score
from o2f.assign.centre_region import candidate_points, num_candidates
from o2f.assign.degrees import ConstantDegrees, LinearDegrees
from o2f.assign.matching_score import Instances
from o2f.assign.one_to_many import FCOSSelection, QualityATSSSelection
from o2f.assign.selection import OneToFewSelection
from o2f.models.loss import OneToFewLoss

SEEDS = range(18)
CASES = [(kind, seed, index) for index, (kind, seed) in enumerate((kind, seed) for kind in TRUTH for seed in SEEDS)]
aten = torch.ops.aten


def described(selected, degrees) -> list:
    """Per instance, best first: (anchor of the batch, certain, degree in single precision) of what it keeps."""
    columns = selected.anchor, selected.kept, selected.certain, degrees
    return [
        [(anchor, certain, as_float32(degree)) for anchor, kept, certain, degree in zip(*rows) if kept]
        for rows in zip(*(column.tolist() for column in columns))
    ]


def expected_of(batch: Batch, settings: Settings) -> list:
    """The same by the reference."""
    points = batch.boxes.shape[1]
    return [
        [
            (positive.image * points + positive.anchor, positive.certain, as_float32(positive.degree))
            for positive in kept
        ]
        for kept in assign(batch, settings)
    ]


def label_map(batch: Batch, selected, degrees) -> torch.Tensor:
    """(B, N, C) of 1 at certain, 0 at ambiguous and -1 at negative elements, read off the loss's gradient: with these
    weights each kind of element pulls its logit another way."""
    logits = torch.zeros(batch.cls_logits.shape, dtype=torch.float64, requires_grad=True)
    loss = OneToFewLoss(ambiguous_weight=0, negative_weight=1, gamma=0)
    loss(
        logits,
        torch.zeros(logits.shape[:2], dtype=torch.float64),
        batch.joined().labels,
        selected,
        degrees,
        torch.tensor(1.0),
    ).backward()
    return -logits.grad.sign()


@pytest.mark.parametrize(('kind', 'seed', 'number'), CASES, ids=[f'{kind}-{seed}' for kind, seed, _ in CASES])
def test_equals_the_reference(kind, seed, number):
    """Anchors of every instance in order, which is certain, degrees, joint scores and the label of every element."""
    batch, settings = make_batch(kind, seed), settings_number(number)
    selected, degrees = select(batch, settings)
    assert described(selected, degrees) == expected_of(batch, settings)
    expected = assign(batch, settings)
    assert selected.p[selected.kept].tolist() == pytest.approx([positive.p for positive in flat(expected)], rel=1e-14)
    labels = torch.full(batch.cls_logits.shape, -1.0)
    for positive in flat(expected):
        labels[positive.image, positive.anchor, positive.label] = float(positive.certain)
    assert torch.equal(label_map(batch, selected, degrees).float(), labels)


def test_the_cases_cover_what_they_should():
    """The random cases are no empty promise: all settings occur, and conflicts, ties and caps do happen."""
    assert {number * 37 % len(SETTINGS) for _, _, number in CASES} == set(range(len(SETTINGS))) and len(CASES) >= 300
    kept, lost, capped = Counter(), Counter(), Counter()
    for kind, seed, number in CASES[::3]:
        batch, settings = make_batch(kind, seed), dataclasses.replace(settings_number(number), k=7)
        expected = assign(batch, settings)
        kept[kind] += len(flat(expected))
        capped[kind] += sum(len(found) < 7 for found in expected)
        lost[kind] += sum(not found for found in expected)
    assert all(kept[kind] > 0 for kind in TRUTH if kind != 'none')
    assert all(lost[kind] > 0 for kind in ('many', 'same_box_same_class', 'small', 'outside', 'degenerate'))
    assert all(capped[kind] > 0 for kind in ('no_overlap', 'crowd', 'many'))


def test_one_anchor_is_never_two_instances():
    """Each anchor belongs to at most one instance, and each instance that kept any has exactly one certain anchor."""
    for seed in range(6):
        selected, _ = select(make_batch('crowd', seed), Settings())
        kept = selected.anchor[selected.kept].tolist()
        assert len(kept) == len(set(kept)) > 0
        assert torch.equal(selected.certain.sum(dim=1), selected.kept.any(dim=1).long())
        assert not (selected.ambiguous & (selected.certain | ~selected.kept)).any()


def test_k_counts_the_certain_anchor_or_not():
    """k_includes_certain=False is the paper's text: one anchor more. K = 0 is one-to-one either way."""
    batch = make_batch('large', 1)  # large boxes: Omega has 3 x 3 points on most levels
    for k in (0, 1, 4, 7):
        released, paper = (select(batch, Settings(k=k, k_includes_certain=flag))[0] for flag in (True, False))
        assert released.anchor.shape[1] == max(k, 1)
        assert paper.anchor.shape[1] == k + 1
        assert torch.equal(paper.anchor[:, : max(k, 1)], released.anchor)


def test_one_to_one_is_the_best_anchor_alone():
    """K = 0 gives every instance one anchor, and no ambiguous one."""
    selected, degrees = select(make_batch('three', 0), Settings(k=0))
    assert selected.kept.all() and selected.certain.all() and not selected.ambiguous.any()
    assert torch.equal(degrees, torch.ones(6, 1, dtype=torch.float64))


@pytest.mark.parametrize(('k', 'claims'), [(0, 7), (3, 7), (7, 7)])
@pytest.mark.parametrize('kind', ['three', 'crowd', 'clusters', 'same_box_same_class', 'small', 'none'])
def test_claims_more_than_it_keeps(kind, k, claims):
    """Conflicts are resolved over all that are claimed; then each instance keeps the best of what it won."""
    batch, settings = make_batch(kind, 1), Settings(k=k, claims=claims)
    assert described(*select(batch, settings)) == expected_of(batch, settings)


def test_claiming_more_keeps_instances_from_getting_nothing():
    """Where many instances want one anchor, all but one have another wish."""
    batch = make_batch('crowd', 1)
    one, seven = (select(batch, Settings(k=0, claims=claims))[0].kept for claims in (None, 7))
    assert seven.sum(dim=1).max() == 1 and seven.any(dim=1).sum() > one.any(dim=1).sum()


def test_k_can_change_over_the_epochs():
    """K from 7 to 1: each epoch is that of the rounded K, and it is at 7 before the first."""
    batch = make_batch('large', 1)
    arguments = batch.cls_logits, batch.centerness_logits, batch.boxes, batch.joined(), batch.grid
    falling, seen = OneToFewSelection(k=dict(first=7, last=1)), []
    assert falling.num_selected == 7
    for epoch in range(12):
        falling.set_epoch(epoch, 12)
        seen.append(falling.num_selected)
        assert torch.equal(falling(*arguments).anchor, OneToFewSelection(k=seen[-1])(*arguments).anchor)
    assert seen == [math.floor(7 - 6 * epoch / 11 + 0.5) for epoch in range(12)] and {7, 4, 1} <= set(seen)


@pytest.mark.parametrize(
    ('arguments', 'says'),
    [
        (dict(claims=0), 'selection: claims must be a whole number, 1 or more, not 0'),
        (dict(claims=1.5), 'selection: claims must be a whole number, 1 or more, not 1.5'),
        (dict(k=7, claims=3), 'selection: claims must be 7, as many as it keeps, or more, not 3'),
        (dict(k=dict(first=0, last=4), claims=3, k_includes_certain=False), 'selection: claims must be 5'),
        (dict(k=dict(first=7, last=0.5)), 'selection: k must be a whole number, 0 or more'),
        (dict(radius='box'), "selection: radius must be above 0, None for the whole box, or 'image' .* not 'box'"),
    ],
)
def test_bad_further_settings_are_named(arguments, says):
    with pytest.raises(ValueError, match=says):
        OneToFewSelection(**arguments)


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('kind', [kind for kind in TRUTH if kind != 'many'])
def test_without_a_radius_every_point_in_the_box_is_a_candidate(kind, seed):
    """radius=None with K = 9: the Top-k targets of DeFCN's auxiliary loss."""
    batch, settings = make_batch(kind, seed), Settings(k=9, radius=None)
    assert described(*select(batch, settings)) == expected_of(batch, settings)


@pytest.mark.parametrize('kind', ['three', 'uneven', 'crowd', 'large', 'outside'])
def test_given_centres_move_omega(kind):
    """With points beside the boxes' middles, as masks' centroids are, the targets are those of the moved Omega."""
    batch, rng = make_batch(kind, 1), random.Random(0)
    batch.centres = [
        [tuple(as_float32(rng.uniform(low, high)) for low, high in zip(box[:2], box[2:])) for box, _ in found]
        for found in batch.instances
    ]
    selected, degrees = select(batch, Settings())
    assert described(selected, degrees) == expected_of(batch, Settings())
    moved = dataclasses.replace(batch, centres=None)
    assert described(*select(moved, Settings())) != described(selected, degrees)


@pytest.mark.parametrize('kind', ['none', 'one', 'uneven', 'crowd', 'clusters', 'same_box_same_class'])
@pytest.mark.parametrize('selection', [OneToFewSelection(), OneToFewSelection(radius=None), QualityATSSSelection()])
def test_parts_of_the_instances_change_nothing(monkeypatch, selection, kind):
    """Candidates of one instance, of two or of all at a time; conflicts are between instances of different parts."""
    batch = make_batch(kind, 1)
    batch.centres = [[box[:2] for box, _ in found] for found in batch.instances] if kind == 'crowd' else None
    arguments = batch.cls_logits, batch.centerness_logits, batch.boxes, batch.joined(), batch.grid
    expected = selection(*arguments)
    index, _ = candidate_points(arguments[3].boxes, batch.grid, selection.radius)
    assert index.shape[1] == num_candidates(batch.grid, selection.radius)
    for at_once in (1, 2):
        monkeypatch.setitem(
            o2f.assign.matching_score._PART, 'cpu', at_once * num_candidates(batch.grid, selection.radius)
        )
        selected = selection(*arguments)
        for name in ('anchor', 'kept', 'certain'):
            assert torch.equal(getattr(selected, name), getattr(expected, name))
        torch.testing.assert_close(selected.p, expected.p, rtol=1e-14, atol=0)


def test_selection_has_no_gradient():
    """p of Eq. 3 is a constant to autograd."""
    batch = make_batch('three', 1)
    batch.cls_logits.requires_grad_()
    selected, degrees = select(batch, Settings())
    assert not selected.p.requires_grad and not degrees.requires_grad


@pytest.mark.parametrize(
    ('argument', 'value'),
    [
        ('k', -1),
        ('k', 1.5),
        ('k', float('nan')),
        ('alpha', -0.1),
        ('alpha', 1.1),
        ('alpha', float('nan')),
        ('metric', 'mean'),
        ('radius', 0),
        ('radius', -1.5),
        ('radius', float('nan')),
    ],
)
def test_bad_arguments_are_named(argument, value):
    with pytest.raises(ValueError, match=f'selection: {argument} must be'):
        OneToFewSelection(**{argument: value})


def test_a_whole_number_may_be_written_as_a_float():
    """k = 7.0 passes the check of arguments, so it must work as 7 does."""
    batch = make_batch('three', 0)
    whole, written = (select(batch, Settings(k=k))[0] for k in (7, 7.0))
    assert torch.equal(whole.kept, written.kept)


# --- no waiting for the device, no points x instances matrix ------------------------------------------------


class StaysOnDevice(TorchDispatchMode):
    """Fails on any operation on ``device`` whose result the host must wait for, and on any tensor of more than
    ``limit`` elements."""

    READS = (
        aten._local_scalar_dense,
        aten.item,
        aten.nonzero,
        aten.masked_select,
        aten.equal,
        aten.is_nonzero,
        aten.unique_dim,
        aten._unique2,
        aten.repeat_interleave,
    )

    def __init__(self, device: str, limit: int) -> None:
        super().__init__()
        self.device = torch.device(device)
        self.limit = limit
        self.largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if any(isinstance(x, torch.Tensor) and x.device == self.device for x in tree_leaves((args, kwargs))):
            self._check(func, args, kwargs)
        result = func(*args, **kwargs)
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self.largest = max(self.largest, tensor.numel())
                assert tensor.numel() <= self.limit, f'{func} makes {tuple(tensor.shape)}'
        return result

    def _check(self, func, args, kwargs) -> None:
        assert func.overloadpacket not in self.READS, f'{func} waits for the device'
        if func.overloadpacket is aten._to_copy:
            assert kwargs.get('device') in (None, self.device), f'{func} copies to {kwargs["device"]}'
        if func.overloadpacket in (aten.index, aten.index_put, aten.index_put_):
            assert not any(mask.dtype == torch.bool for mask in args[1] if mask is not None), f'{func} counts a mask'


def _full_size(device: str):
    """Arguments of the selection for 300 instances of 80 classes on an image of 800 x 1333."""
    batch = Batch(*[torch.zeros(())] * 3, ((100, 167), (50, 84), (25, 42), (13, 21), (7, 11)), (8, 16, 32, 64, 128), [])
    points = batch.grid.num_points
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(300, 2, generator=generator) * torch.tensor([1333.0, 800.0])
    batch.instances = [[(box, index % 80) for index, box in enumerate(torch.cat((corner, corner + 60), 1).tolist())]]
    instances = batch.joined()
    tensors = [
        torch.randn(1, points, 80, generator=generator),
        torch.randn(1, points, generator=generator),
        torch.rand(1, points, 4, generator=generator) * 100,
    ]
    moved = Instances(instances.boxes.to(device), instances.labels.to(device), instances.image.to(device))
    return *(tensor.to(device) for tensor in tensors), moved, batch.grid


@pytest.mark.parametrize('device', ['cpu', 'meta'])
@pytest.mark.parametrize('degrees', [LinearDegrees(), ConstantDegrees(0.2)], ids=['linear', 'constant'])
def test_nothing_is_read_back_and_nothing_is_large(device, degrees):
    """Tensors on the meta device have no values at all, so there is nothing that could be read back. Omega is round the
    box's middle or round a given point."""
    logits, centerness, boxes, instances, grid = _full_size(device)
    for centres in (None, instances.boxes[:, 2:] - 20):
        placed = dataclasses.replace(instances, centres=centres)
        with StaysOnDevice(device, limit=logits.numel()) as guard:
            selected = selection_of(Settings())(logits, centerness, boxes, placed, grid)
            t = degrees(selected)
        assert t.shape == (300, 7) and t.device.type == device
        assert guard.largest < 300 * grid.num_points, 'a matrix of points x instances would be larger'


@pytest.mark.parametrize('device', ['cpu', 'meta'])
def test_fcos_targets_read_nothing_back_either(device):
    """All 45 candidates of each instance are given back, and no points x instances matrix is made."""
    arguments = _full_size(device)
    FCOSSelection()(*arguments)  # its tables are copied to the device once
    with StaysOnDevice(device, limit=arguments[0].numel()) as guard:
        selected = FCOSSelection()(*arguments)
    assert selected.kept.shape == (300, 45) and selected.kept.device.type == device
    assert guard.largest < 300 * arguments[-1].num_points


def test_the_loss_reads_nothing_back_and_makes_nothing_large():
    """The value and the gradient; the largest tensor is the mask of negatives, with one element past the score map."""
    logits, centerness, boxes, instances, grid = _full_size('cpu')
    leaves = logits.requires_grad_(), centerness.requires_grad_()
    ignored = torch.rand(grid.num_points) < 0.1
    with StaysOnDevice('cpu', limit=logits.numel() + 1):
        selected = selection_of(Settings())(*leaves, boxes, instances, grid)
        number = selected.kept.sum().clamp(min=1)
        targets = instances.labels, selected, LinearDegrees()(selected), number
        (OneToFewLoss()(*leaves, *targets) + OneToFewLoss(positive_gamma=2)(*leaves, *targets, ignored)).backward()
    assert logits.grad.isfinite().all() and centerness.grad.isfinite().all()


@pytest.mark.parametrize(
    'misdeed',
    [
        lambda x: x.sum().item(),
        lambda x: x.nonzero(),
        lambda x: x[x > 0],
        lambda x: bool(x.any()),
        lambda x: x.unsqueeze(0) + torch.zeros(300, 1, 1),
        lambda x: x.masked_select(x > 0),
    ],
)
def test_the_guard_notices(misdeed):
    """The guard of the test before this one does fail where it should."""
    with pytest.raises(AssertionError), StaysOnDevice('cpu', limit=1000):
        misdeed(torch.ones(10, 10))
