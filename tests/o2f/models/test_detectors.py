"""Both readings of TwoReadingsFCOS and TwoReadingsCondInst are what MMDetection's plain detectors give on the same
weights."""

import copy

import pytest
import torch
from tiny_condinst import HEADS as CONDINST_HEADS
from tiny_condinst import make_condinst, make_masked_images
from tiny_detectors import collate, fcos_head_config, head_config, make_detector, make_images

from o2f.errors import InputError
from o2f.models import postprocess

HEADS = dict(one_to_few=head_config, fcos=fcos_head_config)


def predictions(model, images, rescale=True) -> list:
    """The data samples of a detector, through its own preprocessing."""
    data = model.data_preprocessor(copy.deepcopy(collate(images)))
    with torch.no_grad():
        return model.predict(data['inputs'], data['data_samples'], rescale=rescale)


def pair_of(head: str, nms, **test_cfg):
    """TwoReadingsFCOS and FCOS with the same weights; the latter with NMS settings of its own."""
    two = make_detector(head=HEADS[head](), **test_cfg)
    plain = make_detector(kind='FCOS', head=HEADS[head](), **test_cfg, nms=nms)
    plain.load_state_dict(two.state_dict())
    return two, plain


def assert_equal(found, expected) -> None:
    fields = ('bboxes', 'scores', 'labels')
    assert set(found.keys()) == set(expected.keys()) == set(fields)
    for name in fields:
        assert torch.equal(found[name], expected[name]), name


@pytest.mark.parametrize('head', HEADS)
@pytest.mark.parametrize(
    ('field', 'nms'), [('pred_instances', None), ('pred_instances_nms', dict(type='nms', iou_threshold=0.6))]
)
def test_readings_equal_plain_fcos(head, field, nms):
    """Boxes, scores and labels to the last bit, in pixels of the original image."""
    two, plain = pair_of(head, nms)
    images = make_images(3)
    for found, expected in zip(predictions(two, images), predictions(plain, images)):
        assert len(expected.pred_instances) == 20
        assert_equal(found.get(field), expected.pred_instances)


@pytest.mark.parametrize('head', HEADS)
def test_readings_differ(head):
    """NMS comes before the cut to max_per_img: what it drops is replaced by weaker candidates."""
    for sample in predictions(make_detector(head=HEADS[head]()), make_images(3)):
        without, with_nms = sample.pred_instances, sample.pred_instances_nms
        assert len(without) == len(with_nms) == 20 and not torch.equal(without.bboxes, with_nms.bboxes)
        assert with_nms.scores.min() < without.scores.min()
        assert torch.equal(without.scores, without.scores.sort(descending=True).values)


def test_nms_settings_reach_mmcv():
    """max_num and the threshold of test_cfg.nms are honoured."""
    nms = dict(type='nms', iou_threshold=0.1, max_num=5)
    two, plain = make_detector(nms=nms), make_detector(kind='FCOS', nms=nms)
    plain.load_state_dict(two.state_dict())
    for found, expected in zip(predictions(two, make_images(2)), predictions(plain, make_images(2))):
        assert len(found.pred_instances_nms) <= 5 < len(found.pred_instances)
        assert_equal(found.pred_instances_nms, expected.pred_instances)


@pytest.mark.parametrize('head', HEADS)
def test_without_candidates(head):
    """An image without a candidate has two empty readings with all their fields."""
    for sample in predictions(make_detector(head=HEADS[head](), score_thr=1.0), make_images(2)):
        for field in postprocess.FIELDS.values():
            assert sample.get(field).bboxes.shape == (0, 4)
            assert sample.get(field).scores.shape == sample.get(field).labels.shape == (0,)


@pytest.mark.parametrize('make', [make_detector, lambda **test_cfg: make_condinst('one_to_few', **test_cfg)])
@pytest.mark.parametrize('nms', [None, dict(type='soft_nms', iou_threshold=0.5), 'absent'], ids=str)
def test_a_detector_without_nms(make, nms):
    """It detects without NMS as ever. Asked for NMS, it says that it has none, instead of leaving it out."""
    images = (make_images if make is make_detector else make_masked_images)(2)
    model, other = make(nms=nms), make()
    if nms == 'absent':
        del model.test_cfg['nms']
    data = model.data_preprocessor(copy.deepcopy(collate(images)))
    with torch.no_grad():
        found = model.predict(data['inputs'], data['data_samples'], with_nms=False)
    for sample, expected in zip(found, predictions(other, images)):
        assert torch.equal(sample.pred_instances.bboxes, expected.pred_instances.bboxes)
        assert 'pred_instances_nms' not in sample
    if not isinstance(nms, dict):
        with pytest.raises(InputError, match='model.test_cfg has no nms, .*: set it, such as dict'):
            predictions(model, images)


def test_training_is_that_of_fcos():
    """Only predict differs: the losses of a batch are those of the plain detector."""
    two, plain = pair_of('fcos', None)
    images = collate(make_images(2))
    losses = [
        model(**model.data_preprocessor(copy.deepcopy(images), training=True), mode='loss') for model in (two, plain)
    ]
    assert set(losses[0]) == {'loss_cls', 'loss_bbox', 'loss_centerness'}
    assert all(torch.equal(losses[0][name], losses[1][name]) for name in losses[0])


# --- instance segmentation ----------------------------------------------------------------------------------


def condinst_pair(head: str, nms, **test_cfg):
    """TwoReadingsCondInst and CondInst with the same weights; the latter with NMS settings of its own."""
    two = make_condinst(head, **test_cfg)
    plain = make_condinst(head, kind='CondInst', **test_cfg, nms=nms)
    plain.load_state_dict(two.state_dict())
    return two, plain


@pytest.mark.parametrize('rescale', [True, False])
@pytest.mark.parametrize('head', CONDINST_HEADS)
@pytest.mark.parametrize(
    ('field', 'nms'), [('pred_instances', None), ('pred_instances_nms', dict(type='nms', iou_threshold=0.6))]
)
def test_readings_equal_plain_condinst(head, field, nms, rescale):
    """Boxes, scores, labels and masks of MMDetection's own predict, in pixels of the original image or the network's.

    The convolutions draw all masks of an image at once, so a mask's logits round a little by which masks those are."""
    two, plain = condinst_pair(head, nms)
    images = make_images(2) + make_images(1, size=(48, 80), seed=1)  # the last one is padded
    for found, expected in zip(predictions(two, images, rescale), predictions(plain, images, rescale)):
        found, expected = found.get(field), expected.pred_instances
        assert set(found.keys()) == {'bboxes', 'scores', 'labels', 'masks'} and len(expected) == 20
        assert all(torch.equal(found[name], expected[name]) for name in ('bboxes', 'scores', 'labels'))
        assert found.masks.shape == expected.masks.shape and found.masks.dtype == torch.bool
        assert (found.masks != expected.masks).float().mean() < 1e-4
        assert 0.01 < expected.masks.float().mean() < 0.99 and len(expected.masks.flatten(1).unique(dim=0)) > 5


def test_condinst_readings_differ():
    """NMS comes before the cut to max_per_img; each mask belongs to its own detection."""
    for sample in predictions(make_condinst('one_to_many'), make_images(3)):
        without, with_nms = sample.pred_instances, sample.pred_instances_nms
        assert len(without) == len(with_nms) == 20 and with_nms.scores.min() < without.scores.min()
        shared = 0
        for box, score, mask in zip(with_nms.bboxes, with_nms.scores, with_nms.masks):
            same = (without.bboxes == box).all(dim=1) & (without.scores == score)
            shared += same.sum().item()
            assert all(torch.equal(other, mask) for other in without.masks[same])
        assert 0 < shared < 20


def test_a_mask_is_drawn_once(monkeypatch):
    """The mask head is given each candidate that a reading keeps once, whether one of them keeps it or both."""
    model, given = make_condinst('one_to_few'), []
    forward = model.mask_head.forward
    monkeypatch.setattr(model.mask_head, 'forward', lambda x, infos: given.extend(infos) or forward(x, infos))
    for infos, sample in zip(given, predictions(model, make_images(2))):
        readings_of = [sample.get(field) for field in postprocess.FIELDS.values()]
        rows = torch.cat([torch.cat((one.bboxes, one.scores[:, None]), dim=1) for one in readings_of])
        assert len(infos) == len(rows.unique(dim=0)) < len(rows)


@pytest.mark.parametrize('head', CONDINST_HEADS)
def test_condinst_without_candidates(head):
    """An image without a candidate has two empty readings with all their fields, masks of the original's size too."""
    for sample in predictions(make_condinst(head, score_thr=1.0), make_images(2)):
        for field in postprocess.FIELDS.values():
            assert sample.get(field).bboxes.shape == (0, 4) and sample.get(field).masks.shape == (0, 128, 192)
            assert sample.get(field).scores.shape == sample.get(field).labels.shape == (0,)


def test_training_is_that_of_condinst():
    """Only predict differs: the losses of a batch are those of the plain detector."""
    two, plain = condinst_pair('one_to_many', None)
    images = collate(make_masked_images(2))
    losses = [
        model(**model.data_preprocessor(copy.deepcopy(images), training=True), mode='loss') for model in (two, plain)
    ]
    assert set(losses[0]) == {'loss_cls', 'loss_bbox', 'loss_centerness', 'loss_mask'}
    assert all(torch.equal(losses[0][name], losses[1][name]) for name in losses[0])
