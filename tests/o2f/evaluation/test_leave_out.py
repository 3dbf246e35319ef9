"""Metrics without a group of images are those of an evaluation on the other images."""

import json

import numpy as np
import pytest
from coco_cases import CATEGORIES, IMAGES, make_found, make_truth
from test_crowdhuman import crowd, detections, entry, near, samples_of, write

from o2f.evaluation.coco import CocoEvaluation, DetectionLists
from o2f.evaluation.crowdhuman import TwoReadingsCrowdHumanMetric
from o2f.evaluation.leave_out import GROUPS, LeftOut, coco

KEYS = ('AP', 'AP50', 'AP75', 'AR')


def without(found, groups, group):
    """The detections and images of the other groups."""
    images = np.flatnonzero(groups != group).tolist()
    rows = [row for row in zip(*found) if row[0] in images]
    return DetectionLists(*(map(list, zip(*rows)) if rows else [[]] * 5)), images


@pytest.mark.parametrize('backend', ['faster_coco_eval', 'pycocotools'])
@pytest.mark.parametrize('kind', ['bbox', 'segm'])
def test_coco_without_each_group(kind, backend, tmp_path):
    """To 1e-12, and the metric's own value with nothing left out. Regions of crowds and many equal scores are there."""
    found = make_found(make_truth(tmp_path / 'truth.json', 0), 10, kind)
    evaluation = CocoEvaluation(str(tmp_path / 'truth.json'), backend)
    groups = np.arange(IMAGES) % 7
    metrics, outcomes = evaluation.metrics_and_outcomes(kind, found, range(IMAGES), CATEGORIES)
    assert metrics == pytest.approx(evaluation.metrics(kind, found, range(IMAGES), CATEGORIES), abs=0, nan_ok=True)
    values = coco(outcomes, groups)
    assert set(values) == set(KEYS) and len({*values['AP']}) == 8
    assert {key: value[-1] for key, value in values.items()} == pytest.approx({k: metrics[k] for k in KEYS}, abs=1e-15)
    for group in range(7):
        expected = evaluation.metrics(kind, *without(found, groups, group), CATEGORIES)
        got = {key: value[group] for key, value in values.items()}
        assert got == pytest.approx({key: expected[key] for key in KEYS}, abs=1e-12)


@pytest.mark.parametrize(('thresholds', 'keys'), [(0.5, {'AP50'}), ([0.3, 0.75], {'AP75'}), ([0.2, 0.4], set())])
def test_coco_of_other_thresholds(thresholds, keys, tmp_path):
    """AP50 and AP75 are those of their own thresholds, and are not there without them."""
    found = make_found(make_truth(tmp_path / 'truth.json', 0), 10, 'bbox')
    evaluation = CocoEvaluation(str(tmp_path / 'truth.json'), iou_thrs=thresholds)
    metrics, outcomes = evaluation.metrics_and_outcomes('bbox', found, range(IMAGES), CATEGORIES)
    values = coco(outcomes, np.arange(IMAGES))
    assert set(values) == {'AP', 'AR'} | keys
    assert {key: value[-1] for key, value in values.items()} == pytest.approx(
        {k: metrics[k] for k in values}, abs=1e-15
    )


def test_coco_where_hardly_anything_is_left(tmp_path):
    """Categories without an object do not count; without any, no metric is defined; nothing found is 0."""
    found = make_found(make_truth(tmp_path / 'truth.json', 1), 11, 'bbox')
    evaluation = CocoEvaluation(str(tmp_path / 'truth.json'))
    _, outcomes = evaluation.metrics_and_outcomes('bbox', found, range(IMAGES), CATEGORIES)
    for image in (0, 3, 8):  # nothing is found on image 3
        groups = np.arange(IMAGES) != image  # group 1 is all other images
        value = coco(outcomes, groups.astype(int))['AP'][1]
        expected = evaluation.metrics('bbox', *without(found, groups, 1), CATEGORIES)['AP'] if image != 3 else 0
        assert value == pytest.approx(expected, abs=1e-12)
    groups = (np.arange(IMAGES) != IMAGES - 1).astype(int)  # the last image has no object
    assert all(np.isnan(values[1]) and np.isfinite(values[0]) for values in coco(outcomes, groups).values())


@pytest.mark.parametrize('images', [range(IMAGES), [8, 24], [23, 24]])
def test_coco_without_detections_or_objects(images, tmp_path):
    make_truth(tmp_path / 'truth.json', 0)
    evaluation = CocoEvaluation(str(tmp_path / 'truth.json'))
    metrics, outcomes = evaluation.metrics_and_outcomes('bbox', DetectionLists([], [], [], [], []), images, CATEGORIES)
    values = coco(outcomes, np.arange(len(images)))
    assert values['AP'][-1] == pytest.approx(metrics['AP'], nan_ok=True)


def evaluated(folder, truth, readings, leave_out=False):
    metric = TwoReadingsCrowdHumanMetric(write(folder / 'truth.odgt', truth))
    metric.leave_out = leave_out
    metric.process({}, samples_of(*readings))
    metrics = metric.evaluate(size=len(truth))
    return {key: value for key, value in metrics.items() if 'duplicates' not in key and 'margin' not in key}, metric


@pytest.mark.parametrize('digits', [1, 4])
def test_crowdhuman_without_each_image(digits, tmp_path):
    """All four metrics of both readings, with many equal scores and with few."""
    rng = np.random.default_rng(digits)
    truth = {f'{number},x': crowd(rng) for number in range(8)}
    truth['regions,x'] = [entry((50, 50, 100, 100), 'mask', ignore=1)]
    readings = [{name: near(rng, entries, digits=digits) for name, entries in truth.items()} for _ in range(2)]
    readings[0]['2,x'] = detections()
    metrics, metric = evaluated(tmp_path, truth, readings, leave_out=True)
    left_out = metric.left_out
    assert {key: values[-1] for key, values in left_out.values.items()} == metrics
    for group, image in enumerate(truth):
        others = {name: of_image for name, of_image in truth.items() if name != image}
        expected, _ = evaluated(tmp_path, others, [{name: found[name] for name in others} for found in readings])
        assert {key: values[group] for key, values in left_out.values.items()} == pytest.approx(expected, abs=1e-12)
        assert 0.05 < expected['without_nms/AP'] < 0.95


def test_a_record_of_plain_types(tmp_path):
    """100 groups at most; millionths; undefined metrics are missing; other images have another digest."""
    (tmp_path / 'truth.json').write_text('{}')
    several, few = (LeftOut(str(tmp_path / 'truth.json'), range(number)) for number in (250, 3))
    assert np.bincount(several.groups).tolist() == [3] * 50 + [2] * 50 and GROUPS == 100
    assert few.groups.tolist() == [0, 1, 2]
    few.values = {'AP': np.array([0.25, np.nan, 0.5, 0.4]), 'APl': np.full(4, np.nan)}
    record = json.loads(json.dumps(few.record))
    assert record.pop('evaluated') != several.record['evaluated']
    assert record == dict(images=3, metrics={'AP': 0.4}, left_out={'AP': [-150000, None, 100000]})
