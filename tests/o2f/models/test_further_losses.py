"""FCOS's centerness loss, the L1 loss, PSS's ranking loss and the sums of degrees, each against a slow loop."""

import math

import pytest
import torch
from assignment_cases import joined_gradient, make_batch
from mmengine.structures import InstanceData
from reference import anchor_points, centerness_target, sigmoid
from tiny_detectors import make_head

from o2f.assign.selection import Selected
from o2f.models.further_losses import RankingLoss
from o2f.models.ignore_regions import ignored_points


def losses_of(batch, ignored=None, **settings):
    """The losses of a head on a batch, what it selected, its degrees, and the maps."""
    head = make_head(batch.cls_logits.shape[-1], batch.strides, **settings)
    outputs = batch.head_outputs()
    losses = head.loss_by_feat(*outputs, batch.truth(), batch.metas, ignored)
    selected, degrees = head.get_targets(head._predictions(*outputs), batch.joined())
    return losses, selected, degrees, outputs


def positives(batch, selected):
    """(instance, image, anchor of the image, box) of each anchor that is kept."""
    instances = batch.joined()
    for j, box in enumerate(instances.boxes.tolist()):
        for anchor, kept in zip(selected.anchor[j].tolist(), selected.kept[j].tolist()):
            if kept:
                yield j, *divmod(anchor, batch.grid.num_points), box


@pytest.mark.parametrize('kind', ['uneven', 'crowd', 'none'])
def test_the_l1_loss(kind):
    """The mean over positives of the four edges' distances, as shares of each image's own size."""
    batch = make_batch(kind, 1)
    losses, selected, _, _ = losses_of(batch, loss_l1=dict(type='L1Loss', loss_weight=5.0))
    found = list(positives(batch, selected))
    total = sum(
        abs(mine - its) / side
        for _, image, anchor, box in found
        for mine, its, side in zip(batch.boxes[image, anchor].tolist(), box, batch.metas[image]['img_shape'][::-1] * 2)
    )
    assert losses['loss_l1'].item() == pytest.approx(5 * total / max(len(found), 1), rel=1e-5)
    assert len(found) > 4 or kind == 'none'


@pytest.mark.parametrize('kind', ['uneven', 'crowd', 'none'])
def test_the_centerness_loss(kind):
    """The mean cross entropy of the positives; the classification loss then sees the classification score alone."""
    batch = make_batch(kind, 1)
    bce = dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0)
    fcos = dict(type='FCOSSelection', regress_ranges=((-1, 16), (16, 32), (32, 1e8)))
    settings = dict(selection=fcos, loss_centerness=bce)
    losses, selected, _, outputs = losses_of(batch, **settings)
    points, total, number = anchor_points(batch.shapes, batch.strides), 0.0, 0
    for _, image, anchor, box in positives(batch, selected):
        logit, target = float(batch.centerness_logits[image, anchor]), centerness_target(*points[anchor][:2], box)
        total -= target * math.log(sigmoid(logit)) + (1 - target) * math.log(sigmoid(-logit))
        number += 1
    assert losses['loss_centerness'].item() == pytest.approx(total / max(number, 1), rel=1e-5)
    losses['loss_cls'].backward()
    assert not joined_gradient(outputs[2]).any() if outputs[2][0].grad is not None else True
    batch.centerness_logits = -batch.centerness_logits
    again, *_ = losses_of(batch, **settings)
    assert torch.equal(again['loss_cls'], losses['loss_cls'])


@pytest.mark.parametrize('ignore', [False, True])
@pytest.mark.parametrize(('kind', 'negatives'), [('uneven', 5), ('crowd', 100), ('clusters', 10**6), ('none', 5)])
def test_the_ranking_loss(kind, negatives, ignore):
    """Image by image, each positive against each of the highest negatives. Ignored anchors are none."""
    batch = make_batch(kind, 1)
    rank = dict(type='RankingLoss', loss_weight=0.25, margin=0.5, negatives=negatives)
    region = InstanceData(bboxes=torch.tensor([[0.0, 0.0, 40.0, 1e4]]))
    regions = [region] * len(batch.instances)
    losses, selected, _, _ = losses_of(batch, regions, loss_rank=rank, ignore_regions=ignore)
    ignored = ignored_points(batch.truth(), regions if ignore else None, batch.grid, torch.device('cpu'))
    p = batch.cls_logits.double().sigmoid() * batch.centerness_logits.double().sigmoid().unsqueeze(-1)
    labels, of_image = batch.joined().labels.tolist(), {}
    for j, image, anchor, _ in positives(batch, selected):
        of_image.setdefault(image, set()).add((anchor, labels[j]))
    means = []
    for image, chosen in of_image.items():
        others = sorted(
            (
                p[image, anchor, label].item()
                for anchor in range(p.shape[1])
                for label in range(p.shape[2])
                if (anchor, label) not in chosen and not ignored[image, anchor]
            ),
            reverse=True,
        )[:negatives]
        pairs = [max(0.0, 0.5 - p[image, anchor, label].item() + other) for anchor, label in chosen for other in others]
        means.append(sum(pairs) / len(pairs))
    expected = 0.25 * sum(means) / max(len(means), 1)
    assert losses['loss_rank'].item() == pytest.approx(expected, rel=1e-5)
    assert expected > 0 or kind == 'none'
    assert ignored.any() == ignore


def test_a_lead_beyond_the_margin_costs_nothing():
    one = Selected(torch.tensor([[1]]), torch.ones(1, 1), *[torch.tensor([[True]])] * 2)
    logits = torch.tensor([[[-9.0], [9.0], [-9.0]]], requires_grad=True)
    loss = RankingLoss()(logits, torch.full((1, 3), math.inf), torch.tensor([0]), one)
    assert loss.item() == 0
    with pytest.raises(ValueError, match='loss_rank: negatives must be 1 or more, not 0'):
        RankingLoss(negatives=0)


@pytest.mark.parametrize('kind', ['uneven', 'crowd', 'none'])
def test_degrees_as_weights_and_normaliser(kind):
    """As in YOLOv10: L_cls is over the sum of degrees, the box loss is their weighted mean."""
    batch, settings = make_batch(kind, 1), dict(degrees=dict(type='QualityDegrees'), box_weight='degree')
    by_number, selected, degrees, _ = losses_of(batch, **settings)
    by_degrees, _, _, _ = losses_of(batch, normaliser='degrees', **settings)
    number, total = max(int(selected.kept.sum()), 1), max(degrees.sum().item(), 1)
    assert by_degrees['loss_cls'].item() == pytest.approx(by_number['loss_cls'].item() * number / total, rel=1e-5)
    loss, weights = 0.0, 0.0
    head = make_head(batch.cls_logits.shape[-1], batch.strides)
    truth = batch.joined().boxes
    for j in range(len(truth)):
        for s in range(selected.anchor.size(1)):
            if selected.kept[j, s]:
                predicted = batch.boxes.flatten(0, 1)[selected.anchor[j, s]][None]
                loss += degrees[j, s].item() * head.loss_bbox(predicted, truth[j][None]).item()
                weights += degrees[j, s].item()
    assert by_degrees['loss_bbox'].item() == pytest.approx(loss / max(weights, 1), rel=1e-4, abs=1e-6)
    assert by_number['loss_bbox'].item() == pytest.approx(loss / max(weights, 1e-6), rel=1e-4, abs=1e-6)


def test_few_degrees_are_divided_by_one():
    """As in YOLOv10: where all degrees together are below 1, they damp the box loss too."""
    batch = make_batch('uneven', 1)
    batch.distances = batch.distances * 0.02  # so that no box is good
    settings = dict(degrees=dict(type='QualityDegrees'), box_weight='degree')
    mean, _, degrees, _ = losses_of(batch, **settings)
    damped, *_ = losses_of(batch, normaliser='degrees', **settings)
    assert 0 < degrees.sum() < 1
    assert damped['loss_bbox'].item() == pytest.approx(mean['loss_bbox'].item() * degrees.sum().item(), rel=1e-5)


@pytest.mark.parametrize(
    ('settings', 'says'),
    [
        (dict(normaliser='images'), "bbox_head: normaliser must be 'positives' or 'degrees', not 'images'"),
        (
            dict(score_factor='none', loss_centerness=dict(type='CrossEntropyLoss')),
            'loss_centerness needs score_factor=c',
        ),
    ],
)
def test_bad_settings_are_named(settings, says):
    with pytest.raises(ValueError, match=says):
        make_head(**settings)
