"""faster-coco-eval gives the values of pycocotools."""

import json
import math

import numpy as np
import pytest
from faster_coco_eval.core.mask import area, decode
from pycocotools import mask as rle

from o2f.coco_evaluation import STATS, CocoEvaluation, Detections

IMAGES, SIDE = 25, 120
CATEGORIES = [2, 3, 5, 7, 11]  # there is nothing of 7, and nothing of 11 is found


def random_boxes(rng, number) -> np.ndarray:
    """(number, 4) x, y, width, height, on whole pixels, so that overlaps are often equal."""
    corner = rng.integers(0, SIDE // 2, (number, 2))
    return np.hstack((corner, rng.integers(2, SIDE // 2, (number, 2)))).astype(float)


def encode(box) -> dict:
    """A mask that fills the left half of a box and every other row of the right one."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    x, y, width, height = map(int, box)
    mask[y : y + height : 2, x : x + width] = mask[y : y + height, x : x + width // 2] = 1
    code = rle.encode(np.asfortranarray(mask))
    return dict(size=code['size'], counts=code['counts'].decode())


def make_truth(path, seed: int, first_id: int = 1) -> list:
    """Annotations, a fifth of them crowds, on all images but the last two; areas are anything from small to large."""
    rng = np.random.default_rng(seed)
    annotations = [
        dict(
            id=number,
            image_id=int(rng.integers(0, IMAGES - 2)),
            category_id=int(rng.choice([2, 3, 5, 11])),
            bbox=box.tolist(),
            area=float(np.exp(rng.uniform(2, 10))),
            iscrowd=int(rng.random() < 0.2),
            segmentation=encode(box),
        )
        for number, box in enumerate(random_boxes(rng, 120), first_id)
    ]
    document = dict(
        images=[dict(id=image, width=SIDE, height=SIDE) for image in range(IMAGES)],
        annotations=annotations,
        categories=[dict(id=category, name=f'name {category}') for category in CATEGORIES],
    )
    path.write_text(json.dumps(document))
    return annotations


def make_found(annotations: list, seed: int, kind: str, scale: float = 1.0) -> Detections:
    """Copies of the annotations, shifted or with another category, often of equal score, on all images but two; more
    than 100 on image 0."""
    rng = np.random.default_rng(seed)
    boxes = np.array([a['bbox'] for a in annotations for _ in range(3)])
    boxes[:, :2] = (boxes[:, :2] + rng.integers(-2, 3, (len(boxes), 2))).clip(0)
    boxes = np.vstack((boxes, random_boxes(rng, 150)))
    images = np.array([a['image_id'] for a in annotations for _ in range(3)] + [0] * 130 + [IMAGES - 1] * 20)
    right = np.array([a['category_id'] for a in annotations for _ in range(3)] + [2] * 150)
    categories = np.where((rng.random(len(boxes)) < 0.8) & (right != 11), right, rng.choice([2, 3, 5, 7], len(boxes)))
    order = rng.permutation(np.flatnonzero(images != 3))
    boxes, images, categories = scale * boxes[order], images[order], categories[order]
    codes = [encode(box) for box in boxes] if kind == 'segm' else None
    return Detections(
        images.tolist(),
        categories.tolist(),
        np.round(rng.random(len(boxes)), 1).tolist(),
        area(codes).tolist() if codes else boxes[:, 2:].prod(axis=1).tolist(),
        codes or boxes.tolist(),
    )


def both(path, kind: str, found: Detections, images=range(IMAGES), categories=tuple(CATEGORIES)) -> list:
    return [
        CocoEvaluation(str(path), backend).metrics(kind, found, images, categories)
        for backend in ('faster_coco_eval', 'pycocotools')
    ]


@pytest.mark.parametrize('seed', range(4))
@pytest.mark.parametrize('kind', ['bbox', 'segm'])
def test_the_backends_agree(kind, seed, tmp_path):
    """Every metric to 1e-12: equal scores and overlaps, crowds, more detections than count, categories with nothing
    to find or nothing found, images with neither."""
    annotations = make_truth(tmp_path / 'truth.json', seed)
    found = make_found(annotations, 10 + seed, kind)
    ours, theirs = both(tmp_path / 'truth.json', kind, found)
    assert list(ours) == list(STATS) and ours == pytest.approx(theirs, abs=1e-12)
    assert all(0.01 < value < 0.95 for value in ours.values())
    few = dict(images=(8, 0, 24, 3), categories=(5, 2))
    ours_of_few, theirs_of_few = both(tmp_path / 'truth.json', kind, found, **few)
    assert ours_of_few == pytest.approx(theirs_of_few, abs=1e-12, nan_ok=True) and ours_of_few['AP'] != ours['AP']


@pytest.mark.parametrize('kind', ['bbox', 'segm'])
def test_nothing_found(kind, tmp_path):
    make_truth(tmp_path / 'truth.json', 0)
    for values in both(tmp_path / 'truth.json', kind, Detections([], [], [], [], [])):
        assert values == dict.fromkeys(STATS, 0)


@pytest.mark.parametrize('kind', ['bbox', 'segm'])
def test_nothing_to_find(kind, tmp_path):
    """On images without an object nothing is defined."""
    found = make_found(make_truth(tmp_path / 'truth.json', 0), 1, kind)
    for values in both(tmp_path / 'truth.json', kind, found, images=[IMAGES - 1, IMAGES - 2]):
        assert list(values) == list(STATS) and all(map(math.isnan, values.values()))


@pytest.mark.parametrize('scale', [0.0, -1.0, math.inf])
@pytest.mark.filterwarnings('ignore')  # of pycocotools' arithmetic
def test_boxes_without_sense(scale, tmp_path):
    """Boxes of a diverged model, as either backend takes them."""
    annotations = make_truth(tmp_path / 'truth.json', 0)
    ours, theirs = both(tmp_path / 'truth.json', 'bbox', make_found(annotations, 1, 'bbox', scale))
    assert ours == pytest.approx(theirs, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize('kind', ['bbox', 'segm'])
@pytest.mark.filterwarnings('ignore:Found annotation id 0')
def test_an_annotation_with_id_0(kind, tmp_path):
    """It stands for no match in both; the faster one says so."""
    annotations = make_truth(tmp_path / 'truth.json', 0, first_id=0)
    ours, theirs = both(tmp_path / 'truth.json', kind, make_found(annotations, 1, kind))
    assert ours == pytest.approx(theirs, abs=1e-12)


def test_polygons_and_lists_of_runs(tmp_path):
    """What else an annotation file may have for masks: polygons, and run-length codes that are not compressed."""
    annotations = make_truth(tmp_path / 'truth.json', 0)
    document = json.loads((tmp_path / 'truth.json').read_text())
    for annotation in document['annotations'][::3]:
        x, y, width, height = annotation['bbox']
        annotation['segmentation'] = [[x, y, x + width, y, x, y + height], [x, y, x + 4, y, x + 4, y + 4]]
    for annotation in document['annotations'][1::3]:
        flat = decode(annotation['segmentation']).flatten(order='F')
        ends = np.flatnonzero(np.diff(flat, prepend=0, append=2))
        annotation['segmentation'] = dict(size=[SIDE, SIDE], counts=np.diff(ends, prepend=0).tolist())
    (tmp_path / 'truth.json').write_text(json.dumps(document))
    ours, theirs = both(tmp_path / 'truth.json', 'segm', make_found(annotations, 1, 'segm'))
    assert ours == pytest.approx(theirs, abs=1e-12) and ours['AP'] > 0.01


@pytest.mark.parametrize('backend', ['faster_coco_eval', 'pycocotools'])
def test_nothing_is_printed(backend, tmp_path, capfd, caplog):
    caplog.set_level('INFO')
    found = make_found(make_truth(tmp_path / 'truth.json', 0), 1, 'bbox')
    CocoEvaluation(str(tmp_path / 'truth.json'), backend).metrics('bbox', found, range(IMAGES), CATEGORIES)
    assert capfd.readouterr() == ('', '') and not caplog.records


def test_an_image_that_is_not_annotated_is_named(tmp_path):
    make_truth(tmp_path / 'truth.json', 0)
    evaluation = CocoEvaluation(str(tmp_path / 'truth.json'))
    with pytest.raises(ValueError, match='truth.json has no image 77'):
        evaluation.metrics('bbox', Detections([], [], [], [], []), [1, 77], CATEGORIES)


def test_an_unknown_backend(tmp_path):
    with pytest.raises(ValueError, match="metric: backend must be 'faster_coco_eval' or 'pycocotools', not 'other'"):
        CocoEvaluation(str(tmp_path / 'truth.json'), 'other')
