"""Errors of detections against the numbers of tidecv and against COCO's AP50."""

import json

import numpy as np
import pytest

from o2f.evaluation.coco import CocoEvaluation, DetectionLists
from o2f.evaluation.duplicates import ImageBoxes
from o2f.evaluation.errors import _IGNORED, _RIGHT, ERRORS, _ap50, error_metrics, judge

NONE = ImageBoxes(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0))
BOX = (10.0, 10.0, 20.0, 20.0)


def boxes(*rows):
    """Rows (box, class, score)."""
    if not rows:
        return NONE
    shapes, classes, scores = zip(*rows)
    return ImageBoxes(np.array(shapes, float), np.array(classes), np.array(scores, float))


def moved(by):
    return (BOX[0] + by, *BOX[1:])


def names(found, objects, crowds=NONE):
    judged = judge(boxes(*found), boxes(*objects), crowds)
    special = {_RIGHT: 'right', _IGNORED: 'ignored'}
    return [special.get(error) or ERRORS[error] for error in judged.errors], judged


@pytest.mark.parametrize(
    'found, error',
    [
        ((moved(1), 0, 0.9), 'right'),
        ((moved(10), 0, 0.9), 'localisation'),  # IoU 1/3
        ((moved(1), 1, 0.9), 'classification'),
        ((moved(19), 0, 0.9), 'background'),  # IoU 0.026
        ((moved(10), 1, 0.9), 'both'),
        ((moved(100), 0, 0.9), 'background'),
    ],
)
def test_each_error(found, error):
    [name], judged = names([found], [(BOX, 0, 1)])
    assert name == error
    repairable = error in ('localisation', 'classification')
    assert judged.repaired.tolist() == ([0] if repairable else [-1])
    assert judged.missed.tolist() == [error not in ('right', 'localisation', 'classification')]


def test_a_duplicate_is_the_worse_of_two():
    found, judged = names([(moved(1), 0, 0.5), (moved(2), 0, 0.9)], [(BOX, 0, 1)])
    assert found == ['right', 'duplicate'] and judged.scores.tolist() == [0.9, 0.5]


def test_only_the_best_of_an_objects_wrong_detections_is_put_right():
    found, judged = names([(moved(10), 0, 0.5), (moved(1), 3, 0.9)], [(BOX, 0, 1)])
    assert found == ['classification', 'localisation'] and judged.repaired.tolist() == [0, -1]


def test_a_detection_in_a_crowd_is_not_judged():
    crowd = boxes(((0, 0, 100, 100), 0, 1))
    found, _ = names([(moved(40), 0, 0.9), (moved(40), 1, 0.8), (moved(1), 0, 0.7)], [(BOX, 0, 1)], crowd)
    assert found == ['ignored', 'background', 'right']


def test_what_an_error_costs():
    """Two objects. One is found; a better-scored duplicate-free wrong place and a missed object cost the rest."""
    objects = boxes((BOX, 0, 1), (moved(100), 0, 1))
    found = boxes((moved(1), 0, 0.9), (moved(110), 0, 0.8), (moved(2), 0, 0.7))
    values = error_metrics([found], [objects], [NONE])
    assert values['localisation'] == pytest.approx(50 / 101)  # AP50 was 51 of 101 recalls
    assert {name for name in ERRORS if values[name]} == {'localisation'}
    values = error_metrics([boxes((moved(1), 0, 0.9))], [objects], [NONE])
    assert values['missed'] == pytest.approx(50 / 101) and values['localisation'] == 0


def test_calibration():
    """Ten detections of score 0.8, of which five are right, and one of 0.1 that is wrong."""
    objects = [boxes((BOX, 0, 1))] * 11
    found = [boxes((moved(1 if index < 5 else 100), 0, 0.8)) for index in range(10)] + [boxes((moved(100), 0, 0.1))]
    values = error_metrics(found, objects, [NONE] * 11)
    assert values['calibration'] == pytest.approx((10 * 0.3 + 1 * 0.1) / 11)


def test_without_detections_or_objects():
    assert np.isnan(list(error_metrics([], [], []).values())).all()
    assert np.isnan([error_metrics([boxes((BOX, 0, 0.9))], [NONE], [NONE])[name] for name in ERRORS]).all()
    values = error_metrics([NONE], [boxes((BOX, 0, 1))], [NONE])
    # COCO's precision without any detection is 0, and without an object that counts nothing is left to find.
    assert values['duplicate'] == 0 and np.isnan(values['missed']) and np.isnan(values['calibration'])


def random_image(rng):
    """Up to five objects of three classes, a few detections near each, and some elsewhere."""
    count = rng.integers(0, 6)
    corners, sides = rng.uniform(0, 60, (count, 2)), rng.uniform(8, 40, (count, 2))
    objects = ImageBoxes(np.c_[corners, sides], rng.integers(0, 3, count), np.ones(count))
    found, classes = [], []
    for index in range(count):
        for _ in range(rng.integers(0, 4)):
            corner = corners[index] + rng.normal(0, 4, 2)
            found.append(np.r_[corner, sides[index] * np.exp(rng.normal(0, 0.2, 2))])
            classes.append(objects.classes[index] if rng.random() < 0.7 else rng.integers(0, 3))
    for _ in range(rng.integers(0, 3)):
        found.append(np.r_[rng.uniform(0, 60, 2), rng.uniform(8, 40, 2)])
        classes.append(rng.integers(0, 3))
    shapes = np.array(found).reshape(-1, 4)
    return ImageBoxes(shapes, np.array(classes, int), rng.uniform(0, 1, len(shapes))), objects


@pytest.fixture(scope='module')
def images():
    rng = np.random.default_rng(0)
    return [random_image(rng) for _ in range(300)]


def test_the_numbers_of_tidecv(images):
    """tidecv 1.0.1 on these images. It takes recalls k / 100, COCO and we np.linspace(0, 1, 101), which matters where a
    recall is one of them to the last bit."""
    found, objects = zip(*images)
    values = error_metrics(found, objects, [NONE] * len(images))
    assert {name: 100 * values[name] for name in ERRORS} == pytest.approx(
        dict(
            localisation=21.85642222290949,
            classification=5.1615530153190186,
            duplicate=0.6927262161002865,
            background=2.3650493878901813,
            both=1.789103805814861,
            missed=6.093946616561457,
        ),
        abs=0.003,
    )


def test_nothing_put_right_is_coco_s_ap50(images, tmp_path):
    truth = dict(images=[], annotations=[], categories=[dict(id=number, name=str(number)) for number in range(3)])
    columns = [], [], [], [], []
    for number, (found, objects) in enumerate(images):
        truth['images'].append(dict(id=number, file_name=f'{number}.jpg', width=200, height=200))
        for box, class_ in zip(objects.boxes.tolist(), objects.classes.tolist()):
            truth['annotations'].append(
                dict(id=len(truth['annotations']) + 1, image_id=number, bbox=box, category_id=class_, iscrowd=0)
            )
        for box, class_, score in zip(found.boxes.tolist(), found.classes.tolist(), found.scores.tolist()):
            for column, value in zip(columns, (number, class_, score, box[2] * box[3], box)):
                column.append(value)
    path = tmp_path / 'truth.json'
    path.write_text(json.dumps(truth))
    metrics = CocoEvaluation(str(path)).metrics('bbox', DetectionLists(*columns), range(len(images)), range(3))
    judged = [judge(found, objects, NONE) for found, objects in images]
    joined = type(judged[0])(*(np.concatenate(column) for column in zip(*judged)))
    assert _ap50(joined, None) == pytest.approx(metrics['AP50'], abs=1e-12)
