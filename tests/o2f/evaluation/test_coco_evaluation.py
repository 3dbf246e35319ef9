"""faster-coco-eval gives the values of pycocotools."""

import json
import math

import numpy as np
import pytest
from coco_cases import CATEGORIES, IMAGES, SIDE, make_found, make_truth
from faster_coco_eval.core.mask import decode

from o2f.evaluation.coco import STATS, CocoEvaluation, DetectionLists


def both(path, kind: str, found: DetectionLists, images=range(IMAGES), categories=tuple(CATEGORIES)) -> list:
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
    for values in both(tmp_path / 'truth.json', kind, DetectionLists([], [], [], [], [])):
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
        evaluation.metrics('bbox', DetectionLists([], [], [], [], []), [1, 77], CATEGORIES)


def test_an_unknown_backend(tmp_path):
    with pytest.raises(ValueError, match="metric: backend must be 'faster_coco_eval' or 'pycocotools', not 'other'"):
        CocoEvaluation(str(tmp_path / 'truth.json'), 'other')
