"""POTO's matching: the best of all one-to-one assignments, found here by trying them all."""

import dataclasses
from functools import lru_cache
from typing import Dict, List, Tuple

import pytest
import torch
from assignment_cases import Batch, make_batch, select
from reference import Settings, anchor_points, candidates

from o2f.assign import matching_score
from o2f.assign.poto import HungarianSelection

#: At most twelve instances in an image, and what they want is not all the same.
KINDS = ['none', 'one', 'three', 'uneven', 'same_box_other_class', 'small', 'outside', 'degenerate', 'clusters']


def hungarian(batch: Batch, settings: Settings):
    selection = HungarianSelection(settings.alpha, settings.metric, settings.radius)
    return selection(batch.cls_logits, batch.centerness_logits, batch.boxes, batch.joined(), batch.grid)


def wishes_of(batch: Batch, settings: Settings) -> List[List[Dict[int, float]]]:
    """Per image and instance: anchor -> Eq. 1 for all anchors in Omega."""
    points = anchor_points(batch.shapes, batch.strides)
    wishes = []
    for image, instances in enumerate(batch.instances):
        maps = [map_[image].double().tolist() for map_ in (batch.cls_logits, batch.centerness_logits, batch.boxes)]
        found = [candidates(box, label, *maps, points, settings) for box, label in instances]
        wishes.append([{wish.anchor: wish.score for wish in wanted} for wanted in found])
    return wishes


def best_matching(wishes: List[Dict[int, float]]) -> Tuple[int, float]:
    """(instances matched, sum of their scores) of the best matching: more instances first, then the greater sum. Each
    anchor in turn is left out or given to any instance that is free and wants it."""
    anchors = sorted(set().union(*wishes))

    @lru_cache(maxsize=None)
    def best(position: int, free: frozenset) -> Tuple[int, float]:
        if position == len(anchors):
            return 0, 0.0
        options = [best(position + 1, free)]
        for j in free:
            if anchors[position] in wishes[j]:
                matched, total = best(position + 1, free - {j})
                options.append((matched + 1, total + wishes[j][anchors[position]]))
        return max(options)

    return best(0, frozenset(range(len(wishes))))


def matched(selected, batch: Batch) -> List[List[int]]:
    """Per image and instance: the anchor of the image that it got, or None."""
    points, row, images = batch.boxes.shape[1], 0, []
    for image, instances in enumerate(batch.instances):
        rows = range(row, row + len(instances))
        assert all(selected.anchor[j, 0] // points == image for j in rows if selected.kept[j, 0])
        images.append([selected.anchor[j, 0].item() % points if selected.kept[j, 0] else None for j in rows])
        row += len(instances)
    return images


def assert_optimal(batch: Batch, settings: Settings) -> None:
    selected = hungarian(batch, settings)
    assert selected.anchor.shape == selected.p.shape == (len(batch.joined().labels), 1)
    assert torch.equal(selected.certain, selected.kept) and not selected.ambiguous.any()
    for wishes, anchors in zip(wishes_of(batch, settings), matched(selected, batch)):
        got = [(wishes[j], anchor) for j, anchor in enumerate(anchors) if anchor is not None]
        assert len({anchor for _, anchor in got}) == len(got), 'two instances on one anchor'
        assert all(anchor in wanted for wanted, anchor in got), 'an anchor outside of Omega'
        number, total = best_matching(wishes)
        assert len(got) == number
        assert sum(wanted[anchor] for wanted, anchor in got) == pytest.approx(total, abs=1e-12)


@pytest.mark.parametrize('seed', range(6))
@pytest.mark.parametrize('kind', KINDS)
def test_is_the_best_of_all_matchings(kind, seed):
    """Per image, DeFCN's settings: as many instances as possible, then the greatest sum of Eq. 1."""
    assert_optimal(make_batch(kind, seed), Settings())


@pytest.mark.parametrize(('alpha', 'metric'), [(0, 'multiply'), (0.5, 'multiply'), (1, 'multiply'), (0.6, 'add')])
def test_settings_are_honoured(alpha, metric):
    """The sum that is greatest is that of the score asked for, and settings do change the outcome."""
    settings, changed = Settings(alpha=alpha, metric=metric), 0
    for seed in range(4):
        batch = make_batch('clusters', seed)
        assert_optimal(batch, settings)
        changed += matched(hungarian(batch, settings), batch) != matched(hungarian(batch, Settings()), batch)
    assert changed > 0


@pytest.mark.parametrize('radius', [0.75, 2.5, None])
@pytest.mark.parametrize('seed', range(3))
def test_radius(radius, seed):
    """Also the whole box, DeFCN's setting on CrowdHuman."""
    batch = make_batch('uneven', seed)
    batch.instances = [found[:2] for found in batch.instances]  # the whole box has many points
    assert_optimal(batch, Settings(radius=radius))


@pytest.mark.parametrize('kind', ['one', 'three', 'uneven', 'large', 'half'])
def test_is_the_best_anchor_where_nobody_else_wants_it(kind):
    """In an image whose instances have different best anchors the matching is the arg-max of section 3.2, K = 0."""
    settings, compared = Settings(k=0), 0
    for seed in range(6):
        batch = make_batch(kind, seed)
        optimal, best = (matched(each, batch) for each in (hungarian(batch, settings), select(batch, settings)[0]))
        for wishes, by_matching, by_maximum in zip(wishes_of(batch, settings), optimal, best):
            tops = [max(wanted, key=wanted.get) for wanted in wishes if max(wanted.values(), default=0) > 0]
            if len(set(tops)) == len(wishes):
                assert by_matching == by_maximum == tops
                compared += len(tops)
    assert compared > 0


def four_points(instances: list) -> Batch:
    """One image of 2 x 2 points, at 4 and 12 pixels, all of one class. Boxes predicted at the upper points are those of
    the first two instances, at the lower ones there is none; p is 0.9 at the left and 0.5 at the right."""
    p = torch.tensor([0.9, 0.5, 0.9, 0.5]).double()
    distances = torch.zeros(1, 4, 4)
    points = [(4, 4), (12, 4)]
    for anchor, (x, y) in enumerate(points):
        x1, y1, x2, y2 = instances[min(anchor, len(instances) - 1)][0]
        distances[0, anchor] = torch.tensor([x - x1, y - y1, x2 - x, y2 - y])
    return Batch(p.logit().view(1, 4, 1), torch.full((1, 4), 40.0), distances, ((2, 2),), (8,), [instances])


def test_as_many_instances_as_possible_come_first():
    """The wide instance leaves the point that the narrow one needs, though its own box fits much better there, and
    takes one with a score of 0. By arg-max the narrow one would be left with nothing."""
    wide, narrow = ((0.0, 0.0, 16.0, 8.0), 0), ((1.0, 1.0, 7.0, 7.0), 0)
    batch = four_points([wide, narrow])
    batch.distances[0, 1] = 0  # nothing is predicted at the right
    assert matched(hungarian(batch, Settings()), batch) == [[1, 0]]
    assert matched(select(batch, Settings(k=0))[0], batch) == [[0, None]]


def test_an_instance_without_candidates_gets_none():
    """Alone in its image or beside others; DeFCN's code would give it an arbitrary anchor."""
    between, normal = ((5.0, 5.0, 11.0, 11.0), 0), ((0.0, 0.0, 10.0, 10.0), 0)
    assert matched(hungarian(four_points([between]), Settings()), four_points([between])) == [[None]]
    batch = four_points([between, normal])
    assert matched(hungarian(batch, Settings()), batch)[0][0] is None
    assert matched(hungarian(batch, Settings()), batch)[0][1] is not None


def test_more_instances_than_anchors():
    """Three instances want the one point that all of their boxes hold: the best fit gets it, the others get none."""
    boxes = [((0.0, 0.0, 8.0 + size, 8.0 + size), 0) for size in (3.0, 0.0, 2.0)]
    batch = four_points(boxes)
    batch.distances[0, 0] = torch.tensor([4.0, 4.0, 4.0, 4.0])
    assert matched(hungarian(batch, Settings()), batch) == [[None, 0, None]]


def test_an_image_does_not_see_the_others():
    """What an image gets is what it gets alone."""
    batch, settings = make_batch('clusters', 5), Settings()
    together = matched(hungarian(batch, settings), batch)
    for image in range(len(batch.instances)):
        cut = slice(image, image + 1)
        alone = dataclasses.replace(
            batch,
            cls_logits=batch.cls_logits[cut],
            centerness_logits=batch.centerness_logits[cut],
            distances=batch.distances[cut],
            instances=batch.instances[cut],
        )
        assert matched(hungarian(alone, settings), alone) == together[image : image + 1]


def test_p_is_the_joint_score():
    """Of the instance's class at its anchor, as DeFCN's quality has it with the filter; no gradient."""
    batch = make_batch('three', 2)
    batch.cls_logits.requires_grad_()
    selected = hungarian(batch, Settings())
    joint = batch.cls_logits.double().sigmoid() * batch.centerness_logits.double().sigmoid().unsqueeze(-1)
    expected = joint.flatten(0, 1)[selected.anchor[:, 0], batch.joined().labels]
    assert selected.p[:, 0].tolist() == pytest.approx(expected.tolist(), rel=1e-12) and not selected.p.requires_grad


def test_a_diverged_training_is_not_an_error_here():
    """Predictions that are NaN give some matching, so that it is the loss, which is NaN too, that stops the run."""
    batch = make_batch('three', 0)
    batch.cls_logits[:] = float('nan')
    assert hungarian(batch, Settings()).anchor.shape == (6, 1)


@pytest.mark.parametrize(('argument', 'value'), [('alpha', 1.5), ('metric', 'mean'), ('radius', 0)])
def test_bad_arguments_are_named(argument, value):
    with pytest.raises(ValueError, match=f'selection: {argument} must be'):
        HungarianSelection(**{argument: value})


@pytest.mark.parametrize('radius', [1.5, None])
def test_instances_are_scored_a_few_at_a_time(radius, monkeypatch):
    """With all points as candidates, those of all instances together would take gigabytes; nothing else changes."""
    batch, settings = make_batch('clusters', 0), Settings(radius=radius)
    expected = hungarian(batch, settings)
    monkeypatch.setitem(matching_score._PART, 'cpu', 1)
    found = hungarian(batch, settings)
    for field in dataclasses.fields(expected):
        assert torch.equal(getattr(found, field.name), getattr(expected, field.name))
