"""One-to-many targets: FCOS's own against MMDetection's FCOS head, DeFCN's ATSS-like ones against a slow loop."""

import random
import statistics
from typing import Dict, List, Optional

import pytest
import torch
from assignment_cases import TRUTH, Batch, make_batch
from mmdet.registry import MODELS
from reference import Settings, anchor_points, as_float32, in_centre_region, iou, matching_score, sigmoid
from tiny_detectors import fcos_head_config

from o2f.assign.degrees import ConstantDegrees, LinearDegrees
from o2f.assign.one_to_many import FCOSSelection, QualityATSSSelection
from o2f.models.loss import OneToFewLoss

RANGES = {3: ((-1, 16), (16, 32), (32, 1e8)), 5: ((-1, 12), (12, 24), (24, 48), (48, 96), (96, 1e8))}


def apply(selection, batch: Batch):
    return selection(batch.cls_logits, batch.centerness_logits, batch.boxes, batch.joined(), batch.grid)


def owners_of(selected) -> Dict[int, int]:
    """anchor of the batch -> instance; no anchor is in there twice."""
    assert torch.equal(selected.certain, selected.kept)
    owners = {}
    for instance, (anchors, kept) in enumerate(zip(selected.anchor.tolist(), selected.kept.tolist())):
        for anchor in (anchor for anchor, keep in zip(anchors, kept) if keep):
            assert anchor not in owners
            owners[anchor] = instance
    return owners


# --- FCOS's own targets -------------------------------------------------------------------------------------


def targets_of_mmdetection(batch: Batch, ranges, radius: Optional[float]):
    """Labels (B*N,) and boxes (B*N, 4) of MMDetection's FCOS head; the latter mean nothing at the background."""
    head = MODELS.build(
        dict(
            fcos_head_config(),
            num_classes=batch.cls_logits.shape[-1],
            strides=list(batch.strides),
            regress_ranges=ranges,
            norm_on_bbox=False,
            center_sampling=radius is not None,
            center_sample_radius=radius or 1.5,
        )
    )
    points = head.prior_generator.grid_priors(batch.shapes, device='cpu')
    levels = head.get_targets(points, batch.truth())
    # Level by level, and image by image within each, as the head has them.
    labels, distances = (
        torch.cat([level.view(len(batch.instances), -1, *level.shape[1:]) for level in part], dim=1) for part in levels
    )
    boxes = torch.cat((torch.cat(points) - distances[..., :2], torch.cat(points) + distances[..., 2:]), dim=-1)
    return labels.flatten(), boxes.flatten(0, 1)


@pytest.mark.parametrize('radius', [1.5, 0.5, 0.8, 1.0, 2.5, 40.0, None])
@pytest.mark.parametrize('seed', range(4))
@pytest.mark.parametrize('kind', TRUTH)
def test_fcos_targets_are_those_of_mmdetection(kind, seed, radius):
    """Label of every anchor and box of its owner: overlapping boxes, equal boxes, boxes across the image's edges and
    with edges on points, several images, images without instances."""
    assert_targets_of_mmdetection(make_batch(kind, seed), radius)


@pytest.mark.parametrize('seed', range(4))
def test_fcos_targets_where_areas_and_ranges_are_met_exactly(seed):
    """Boxes of a few sizes in steps of 4 pixels: many of the same area though not the same, each side 4, 8, 16, ...
    pixels from points, so that both ends of the ranges occur as distances."""
    batch = make_batch('none', seed)
    rng = random.Random(seed)
    sides = ((16, 64), (32, 32), (64, 16), (24, 24), (48, 12), (128, 8), (96, 96))
    batch.instances = [[], []]
    for number in range(60):
        x, y = (4 * rng.randrange(40) for _ in range(2))
        width, height = rng.choice(sides)
        label = rng.randrange(batch.cls_logits.shape[-1])
        batch.instances[number % 2].append(((float(x), float(y), float(x + width), float(y + height)), label))
    assert_targets_of_mmdetection(batch, radius=1.5, least=20)


def assert_targets_of_mmdetection(batch: Batch, radius: Optional[float], least: int = 0) -> None:
    """The same anchors, each of an instance with the same label and box, in the same image."""
    ranges = RANGES[len(batch.strides)]
    owners = owners_of(apply(FCOSSelection(ranges, radius), batch))
    assert len(owners) >= least
    labels, boxes = targets_of_mmdetection(batch, ranges, radius)
    instances = batch.joined()
    positive = (labels < batch.cls_logits.shape[-1]).nonzero().squeeze(1).tolist()
    assert sorted(owners) == positive
    mine = [owners[anchor] for anchor in positive]
    assert torch.equal(instances.labels[mine], labels[positive])
    torch.testing.assert_close(instances.boxes[mine], boxes[positive], rtol=1e-5, atol=1e-3)
    image = torch.tensor(positive, dtype=torch.long) // batch.grid.num_points
    assert torch.equal(instances.image[mine], image)


def test_the_cases_cover_what_they_should():
    """Anchors of several instances, and anchors at which two instances meet, do occur."""
    batch = make_batch('crowd', 1)
    alone = 0
    for number in range(len(batch.instances[0])):
        one = make_batch('crowd', 1)
        one.instances = [[batch.instances[0][number]]]
        alone += len(owners_of(apply(FCOSSelection(RANGES[3]), one)))
    together = owners_of(apply(FCOSSelection(RANGES[3]), batch))
    assert alone > len(together) > len(set(together.values())) > 1


def test_the_smallest_box_and_the_right_level():
    """By hand: of two nested boxes the smaller has their common points; a box's size chooses its level."""
    batch = make_batch('none', 0)
    batch.shapes, batch.strides = ((8, 8), (4, 4)), (8, 16)
    batch.cls_logits, batch.centerness_logits = torch.zeros(1, 80, 2), torch.zeros(1, 80)
    batch.distances = torch.ones(1, 80, 4)
    # Centre (28, 28) is a point of the first level. Points of both boxes' centre regions: 3 x 3 and 1 x 1.
    batch.instances = [[((12.0, 12.0, 44.0, 44.0), 0), ((22.0, 22.0, 34.0, 34.0), 1)]]
    three = [8 * row + column for row in (2, 3, 4) for column in (2, 3, 4)]
    owners = owners_of(apply(FCOSSelection(((-1, 30), (30, 1e8)), 1.5), batch))
    assert owners == {anchor: int(anchor == 27) for anchor in three}
    # With a smaller range the wider box belongs to the second level, with points at 24 and 40: at 24 its right edge is
    # 20 pixels away, at 40 its left one 28.
    owners = owners_of(apply(FCOSSelection(((-1, 14), (14, 1e8)), 1.5), batch))
    assert owners[27] == 1 and {owners[64 + 5], owners[64 + 6], owners[64 + 9], owners[64 + 10]} == {0}


@pytest.mark.parametrize('value', [0, -1.5, float('nan'), float('inf')])
def test_bad_radius_is_named(value):
    with pytest.raises(ValueError, match='selection: radius must be above 0'):
        FCOSSelection(radius=value)


def test_ranges_may_be_lists():
    """As a config from a file has them."""
    batch = make_batch('three', 1)
    lists = FCOSSelection([list(pair) for pair in RANGES[3]])
    assert owners_of(apply(lists, batch)) == owners_of(apply(FCOSSelection(RANGES[3]), batch))


@pytest.mark.parametrize('number', [1, 2, 4, 5])
def test_ranges_that_do_not_fit_the_levels(number):
    """The message says how many there are and how many there should be."""
    selection = FCOSSelection(((0, 64),) * number)
    with pytest.raises(ValueError, match=f'FCOSSelection: {number} regress_ranges, but 3 levels'):
        apply(selection, make_batch('three', 1))


@pytest.mark.parametrize('degrees', [LinearDegrees(), ConstantDegrees(1)], ids=['linear', 'constant'])
@pytest.mark.parametrize('kind', ['none', 'degenerate', 'uneven'])
def test_the_other_parts_take_what_it_gives(kind, degrees):
    """Degrees are 1 where an anchor was selected, and the loss is finite, also where there is nothing to select."""
    batch = make_batch(kind, 1)
    selected = apply(FCOSSelection(RANGES[3]), batch)
    t = degrees(selected)
    assert torch.equal(t, selected.kept.double())
    loss = OneToFewLoss()
    assert loss(
        batch.cls_logits, batch.centerness_logits, batch.joined().labels, selected, t, torch.tensor(1.0)
    ).isfinite()


def test_p_is_the_joint_score():
    """Of the owner's class at each of its anchors."""
    batch = make_batch('uneven', 1)
    selected = apply(FCOSSelection(RANGES[3]), batch)
    joint = batch.cls_logits.double().sigmoid() * batch.centerness_logits.double().sigmoid().unsqueeze(-1)
    instance, _ = selected.kept.nonzero(as_tuple=True)
    expected = joint.flatten(0, 1)[selected.anchor[selected.kept], batch.joined().labels[instance]]
    assert len(expected) > 10
    assert selected.p[selected.kept].tolist() == pytest.approx(expected.tolist(), rel=1e-12)


# --- DeFCN's ATSS by quality --------------------------------------------------------------------------------


def atss_owners(batch: Batch, topk: int, alpha: float) -> Dict[int, int]:
    """anchor of the batch -> instance, one instance and one level after the other."""
    points, settings = anchor_points(batch.shapes, batch.strides), Settings(alpha=alpha)
    owners: Dict[int, tuple] = {}
    instance = 0
    for image, found in enumerate(batch.instances):
        logits, factor, boxes = (
            map_[image].double().tolist() for map_ in (batch.cls_logits, batch.centerness_logits, batch.boxes)
        )
        for box, label in found:
            quality = [
                as_float32(matching_score(sigmoid(logits[i][label]) * sigmoid(factor[i]), iou(boxes[i], box), settings))
                for i in range(len(points))
            ]
            chosen = best_of_each_level(quality, points, topk)
            threshold = statistics.fmean(quality[i] for i in chosen) + statistics.stdev(quality[i] for i in chosen)
            for i in chosen:
                anchor = image * len(points) + i
                if quality[i] >= threshold and in_centre_region(*points[i], box, None):
                    if anchor not in owners or quality[i] > owners[anchor][0]:
                        owners[anchor] = quality[i], instance
            instance += 1
    return {anchor: owner for anchor, (_, owner) in owners.items()}


def best_of_each_level(quality: List[float], points: list, topk: int) -> List[int]:
    levels: Dict[int, List[int]] = {}
    for i, (_, _, stride) in enumerate(points):
        levels.setdefault(stride, []).append(i)
    return [i for level in levels.values() for i in sorted(level, key=lambda i: -quality[i])[:topk]]


#: Without kinds in which many qualities are equal, so that which of them are the nine best is not defined.
ATSS_KINDS = ['none', 'one', 'three', 'uneven', 'large', 'outside', 'crowd', 'clusters', 'same_box_other_class', 'half']


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('kind', ATSS_KINDS)
def test_atss_by_quality_equals_a_slow_loop(kind, seed):
    """Nine of each level, mean plus sample standard deviation of their qualities, inside the box, ties to the best."""
    batch = make_batch(kind, seed)
    assert owners_of(apply(QualityATSSSelection(), batch)) == atss_owners(batch, 9, 0.8)


@pytest.mark.parametrize(('topk', 'alpha'), [(1, 0.8), (3, 0.5), (200, 0.8), (9, 0.0)])
def test_atss_settings_are_honoured(topk, alpha):
    """Also more candidates than a level has points."""
    batch = make_batch('clusters', 1)
    owners = owners_of(apply(QualityATSSSelection(topk, alpha), batch))
    assert owners == atss_owners(batch, topk, alpha) and len(owners) > 2


def test_atss_on_a_map_of_one_point():
    """A single candidate has no deviation; it is positive if it lies in the box."""
    batch = Batch(
        torch.zeros(1, 1, 1),
        torch.zeros(1, 1),
        torch.full((1, 1, 4), 4.0),
        ((1, 1),),
        (8,),
        [[((0.0, 0.0, 9.0, 9.0), 0)]],
    )
    assert owners_of(apply(QualityATSSSelection(), batch)) == {0: 0}
    batch.instances = [[((5.0, 5.0, 9.0, 9.0), 0)]]
    assert owners_of(apply(QualityATSSSelection(), batch)) == {}


def test_atss_has_several_anchors_per_instance_and_conflicts():
    """The cases above do test the rule for anchors wanted twice."""
    batch = make_batch('crowd', 1)
    owners = atss_owners(batch, 9, 0.8)
    wanted = 0
    for one in batch.instances[0]:
        alone = make_batch('crowd', 1)
        alone.instances = [[one]]
        wanted += len(atss_owners(alone, 9, 0.8))
    assert wanted > len(owners) > len(set(owners.values())) > 1


@pytest.mark.parametrize('value', [0, -1, 2.5, float('nan')])
def test_bad_topk_is_named(value):
    with pytest.raises(ValueError, match='selection: topk must be'):
        QualityATSSSelection(topk=value)


@pytest.mark.parametrize('selection', [FCOSSelection(RANGES[3]), QualityATSSSelection()], ids=['fcos', 'atss'])
def test_no_gradient_and_nothing_by_epoch(selection):
    """Targets are constants to autograd, and the same in each epoch."""
    batch = make_batch('uneven', 1)
    batch.cls_logits.requires_grad_()
    first = apply(selection, batch)
    selection.set_epoch(11, 12)
    assert not first.p.requires_grad and owners_of(first) == owners_of(apply(selection, batch))
