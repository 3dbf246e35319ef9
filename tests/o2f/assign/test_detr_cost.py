"""OneNet's selection: DETR's cost against a slow loop over points, its arg-min, and the best of all matchings."""

import itertools
import math

import pytest
import torch
from assignment_cases import make_batch
from reference import anchor_points, as_float32, in_centre_region, iou, sigmoid
from tiny_detectors import make_head

from o2f.assign.poto import HungarianSelection
from o2f.assign.selection import OneToFewSelection


def slow_giou(a, b) -> float:
    """GIoU of two boxes with areas."""
    union_without = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    overlap = max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    around = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    union = union_without - overlap
    return (overlap / union if union else 0) - ((around - union) / around if around else 0)


def slow_cost(p, box, target, width, height) -> float:
    """2 focal + 5 L1 - 2 GIoU."""
    p = min(max(p, 1e-8), 1 - 1e-8)
    focal = 0.25 * (1 - p) ** 2 * -math.log(p) - 0.75 * p**2 * -math.log(1 - p)
    sides = (width, height, width, height)
    edges = sum(abs(mine - its) / side for mine, its, side in zip(box, target, sides))
    return 2 * focal + 5 * edges - 2 * slow_giou(box, target)


def costs_of(batch, radius):
    """Per image and instance: anchor of the image -> (cost in single precision, whether it overlaps)."""
    points = anchor_points(batch.shapes, batch.strides)
    found = []
    for image, instances in enumerate(batch.instances):
        height, width = batch.metas[image]['img_shape']
        logits, factors, boxes = (
            maps[image].double().tolist() for maps in (batch.cls_logits, batch.centerness_logits, batch.boxes)
        )
        found.append(
            [
                {
                    anchor: (
                        as_float32(
                            slow_cost(
                                sigmoid(logits[anchor][label]) * sigmoid(factors[anchor]),
                                boxes[anchor],
                                target,
                                width,
                                height,
                            )
                        ),
                        iou(boxes[anchor], target) > 0,
                    )
                    for anchor, (x, y, stride) in enumerate(points)
                    if radius == 'image' or in_centre_region(x, y, stride, target, radius)
                }
                for target, label in instances
            ]
        )
    return found


def selected_of(selection, batch):
    return selection(batch.cls_logits, batch.centerness_logits, batch.boxes, batch.joined(), batch.grid)


@pytest.mark.parametrize('radius', [1.5, None, 'image'])
@pytest.mark.parametrize(
    ('kind', 'seed'), [('three', 0), ('uneven', 1), ('crowd', 1), ('clusters', 2), ('saturated', 0)]
)
def test_the_arg_min_is_that_of_a_slow_loop(kind, seed, radius):
    """Each instance claims the point of least cost, and a point goes to the instance that has it at the least."""
    batch = make_batch(kind, seed)
    selected = selected_of(OneToFewSelection(k=0, metric='detr_cost', radius=radius), batch)
    row, compared = 0, 0
    for image, costs in enumerate(costs_of(batch, radius)):
        claims = [
            min(of_one, key=lambda anchor: (of_one[anchor][0], anchor))
            if any(overlaps for _, overlaps in of_one.values())
            else None
            for of_one in costs
        ]
        for j, claim in enumerate(claims):
            rivals = [(costs[i][claim][0], i) for i, other in enumerate(claims) if claim is not None and other == claim]
            wins = claim is not None and min(rivals)[1] == j
            assert bool(selected.kept[row, 0]) == wins
            if wins:
                assert selected.anchor[row, 0] == image * batch.grid.num_points + claim
                compared += 1
            row += 1
    assert compared > 1


@pytest.mark.parametrize('radius', [1.5, 'image'])
@pytest.mark.parametrize(('kind', 'seed'), [('one', 0), ('three', 0), ('three', 3)])
def test_the_matching_is_the_best_of_all(kind, seed, radius):
    """Every instance gets a point, and no other way to give them different points costs less."""
    batch = make_batch(kind, seed)
    selected = selected_of(HungarianSelection(metric='detr_cost', radius=radius), batch)
    row, compared = 0, 0
    for image, costs in enumerate(costs_of(batch, radius)):
        # Only the best few points of each instance can be in the best matching.
        best = [sorted(of_one, key=lambda anchor: of_one[anchor][0])[: len(costs)] for of_one in costs]
        ways = [way for way in itertools.product(*best) if len(set(way)) == len(way)]
        least = min(sum(costs[j][anchor][0] for j, anchor in enumerate(way)) for way in ways)
        got = [int(selected.anchor[row + j, 0]) - image * batch.grid.num_points for j in range(len(costs))]
        assert selected.kept[row : row + len(costs)].all() and len(set(got)) == len(got)
        assert sum(costs[j][anchor][0] for j, anchor in enumerate(got)) == pytest.approx(least, abs=1e-6)
        row, compared = row + len(costs), compared + len(costs)
    assert compared


def test_the_image_holds_points_that_the_box_does_not():
    """With 'image', a point outside of the box can be the best."""
    batch = make_batch('clusters', 1)
    boxes = batch.joined().boxes
    points = torch.tensor([point[:2] for point in anchor_points(batch.shapes, batch.strides)])
    selected = selected_of(OneToFewSelection(k=0, metric='detr_cost', radius='image'), batch)
    at = points[selected.anchor[:, 0] % batch.grid.num_points]
    inside = ((at > boxes[:, :2]) & (at < boxes[:, 2:])).all(dim=1)
    assert (selected.kept[:, 0] & ~inside).any()


def test_images_of_unknown_size_are_named():
    batch = make_batch('three', 0)
    head = make_head(
        batch.cls_logits.shape[-1], batch.strides, selection=dict(type='OneToFewSelection', metric='detr_cost')
    )
    with pytest.raises(ValueError, match="DETR's cost and L1 need img_shape of each image: add it to meta_keys"):
        head.loss_by_feat(*batch.head_outputs(), batch.truth(), [{}] * len(batch.instances))
