"""The method computes what it computed when ``golden.npz`` was written, and any changed constant would show."""

import numpy as np
import pytest
import torch
from golden import CASES, FILE, TOLERANCES, Case, compute, differences, read, settings

import o2f.models.condinst
import o2f.models.head
from o2f.assign.degrees import LinearDegrees

OURS = Case((), 7, 5, (60, 45))
POTO = Case(('poto',), counts=(7, 12))
AUX = Case(('poto', '3dmf', 'aux-atss'), counts=(7, 12))
TOPK = Case(('poto', '3dmf', 'aux-topk'), counts=(7, 12))
FCOS = Case(('poto', '3dmf', 'aux-fcos'), counts=(5, 40))
HYBRID = Case(('hybrid-epoch',), epoch=11, counts=(5, 40))
MASKS = Case(('condinst',), 7, 11, (5, 9))


@pytest.fixture(scope='module')
def written():
    return read()


def test_the_file_is_of_these_cases(written):
    assert set(written) == {f'{case.name}/{precision}' for case in CASES for precision in TOLERANCES}
    assert {OURS, POTO, AUX, TOPK, FCOS, HYBRID, MASKS} <= set(CASES)
    assert FILE.stat().st_size < 400_000


@pytest.mark.parametrize('precision', TOLERANCES)
@pytest.mark.parametrize('case', CASES, ids=lambda case: case.name)
def test_the_numbers_are_those_written_down(case, precision, written):
    found = compute(case, getattr(torch, precision), settings(case))
    assert differences(found, written[f'{case.name}/{precision}'], precision) == []


def test_the_numbers_say_something(written):
    """Every parameter has a gradient in some case of its head, but for a level without a positive; NMS removes some."""
    for use in {case.use for case in CASES}:
        of_head = [written[f'{case.name}/float64'] for case in CASES if case.use == use]
        assert all(np.isfinite(numbers['losses']).all() and numbers['candidates'] > 20 for numbers in of_head)
        without = set(of_head[0]['gradient_names'][sum(numbers['gradients'][:, 0] for numbers in of_head) == 0])
        assert without <= {f'head.scales.{level}.scale' for level in range(5)}, use
        assert any(not np.array_equal(numbers['without_nms.bboxes'], numbers['with_nms.bboxes']) for numbers in of_head)


#: Constants of the method: a case, a key of its model and another value.
CONSTANTS = [
    (OURS, 'bbox_head.selection.k', 8),
    (OURS, 'bbox_head.selection.alpha', 0.79),
    (OURS, 'bbox_head.selection.radius', 1.45),
    (OURS, 'bbox_head.selection.metric', 'add'),
    (OURS, 'bbox_head.selection.k_includes_certain', False),
    (OURS, 'bbox_head.degrees.t_max', 0.6006),
    (OURS, 'bbox_head.degrees.t_min', 0.2002),
    (OURS, 'bbox_head.loss_cls.ambiguous_weight', 0.4004),
    (OURS, 'bbox_head.loss_cls.negative_weight', 0.76),
    (OURS, 'bbox_head.loss_cls.gamma', 2.002),
    (OURS, 'bbox_head.loss_bbox.loss_weight', 2.002),
    (OURS, 'bbox_head.box_weight', 'uniform'),
    (OURS, 'test_cfg.score_thr', 0.051),
    (OURS, 'test_cfg.nms.iou_threshold', 0.55),
    (POTO, 'bbox_head.selection.alpha', 0.6),
    (POTO, 'bbox_head.loss_cls.positive_weight', 0.251),
    (POTO, 'bbox_head.loss_cls.positive_gamma', 2.002),
    (POTO, 'bbox_head.loss_bbox.loss_weight', 2.002),
    (AUX, 'bbox_head.auxiliary.topk', 8),
    (AUX, 'bbox_head.auxiliary.alpha', 0.7),
    (AUX, 'bbox_head.max_filtering', dict(kernel_size=5)),
    (AUX, 'bbox_head.loss_aux', dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.251)),
    (TOPK, 'bbox_head.auxiliary.k', 8),
    (FCOS, 'bbox_head.auxiliary.radius', 1.4),
    (HYBRID, 'bbox_head.selection.switch', 1.0),
    (MASKS, 'bbox_head.region_centre', 'box'),
    (MASKS, 'bbox_head.threshold', 'joint'),
    (MASKS, 'bbox_head.loss_bbox.loss_weight', 1.001),
    (MASKS, 'mask_head.loss_mask.loss_weight', 2.002),
    (MASKS, 'mask_head.loss_semantic.alpha', 0.251),
    (MASKS, 'mask_head.size_of_interest', 9),
]


@pytest.mark.parametrize('precision', TOLERANCES)
@pytest.mark.parametrize('case, key, value', CONSTANTS, ids=[f'{case.name} {key}' for case, key, _ in CONSTANTS])
def test_a_changed_constant_shows(case, key, value, precision, written):
    """In both precisions, though most changes are of one part in a hundred or less."""
    model = settings(case)
    _set(model, key, value)
    found = compute(case, getattr(torch, precision), model)
    assert differences(found, written[f'{case.name}/{precision}'], precision)


def _set(model, key, value):
    *parents, last = key.split('.')
    for name in parents:
        model = model[name]
    assert model.get(last) != value
    model[last] = value


def _area(points, boxes):
    """Centerness without its root."""
    return centerness(points, boxes) ** 2


centerness = o2f.models.head.centerness_target

#: Constants that stand in code: a case, and what to replace by what.
IN_CODE = {
    'centerness without its root': (OURS, o2f.models.head, 'centerness_target', _area),
    'T reaches T^min an epoch later': (
        OURS,
        LinearDegrees,
        'set_epoch',
        lambda self, epoch, epochs: setattr(self, 't', self.t_max + (self.t_min - self.t_max) * epoch / epochs),
    ),
    'every instance keeps the anchors it claims': (
        OURS,
        o2f.assign.selection,
        'one_instance_per_anchor',
        lambda anchor, score, claimed, num_anchors: claimed,
    ),
    'the centre of the box in place of the centroid': (
        MASKS,
        o2f.models.condinst,
        'mask_centroids',
        lambda image, device: (image.bboxes[:, :2] + image.bboxes[:, 2:]) / 2,
    ),
}


@pytest.mark.parametrize('change', IN_CODE)
def test_a_changed_rule_shows(change, written, monkeypatch):
    case, place, name, other = IN_CODE[change]
    monkeypatch.setattr(place, name, other)
    found = compute(case, torch.float64, settings(case))
    assert differences(found, written[f'{case.name}/float64'], 'float64')


def test_the_last_bits_do_not_matter(written):
    """The comparison allows other rounding, and no more."""
    numbers = written[f'{OURS.name}/float64']
    for factor, same in ((1 + 1e-12, True), (1 + 1e-8, False)):
        other = dict(numbers, losses=numbers['losses'] * factor)
        assert (differences(other, numbers, 'float64') == []) is same
        other = dict(numbers, gradients=numbers['gradients'] * factor)
        assert (differences(other, numbers, 'float64') == []) is same
