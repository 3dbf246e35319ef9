"""What lies in a region to ignore is no negative: for every head that is trained on CrowdHuman."""

import math

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.structures import InstanceData
from tiny_detectors import collate, fcos_head_config, head_config, make_detector, make_images, random_maps

from o2f.assign.centre_region import AnchorGrid, points_of
from o2f.models.ignore_regions import ignored_points

GRID = AnchorGrid(((8, 12), (4, 6), (2, 3)), (8, 16, 32))  # a 64 x 96 image
PERSON = (10.0, 6.0, 40.0, 60.0)
REGION = (50.0, 20.0, 80.0, 50.0)
IN_REGION, OUTSIDE = (8 * 4 + 4, 8 * 7 + 4), (8 * 4 + 4, 8 * 11 + 4)  # y, x of anchor points of the first level

POTO = dict(
    score_factor='none',
    selection=dict(type='HungarianSelection', radius=None),
    degrees=dict(type='ConstantDegrees', t=1.0),
    box_weight='uniform',
)
AUX = dict(auxiliary=dict(type='QualityATSSSelection', topk=9, alpha=0.8))
FCOS = dict(fcos_head_config(), type='FCOSHeadWithIgnore', center_sampling=True, ignore_regions=True)
HEADS = {
    'o2f': head_config(ignore_regions=True),
    'poto': head_config(ignore_regions=True, **POTO),
    'poto+3dmf+aux': head_config(
        ignore_regions=True, **{**POTO, **AUX, 'score_factor': '3dmf', 'max_filtering': dict(num_groups=2)}
    ),
    'fcos': FCOS,
}


@pytest.fixture(params=HEADS)
def head(request):
    torch.manual_seed(0)
    return MODELS.build(HEADS[request.param])


def instances(*boxes) -> InstanceData:
    return InstanceData(bboxes=torch.tensor(boxes).reshape(-1, 4), labels=torch.zeros(len(boxes), dtype=torch.long))


def outputs(batch=1, seed=0) -> tuple:
    """Random maps of a head with 3 classes: logits that say no, small boxes, and logits of the score factor."""
    generator = torch.Generator().manual_seed(seed)

    def maps(channels, low, high):
        return [torch.empty(batch, channels, *shape).uniform_(low, high, generator=generator) for shape in GRID.shapes]

    return maps(3, -5, -3), maps(4, 2, 6), maps(1, -1, 1)


def losses(head, out, truth, ignored) -> dict:
    """The head's losses, and the gradient of those of the classification by the logits, level by level."""
    logits = [map_.clone().requires_grad_() for map_ in out[0]]
    found = head.loss_by_feat(logits, *out[1:], truth, [{}] * len(truth), ignored)
    classification = sum(loss for name, loss in found.items() if name in ('loss_cls', 'loss_aux'))
    return dict(found, classification=classification.detach(), grad=torch.autograd.grad(classification, logits))


def with_detection_at(out, place) -> tuple:
    """The same outputs, but for a point of the first level that is sure of all classes."""
    logits, distances, factors = ([map_.clone() for map_ in maps] for maps in out)
    for maps in (logits, factors):
        maps[0][0, :, place[0] // 8, place[1] // 8] = 6
    return logits, distances, factors


def gradient_at(found, place) -> torch.Tensor:
    return found['grad'][0][0, :, place[0] // 8, place[1] // 8]


def test_a_detection_in_a_region_costs_nothing_and_one_outside_does(head):
    truth, ignored = [instances(PERSON)], [instances(REGION)]
    quiet = losses(head, outputs(), truth, ignored)
    inside = losses(head, with_detection_at(outputs(), IN_REGION), truth, ignored)
    outside = losses(head, with_detection_at(outputs(), OUTSIDE), truth, ignored)
    everywhere = losses(head, with_detection_at(outputs(), IN_REGION), truth, None)
    assert inside['classification'] == quiet['classification']
    assert (gradient_at(inside, IN_REGION) == 0).all()
    for wrong, place in ((outside, OUTSIDE), (everywhere, IN_REGION)):
        assert wrong['classification'] > quiet['classification'] + 0.5
        assert (gradient_at(wrong, place) > 0.01).all()


def test_positives_in_a_region_are_kept(head):
    """A region over the person and all round it: the losses of what lies in the person's box stay as they were, and
    nothing else is left."""
    whole = instances((0.0, 0.0, 96.0, 64.0))
    with_region = losses(head, outputs(), [instances(PERSON)], [whole])
    without = losses(head, outputs(), [instances(PERSON)], [None])
    assert with_region['loss_bbox'] == without['loss_bbox'] > 0
    inside = _in_person()
    for ignoring, known in zip(_by_point(with_region), _by_point(without)):
        assert torch.equal(ignoring[inside], known[inside])
        assert (ignoring[inside] != 0).any() and (ignoring[inside] < 0).any() and not ignoring[~inside].any()
        assert (known[~inside] > 0).all()


def _by_point(found) -> list:
    """[(N, C)] gradients of each image."""
    return list(torch.cat([grad.flatten(2).transpose(1, 2) for grad in found['grad']], dim=1))


def _in_person() -> torch.Tensor:
    x, y = points_of(GRID, torch.device('cpu')).unbind(-1)
    return (x > PERSON[0]) & (x < PERSON[2]) & (y > PERSON[1]) & (y < PERSON[3])


@pytest.mark.parametrize('ignored', [[None], [InstanceData()], [instances()]], ids=['none', 'empty', 'no boxes'])
def test_without_a_region_nothing_changes(head, ignored):
    truth = [instances(PERSON)]
    expected, found = (losses(head, outputs(), truth, each) for each in (None, ignored))
    assert all(torch.equal(a, b) for a, b in zip(expected.pop('grad'), found.pop('grad')))
    assert expected == found


def test_without_regions_it_is_mmdetections_fcos():
    torch.manual_seed(0)
    plain = {key: value for key, value in FCOS.items() if key != 'ignore_regions'}
    ours, theirs = MODELS.build(FCOS), MODELS.build(dict(plain, type='FCOSHead'))
    expected, found = (losses(head, outputs(), [instances(PERSON)], None) for head in (theirs, ours))
    assert all(torch.equal(a, b) for a, b in zip(expected.pop('grad'), found.pop('grad')))
    assert expected == found


def test_regions_hold_for_their_own_image_only(head):
    """Of three images the second has a region; it has nobody in it."""
    truth, out = [instances(PERSON), instances(), instances(PERSON, (60.0, 5.0, 90.0, 60.0))], outputs(batch=3)
    found = losses(head, out, truth, [None, instances(REGION), instances()])
    plain = losses(head, out, truth, None)
    x, y = points_of(GRID, torch.device('cpu')).unbind(-1)
    region = (x > REGION[0]) & (x < REGION[2]) & (y > REGION[1]) & (y < REGION[3])
    first, second, third = _by_point(found)
    assert torch.equal(first, _by_point(plain)[0]) and torch.equal(third, _by_point(plain)[2])
    assert region.sum() >= 10
    assert not second[region].any() and torch.equal(second[~region], _by_point(plain)[1][~region])


@pytest.mark.parametrize('kind', HEADS)
def test_without_the_setting_regions_are_negatives_like_the_rest(kind):
    torch.manual_seed(0)
    head = MODELS.build({key: value for key, value in HEADS[kind].items() if key != 'ignore_regions'})
    plain, found = (losses(head, outputs(), [instances(PERSON)], each) for each in (None, [instances(REGION)]))
    assert plain['classification'] == found['classification']


def test_ignored_points_one_by_one():
    """Against a loop over random boxes, instances and regions."""
    generator = torch.Generator().manual_seed(1)
    corner = torch.rand(2, 4, 2, generator=generator) * 60
    boxes = torch.cat((corner, corner + torch.rand(2, 4, 2, generator=generator) * 50), dim=2)
    truth, regions = [instances(*b[:2].tolist()) for b in boxes], [instances(*b[2:].tolist()) for b in boxes]
    found = ignored_points(truth, regions, GRID, torch.device('cpu'))
    assert found.shape == (2, GRID.num_points) and found.any(dim=1).all()

    def inside(x, y, boxes):
        return any(x1 < x < x2 and y1 < y < y2 for x1, y1, x2, y2 in boxes.tolist())

    for image in range(2):
        for index, (x, y) in enumerate(points_of(GRID, torch.device('cpu')).tolist()):
            expected = inside(x, y, regions[image].bboxes) and not inside(x, y, truth[image].bboxes)
            assert found[image, index] == expected


@pytest.mark.parametrize('kind', ['o2f', 'fcos'])
def test_a_detector_trains_with_the_regions_of_its_data_samples(kind):
    """As a pipeline packs them: ``ignored_instances`` of the sample reach the head, and all gradients are finite."""
    model = make_detector(head=HEADS[kind]).train()
    batch = model.data_preprocessor(collate(make_images(2)), training=True)
    plain = model(**batch, mode='loss')
    for sample in batch['data_samples']:
        sample.ignored_instances = instances((0.0, 0.0, 48.0, 64.0))
    found = model(**batch, mode='loss')
    assert found['loss_cls'] < plain['loss_cls'] and found['loss_bbox'] == plain['loss_bbox']
    sum(found.values()).backward()
    assert all(math.isfinite(p.grad.sum()) for p in model.bbox_head.parameters() if p.grad is not None)
    assert model.bbox_head.conv_cls.weight.grad.any()


def test_the_maps_of_a_head_are_those_of_the_loss():
    """The whole way from features, for the head with its own filter over levels."""
    torch.manual_seed(0)
    head = MODELS.build(HEADS['poto+3dmf+aux'])
    with torch.no_grad():
        out = head(random_maps(batch=1))
    found = head.loss_by_feat(*out, [instances(PERSON)], [{}], [instances(REGION)])
    minimised = {name: loss for name, loss in found.items() if 'loss' in name}
    assert set(minimised) == {'loss_cls', 'loss_bbox', 'loss_aux'}
    assert all(math.isfinite(loss) and loss > 0 for loss in minimised.values())
