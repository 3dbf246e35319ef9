"""TwoReadingsMetric gives each reading what pycocotools gives it alone."""

import contextlib
import io
import json
import math

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from o2f.metric import TwoReadingsMetric

NAMES = {7: 'cat', 3: 'dog', 9: 'hen', 4: 'owl'}  # category ids in no order; the classes are in another one
CLASSES = ('hen', 'cat', 'dog')  # labels 0, 1, 2; owls are not asked for
STATS = dict(AP=0, AP50=1, AP75=2, APs=3, APm=4, APl=5, AR=8)


def random_boxes(rng, number, low=8, high=180) -> np.ndarray:
    corner = rng.uniform(0, 200, (number, 2))
    return np.hstack((corner, corner + np.exp(rng.uniform(np.log(low), np.log(high), (number, 2)))))


def make_truth(path, images=6, seed=0, **size) -> dict:
    """Annotations of random boxes, written to ``path``; image 40 has none."""
    rng = np.random.default_rng(seed)
    annotations = []
    for image in range(images):
        for x1, y1, x2, y2 in random_boxes(rng, 0 if image == 4 else 7, **size).tolist():
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=image * 10,
                    category_id=int(rng.choice(list(NAMES))),
                    bbox=[x1, y1, x2 - x1, y2 - y1],
                    area=(x2 - x1) * (y2 - y1),
                    iscrowd=int(rng.random() < 0.1),
                )
            )
    document = dict(
        images=[dict(id=image * 10, width=400, height=400) for image in range(images)],
        annotations=annotations,
        categories=[dict(id=id_, name=name) for id_, name in NAMES.items()],
    )
    path.write_text(json.dumps(document))
    return document


def near_truth(document, seed, images, extra=5) -> dict:
    """image id -> detections: shifted copies of the true boxes, some with a wrong label, and some more."""
    rng = np.random.default_rng(seed)
    found = {}
    for image in images:
        true = [a for a in document['annotations'] if a['image_id'] == image and NAMES[a['category_id']] in CLASSES]
        boxes = np.array([a['bbox'] for a in true]).reshape(-1, 4) @ np.array(
            [[1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 1]]
        )
        labels = [CLASSES.index(NAMES[a['category_id']]) for a in true]
        boxes = np.vstack((boxes + rng.normal(0, 3, boxes.shape), random_boxes(rng, extra)))
        labels = np.concatenate((np.where(rng.random(len(labels)) < 0.8, labels, 0), rng.integers(0, 3, extra)))
        found[image] = instances(boxes, rng.random(len(boxes)), labels)
    return found


def instances(boxes=(), scores=(), labels=()) -> InstanceData:
    return InstanceData(
        bboxes=torch.tensor(np.asarray(boxes), dtype=torch.float32).reshape(-1, 4),
        scores=torch.tensor(scores, dtype=torch.float32),
        labels=torch.tensor(labels).long(),
    )


def measured(path, without: dict, with_nms: dict) -> dict:
    """TwoReadingsMetric over the images of ``without``, two to a batch, as mmengine's evaluator feeds it."""
    metric = TwoReadingsMetric(str(path))
    metric.dataset_meta = dict(classes=CLASSES)
    samples = []
    for image in without:
        sample = DetDataSample(metainfo=dict(img_id=image))
        sample.pred_instances, sample.pred_instances_nms = without[image], with_nms[image]
        samples.append(sample.to_dict())
    for start in range(0, len(samples), 2):
        metric.process({}, samples[start : start + 2])
    return metric.evaluate(size=len(samples))


def coco_alone(path, found: dict, folder) -> dict:
    """pycocotools on one reading's results file, with its defaults but for the images and categories asked for."""
    results = []
    for image, detections in found.items():
        for box, score, label in zip(
            detections.bboxes.tolist(), detections.scores.tolist(), detections.labels.tolist()
        ):
            category = next(id_ for id_, name in NAMES.items() if name == CLASSES[label])
            x1, y1, x2, y2 = box
            results.append(dict(image_id=image, category_id=category, bbox=[x1, y1, x2 - x1, y2 - y1], score=score))
    (folder / 'results.json').write_text(json.dumps(results))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(path))
        evaluation = COCOeval(truth, truth.loadRes(str(folder / 'results.json')), 'bbox')
        evaluation.params.imgIds = sorted(found)
        evaluation.params.catIds = sorted(id_ for id_, name in NAMES.items() if name in CLASSES)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {name: evaluation.stats[index] for name, index in STATS.items()}


def part(metrics: dict, reading: str) -> dict:
    return {name.split('/')[1]: value for name, value in metrics.items() if name.startswith(f'{reading}/')}


@pytest.mark.parametrize('seed', range(4))
def test_each_reading_equals_pycocotools_alone(seed, tmp_path):
    """All seven metrics of both readings to 1e-12; one image without a detection, one without truth, crowd boxes."""
    document = make_truth(tmp_path / 'truth.json', seed=seed)
    readings = [near_truth(document, 100 + seed + each, range(0, 60, 10)) for each in (0, 50)]
    readings[0][20] = readings[1][30] = instances()
    metrics = measured(tmp_path / 'truth.json', *readings)
    assert len(metrics) == 14
    for reading, found in zip(('without_nms', 'with_nms'), readings):
        expected = coco_alone(tmp_path / 'truth.json', found, tmp_path)
        assert part(metrics, reading) == pytest.approx(expected, abs=1e-12)
        assert 0.02 < expected['AP'] < 0.98
        assert all(type(value) is float for value in part(metrics, reading).values())


def test_only_the_images_seen_count(tmp_path):
    """A metric over some of the annotated images leaves out the others."""
    document = make_truth(tmp_path / 'truth.json')
    found = near_truth(document, 1, (50, 10, 0))
    expected = coco_alone(tmp_path / 'truth.json', found, tmp_path)
    assert part(measured(tmp_path / 'truth.json', found, found), 'with_nms') == pytest.approx(expected, abs=1e-12)


def test_at_most_100_detections_of_an_image_count(tmp_path):
    """pycocotools' own limit: detection 101 and later of an image and class change nothing."""
    document = make_truth(tmp_path / 'truth.json')
    found = near_truth(document, 1, range(0, 60, 10), extra=400)
    expected = coco_alone(tmp_path / 'truth.json', found, tmp_path)
    assert part(measured(tmp_path / 'truth.json', found, found), 'without_nms') == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize('empty', ['without_nms', 'with_nms', 'both'])
def test_a_reading_without_a_detection(empty, tmp_path):
    """It is 0 throughout, and the other reading is what it is."""
    document = make_truth(tmp_path / 'truth.json')
    images = range(0, 60, 10)
    nothing, something = {image: instances() for image in images}, near_truth(document, 1, images)
    found = dict(without_nms=something, with_nms=something)
    found.update({empty: nothing} if empty in found else dict.fromkeys(found, nothing))
    metrics = measured(tmp_path / 'truth.json', *found.values())
    for reading in found:
        zero = dict.fromkeys(STATS, 0)
        expected = zero if found[reading] is nothing else coco_alone(tmp_path / 'truth.json', something, tmp_path)
        assert part(metrics, reading) == pytest.approx(expected, abs=1e-12)


def perfect(document) -> dict:
    found = {}
    for image in document['images']:
        true = [
            a for a in document['annotations'] if a['image_id'] == image['id'] and NAMES[a['category_id']] in CLASSES
        ]
        boxes = [[x, y, x + w, y + h] for x, y, w, h in (a['bbox'] for a in true)]
        found[image['id']] = instances(boxes, [0.9] * len(true), [CLASSES.index(NAMES[a['category_id']]) for a in true])
    return found


def test_perfect_detections(tmp_path):
    """AP is 1 at every threshold."""
    found = perfect(make_truth(tmp_path / 'truth.json', images=12))
    assert measured(tmp_path / 'truth.json', found, found) == pytest.approx(
        {f'{reading}/{name}': 1 for reading in ('without_nms', 'with_nms') for name in STATS}, abs=1e-9
    )


def test_what_is_not_defined_is_nan(tmp_path):
    """Without a large object APl is NaN, neither 0 nor pycocotools' -1; with nothing found too."""
    found = perfect(make_truth(tmp_path / 'truth.json', high=60, low=40))
    metrics = measured(tmp_path / 'truth.json', found, {image: instances() for image in found})
    for reading, value in (('without_nms', 1), ('with_nms', 0)):
        assert math.isnan(metrics[f'{reading}/APl'])
        assert metrics[f'{reading}/APm'] == pytest.approx(value)


def test_without_classes_labels_follow_category_ids(tmp_path):
    """Without dataset_meta, label n is the n-th category id of the annotation file."""
    document = make_truth(tmp_path / 'truth.json')
    order = [category['id'] for category in document['categories']]
    metric = TwoReadingsMetric(str(tmp_path / 'truth.json'), prefix='val')
    for image in range(0, 60, 10):
        true = [a for a in document['annotations'] if a['image_id'] == image]
        boxes = [[x, y, x + w, y + h] for x, y, w, h in (a['bbox'] for a in true)]
        found = instances(boxes, [0.5] * len(true), [order.index(a['category_id']) for a in true])
        sample = DetDataSample(metainfo=dict(img_id=image))
        sample.pred_instances = sample.pred_instances_nms = found
        metric.process({}, [sample.to_dict()])
    assert metric.evaluate(size=6)['val/without_nms/AP'] == pytest.approx(1)
