"""Both readings of TwoReadingsFCOS are what MMDetection's plain FCOS gives on the same weights."""

import copy

import pytest
import torch
from tiny_detectors import collate, fcos_head_config, head_config, make_detector, make_images

from o2f import readings

HEADS = dict(one_to_few=head_config, fcos=fcos_head_config)


def predictions(model, images) -> list:
    """The data samples of a detector, through its own preprocessing."""
    data = model.data_preprocessor(copy.deepcopy(collate(images)))
    with torch.no_grad():
        return model.predict(data['inputs'], data['data_samples'])


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
        for field in readings.FIELDS.values():
            assert sample.get(field).bboxes.shape == (0, 4)
            assert sample.get(field).scores.shape == sample.get(field).labels.shape == (0,)


def test_training_is_that_of_fcos():
    """Only predict differs: the losses of a batch are those of the plain detector."""
    two, plain = pair_of('fcos', None)
    images = collate(make_images(2))
    losses = [
        model(**model.data_preprocessor(copy.deepcopy(images), training=True), mode='loss') for model in (two, plain)
    ]
    assert set(losses[0]) == {'loss_cls', 'loss_bbox', 'loss_centerness'}
    assert all(torch.equal(losses[0][name], losses[1][name]) for name in losses[0])
