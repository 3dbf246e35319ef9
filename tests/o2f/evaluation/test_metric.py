"""TwoReadingsMetric gives each reading what pycocotools gives it alone, with either backend."""

import contextlib
import io
import json
import math

import numpy as np
import pytest
import torch
from mmdet.evaluation.metrics import CocoMetric
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from o2f.evaluation.coco import BACKENDS
from o2f.evaluation.metric import TwoReadingsMetric

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


def measured(path, without: dict, with_nms: dict, **settings) -> dict:
    """TwoReadingsMetric over the images of ``without``, two to a batch, as mmengine's evaluator feeds it."""
    metric = TwoReadingsMetric(str(path), **settings)
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
    """One reading's metrics, less those of test_duplicates.py."""
    values = {name.split('/')[1]: value for name, value in metrics.items() if name.startswith(f'{reading}/')}
    return {name: value for name, value in values.items() if name not in ('duplicates', 'score_margin')}


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('seed', range(4))
def test_each_reading_equals_pycocotools_alone(seed, backend, tmp_path):
    """All seven metrics of both readings to 1e-12; one image without a detection, one without truth, crowd boxes."""
    document = make_truth(tmp_path / 'truth.json', seed=seed)
    readings = [near_truth(document, 100 + seed + each, range(0, 60, 10)) for each in (0, 50)]
    readings[0][20] = readings[1][30] = instances()
    metrics = measured(tmp_path / 'truth.json', *readings, backend=backend)
    assert len(metrics) == 18
    for reading, found in zip(('without_nms', 'with_nms'), readings):
        expected = coco_alone(tmp_path / 'truth.json', found, tmp_path)
        assert part(metrics, reading) == pytest.approx(expected, abs=1e-12)
        assert 0.02 < expected['AP'] < 0.98
        assert all(type(value) is float for value in part(metrics, reading).values())


def test_a_second_branch_is_a_result_of_its_own(tmp_path):
    """All metrics are there, groups of images included, and the other two results are as without it."""
    document = make_truth(tmp_path / 'truth.json')
    main, its = (near_truth(document, seed, range(0, 60, 10)) for seed in (1, 2))
    alone = measured(tmp_path / 'truth.json', main, its)
    metric = TwoReadingsMetric(str(tmp_path / 'truth.json'))
    metric.dataset_meta = dict(classes=CLASSES)
    metric.leave_out = True
    samples = []
    for image, found in main.items():
        sample = DetDataSample(metainfo=dict(img_id=image))
        sample.pred_instances, sample.pred_instances_nms, sample.pred_instances_second = found, found, its[image]
        samples.append(sample.to_dict())
    metric.process({}, samples)
    metrics = metric.evaluate(len(samples))
    assert part(metrics, 'second_with_nms') == part(alone, 'with_nms')
    assert part(metrics, 'without_nms') == part(alone, 'without_nms')
    assert not any(key.startswith('second') for key in alone)
    assert metric.left_out.record['metrics']['second_with_nms/AP'] == pytest.approx(alone['with_nms/AP'], abs=1e-9)
    assert set(metric.breakdown['classes']) == {'without_nms', 'with_nms', 'second_with_nms'}


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
    metrics = measured(tmp_path / 'truth.json', found, found)
    for reading in ('without_nms', 'with_nms'):
        assert part(metrics, reading) == pytest.approx(dict.fromkeys(STATS, 1), abs=1e-9)
        assert metrics[f'{reading}/duplicates'] == metrics[f'{reading}/score_margin'] == 0


def test_objects_of_other_classes_are_not_there(tmp_path):
    """No metric depends on whether the file has a category that is not asked for, nor does what errors cost."""
    document = make_truth(tmp_path / 'all.json', images=12)
    asked = [a for a in document['annotations'] if NAMES[a['category_id']] in CLASSES]
    assert len(asked) < len(document['annotations'])
    (tmp_path / 'asked.json').write_text(json.dumps(dict(document, annotations=asked)))
    found = near_truth(document, 1, range(0, 120, 10))
    one, other = (measured(tmp_path / name, found, found, errors=True) for name in ('all.json', 'asked.json'))
    assert one == pytest.approx(other, abs=0, nan_ok=True)
    assert one['without_nms/background_error'] > 0


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


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.filterwarnings('ignore:invalid value encountered')
def test_boxes_that_are_no_numbers_find_nothing(backend, tmp_path):
    """A diverged model's; pycocotools itself would count them as right."""
    document = make_truth(tmp_path / 'truth.json')
    found = {
        image['id']: instances([[math.nan] * 4, [math.inf] * 4], [0.9, 0.8], [0, 1]) for image in document['images']
    }
    metrics = measured(tmp_path / 'truth.json', found, found, backend=backend)
    for reading in ('without_nms', 'with_nms'):
        assert all(value == 0 for value in part(metrics, reading).values())
        assert math.isnan(metrics[f'{reading}/duplicates']) and math.isnan(metrics[f'{reading}/score_margin'])


def test_an_unknown_backend(tmp_path):
    make_truth(tmp_path / 'truth.json')
    with pytest.raises(ValueError, match="metric: backend must be 'faster_coco_eval' or 'pycocotools', not 'faster'"):
        TwoReadingsMetric(str(tmp_path / 'truth.json'), backend='faster')


# --- masks --------------------------------------------------------------------------------------------------

HEIGHT, WIDTH = 200, 240


def ellipse(x, y, width, height) -> np.ndarray:
    """(HEIGHT, WIDTH) bool, an ellipse in a box."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    return ((2 * (columns - x) / width - 1) ** 2 + (2 * (rows - y) / height - 1) ** 2) < 1


def encoded(mask: np.ndarray) -> dict:
    code = rle.encode(np.asfortranarray(mask.astype(np.uint8)))
    return dict(size=code['size'], counts=code['counts'].decode())


def make_masked_truth(path, seed: int) -> dict:
    """Five images of ellipses from 8 to 190 pixels, every third of them a polygon; the fourth image has none."""
    rng = np.random.default_rng(seed)
    annotations = []
    for image in range(5):
        for _ in range(0 if image == 3 else 6):
            width, height = np.exp(rng.uniform(np.log(8), np.log(190), 2))
            x, y = rng.uniform(0, WIDTH - width), rng.uniform(0, HEIGHT - height)
            angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
            outline = np.stack((x + width * (1 + np.cos(angle)) / 2, y + height * (1 + np.sin(angle)) / 2), axis=1)
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=image * 10,
                    category_id=int(rng.choice(list(NAMES))),
                    bbox=[x, y, width, height],
                    area=np.pi / 4 * width * height,
                    iscrowd=0,
                    segmentation=[outline.flatten().tolist()]
                    if len(annotations) % 3 == 0
                    else encoded(ellipse(x, y, width, height)),
                )
            )
    document = dict(
        images=[dict(id=image * 10, width=WIDTH, height=HEIGHT) for image in range(5)],
        annotations=annotations,
        categories=[dict(id=id_, name=name) for id_, name in NAMES.items()],
    )
    path.write_text(json.dumps(document))
    return document


def masks_near_truth(document, seed: int) -> dict:
    """image id -> detections near the annotations and some elsewhere. Boxes are larger than what the masks fill, so
    that metrics of boxes and masks differ."""
    rng = np.random.default_rng(seed)
    found = {}
    for image in document['images']:
        true = [a for a in document['annotations'] if a['image_id'] == image['id']]
        places = np.array([a['bbox'] for a in true] + [[20, 20, 40, 40], [70, 50, 30, 60]])
        places = places + rng.normal(0, 0.03, places.shape) * places[:, 2:].max(axis=1, keepdims=True)
        labels = [CLASSES.index(name) if name in CLASSES else 0 for name in (NAMES[a['category_id']] for a in true)]
        boxes = np.hstack((places[:, :2], places[:, :2] + 1.2 * places[:, 2:]))
        detections = instances(boxes, rng.random(len(boxes)), np.array([*labels, 1, 2]))
        detections.masks = torch.tensor(np.array([ellipse(*place) for place in places]))
        found[image['id']] = detections
    return found


def no_masks() -> InstanceData:
    nothing = instances()
    nothing.masks = torch.zeros(0, HEIGHT, WIDTH, dtype=torch.bool)
    return nothing


def samples_of(without: dict, with_nms: dict) -> list:
    samples = []
    for image in without:
        sample = DetDataSample(metainfo=dict(img_id=image, ori_shape=(HEIGHT, WIDTH)))
        sample.pred_instances, sample.pred_instances_nms = without[image], with_nms[image]
        samples.append(sample.to_dict())
    return samples


def masks_measured(path, without: dict, with_nms: dict, **settings) -> dict:
    metric = TwoReadingsMetric(str(path), masks=True, **settings)
    metric.dataset_meta = dict(classes=CLASSES)
    metric.process({}, samples_of(without, with_nms))
    json.dumps(metric.results[0][2])  # plain enough for any way of joining processes
    return metric.evaluate(size=len(without))


def masks_alone(path, found: dict, folder) -> dict:
    """pycocotools on one reading's masks in a results file."""
    category = {name: id_ for id_, name in NAMES.items()}
    results = [
        dict(image_id=image, category_id=category[CLASSES[label]], score=score, segmentation=encoded(mask.numpy()))
        for image, detections in found.items()
        for label, score, mask in zip(detections.labels.tolist(), detections.scores.tolist(), detections.masks)
    ]
    (folder / 'masks.json').write_text(json.dumps(results))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(path))
        evaluation = COCOeval(truth, truth.loadRes(str(folder / 'masks.json')), 'segm')
        evaluation.params.catIds = sorted(category[name] for name in CLASSES)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {f'mask_{name}': evaluation.stats[index] for name, index in STATS.items()}


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('seed', range(3))
def test_masks_equal_pycocotools_alone(seed, backend, tmp_path):
    """All seven metrics of both readings' masks; those of their boxes are what they are without masks."""
    path = tmp_path / 'truth.json'
    document = make_masked_truth(path, seed)
    found = [masks_near_truth(document, 10 + seed), masks_near_truth(document, 20 + seed)]
    found[0][20] = no_masks()
    metrics = masks_measured(path, *found, backend=backend)
    assert len(metrics) == 32
    for reading, detections in zip(('without_nms', 'with_nms'), found):
        of_reading = part(metrics, reading)
        expected = masks_alone(path, detections, tmp_path)
        assert {name: of_reading.pop(name) for name in expected} == pytest.approx(expected, abs=1e-12)
        assert of_reading == pytest.approx(coco_alone(path, detections, tmp_path), abs=1e-12)
        assert expected['mask_AP'] > of_reading['AP'] + 0.05 and 0.1 < expected['mask_AP'] < 0.95


def test_masks_equal_mmdetections_metric(tmp_path):
    """CocoMetric on the same detections, to the three decimals that it gives."""
    path = tmp_path / 'truth.json'
    document = make_masked_truth(path, 0)
    found = masks_near_truth(document, 1)
    metric = CocoMetric(str(path), metric=['bbox', 'segm'])
    metric.dataset_meta = dict(classes=CLASSES)
    metric.cat_ids = [9, 7, 3]  # of itself it would take the order of the annotation file
    metric.process({}, samples_of(found, found))
    expected = metric.evaluate(size=len(found))
    metrics = part(masks_measured(path, found, found), 'without_nms')
    for name, theirs in dict(AP='mAP', AP50='mAP_50', AP75='mAP_75', APs='mAP_s', APm='mAP_m').items():
        assert metrics[name] == pytest.approx(expected[f'coco/bbox_{theirs}'], abs=6e-4)
        assert metrics[f'mask_{name}'] == pytest.approx(expected[f'coco/segm_{theirs}'], abs=6e-4)


def test_readings_without_a_mask(tmp_path):
    """A reading without a detection is 0 throughout, the other is what it is."""
    path = tmp_path / 'truth.json'
    document = make_masked_truth(path, 0)
    something = masks_near_truth(document, 1)
    metrics = masks_measured(path, {image: no_masks() for image in something}, something)
    nothing = part(metrics, 'without_nms')
    assert set(nothing) == {*STATS, *(f'mask_{name}' for name in STATS)}
    assert all(value == 0 or math.isnan(value) for value in nothing.values()) and nothing['mask_AP'] == 0
    expected = masks_alone(path, something, tmp_path)
    assert {name: part(metrics, 'with_nms')[name] for name in expected} == pytest.approx(expected, abs=1e-12)


def test_many_masks(tmp_path):
    """More than 255, which is more than pycocotools gives the areas of at once."""
    path = tmp_path / 'truth.json'
    found = masks_near_truth(make_masked_truth(path, 0), 1)
    for image, detections in found.items():
        found[image] = InstanceData.cat([detections] * 12)
    metrics = part(masks_measured(path, found, found), 'with_nms')
    expected = masks_alone(path, found, tmp_path)
    assert sum(map(len, found.values())) > 255
    assert {name: metrics[name] for name in expected} == pytest.approx(expected, abs=1e-12)


def test_a_masks_size_is_its_own(tmp_path):
    """A detection that matches nothing counts as large by its mask, whatever its box says."""
    path = tmp_path / 'truth.json'
    content = make_masked_truth(path, 0)
    square = np.zeros((HEIGHT, WIDTH), dtype=bool)
    square[10:110, 10:110] = True
    truth = dict(id=1, image_id=0, category_id=7, bbox=[10, 10, 100, 100], area=10000, iscrowd=0)
    path.write_text(json.dumps(dict(content, annotations=[dict(truth, segmentation=encoded(square))])))
    elsewhere = np.zeros_like(square)
    elsewhere[:, 130:160] = True  # 3600 pixels: medium
    found = {image['id']: no_masks() for image in content['images']}
    found[0] = instances([[10, 10, 110, 110], [130, 0, 132, 2]], [0.5, 0.9], [1, 1])  # and a small box
    found[0].masks = torch.tensor(np.array([square, elsewhere]))
    metrics = part(masks_measured(path, found, found), 'with_nms')
    assert metrics['mask_AP'] == pytest.approx(0.5) and metrics['mask_APl'] == pytest.approx(1)
    elsewhere[:] = True
    found[0].masks = torch.tensor(np.array([square, elsewhere]))
    assert part(masks_measured(path, found, found), 'with_nms')['mask_APl'] < 1
