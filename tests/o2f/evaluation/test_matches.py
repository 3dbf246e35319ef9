"""From the matches that are stored come the metrics that an evaluation gives on any resampling of the images."""

import json

import numpy as np
import pytest
from coco_cases import CATEGORIES, IMAGES, make_found, make_truth
from test_crowdhuman import crowd, detections, entry, near, samples_of, write

from analysis.claims.matches import load_matches
from experiments.store.files import write_arrays
from o2f.evaluation.coco import CocoEvaluation, DetectionLists
from o2f.evaluation.crowdhuman import TwoReadingsCrowdHumanMetric
from o2f.evaluation.matches import Matches

ONCE = np.ones((1, IMAGES), int)


def stored(path, matches):
    """The matches once they are written and read again."""
    write_arrays(path, matches)
    return load_matches(path)


def coco_matches(folder, found, kind, backend='faster_coco_eval', **settings):
    """The metrics of an evaluation, and the matches it leaves."""
    settings = dict(dict(images=range(IMAGES), categories=CATEGORIES), **settings)
    evaluation = CocoEvaluation(str(folder / 'truth.json'), backend)
    asked = kind, found, settings['images'], settings['categories']
    metrics, outcomes = evaluation.metrics_and_outcomes(*asked)
    assert metrics == pytest.approx(evaluation.metrics(*asked), abs=0, nan_ok=True)
    matches = Matches('coco', evaluation.ann_file, settings['images'])
    matches.add('', outcomes)
    return metrics, stored(folder / f'{backend}.npz', matches.arrays())


def draw(seed, images=IMAGES):
    return np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images))


def evaluate_copies(folder, found, kind, drawn):
    """pycocotools on a dataset in which each image is there as often as it was drawn, under ids of its own."""
    document = json.loads((folder / 'truth.json').read_text())
    copies = [image for image, number in enumerate(drawn) for _ in range(number)]
    annotations = [
        dict(annotation, image_id=copy)
        for copy, image in enumerate(copies)
        for annotation in document['annotations']
        if annotation['image_id'] == image
    ]
    document['annotations'] = [dict(annotation, id=i) for i, annotation in enumerate(annotations, 1)]
    document['images'] = [dict(document['images'][image], id=copy) for copy, image in enumerate(copies)]
    (folder / 'copies.json').write_text(json.dumps(document))
    rows = list(zip(*found))
    columns = [(copy, *row[1:]) for copy, image in enumerate(copies) for row in rows if row[0] == image]
    evaluation = CocoEvaluation(str(folder / 'copies.json'), 'pycocotools')
    return evaluation.metrics(kind, DetectionLists(*map(list, zip(*columns))), range(len(copies)), CATEGORIES)


@pytest.mark.parametrize('backend', ['faster_coco_eval', 'pycocotools'])
@pytest.mark.parametrize('kind', ['bbox', 'segm'])
def test_coco_on_resampled_images(kind, backend, tmp_path):
    """To 1e-12: crowds, many equal scores within images and between them, images drawn often and not at all."""
    found = make_found(make_truth(tmp_path / 'truth.json', 0), 10, kind)
    metrics, matches = coco_matches(tmp_path, found, kind, backend)
    drawn = np.stack([np.full(IMAGES, 1), *(draw(seed) for seed in range(3)), 5 * draw(3)])
    values = matches.metrics('', drawn)
    assert set(values) == {'AP', 'AP50', 'AP75', 'AR'} and len({*values['AP']}) == 5
    for i, times in enumerate(drawn):
        expected = evaluate_copies(tmp_path, found, kind, times) if i else metrics
        got = {name: value[i] for name, value in values.items()}
        assert got == pytest.approx({name: expected[name] for name in got}, abs=1e-12)


def test_coco_where_hardly_anything_is_drawn(tmp_path):
    """Categories without an object do not count; without any, no metric is defined; nothing found is 0."""
    found = make_found(make_truth(tmp_path / 'truth.json', 1), 11, 'bbox')
    _, matches = coco_matches(tmp_path, found, 'bbox')
    for image in (0, 3, 8):  # nothing is found on image 3
        drawn = np.eye(IMAGES, dtype=int)[image] * 3
        expected = evaluate_copies(tmp_path, found, 'bbox', drawn) if image != 3 else dict.fromkeys(('AP', 'AR'), 0)
        got = matches.metrics('', drawn[None])
        assert [got['AP'][0], got['AR'][0]] == pytest.approx([expected['AP'], expected['AR']], abs=1e-12)
    empty = matches.metrics('', np.eye(IMAGES, dtype=int)[[IMAGES - 1]])
    assert all(np.isnan(value).all() for value in empty.values())


@pytest.mark.parametrize('settings', [{}, dict(images=[8, 24]), dict(images=[23, 24])])
def test_coco_without_detections_or_objects(settings, tmp_path):
    make_truth(tmp_path / 'truth.json', 0)
    metrics, matches = coco_matches(tmp_path, DetectionLists([], [], [], [], []), 'bbox', **settings)
    matches.check(metrics)
    once = np.ones((1, matches.images), int)
    assert matches.metrics('', once)['AP'][0] == pytest.approx(metrics['AP'], nan_ok=True)


def crowd_matches(folder, truth, without, with_nms):
    metric = TwoReadingsCrowdHumanMetric(write(folder / 'truth.odgt', truth))
    metric.keep_matches = True
    metric.process({}, samples_of(without, with_nms))
    metrics = metric.evaluate(size=len(without))
    return metrics, metric.matches


@pytest.mark.parametrize('digits', [1, 4])
def test_crowdhuman_on_resampled_images(digits, tmp_path):
    """All four metrics of both readings to 1e-12, with many equal scores and with few."""
    rng = np.random.default_rng(digits)
    truth = {f'{number},x': crowd(rng) for number in range(8)}
    truth['regions,x'] = [entry((50, 50, 100, 100), 'mask', ignore=1)]
    readings = [{name: near(rng, entries, digits=digits) for name, entries in truth.items()} for _ in range(2)]
    readings[0]['2,x'] = detections()
    metrics, arrays = crowd_matches(tmp_path, truth, *readings)
    matches = stored(tmp_path / 'matches.npz', arrays)
    matches.check(metrics)
    drawn = np.stack([draw(seed, len(truth)) for seed in range(4)])
    for i, times in enumerate(drawn):
        copies = {f'{name}-{copy}': name for name, number in zip(truth, times) for copy in range(number)}
        of_copies = [{copy: found[name] for copy, name in copies.items()} for found in readings]
        expected, _ = crowd_matches(tmp_path, {copy: truth[name] for copy, name in copies.items()}, *of_copies)
        expected = {key: value for key, value in expected.items() if 'duplicates' not in key and 'margin' not in key}
        got = {key: value[i] for prefix in matches.sets for key, value in matches.metrics(prefix, drawn).items()}
        assert got == pytest.approx(expected, abs=1e-12) and 0.05 < got['without_nms/AP'] < 0.95


def test_the_file_tells_other_images_and_other_results(tmp_path):
    """Matches of other annotations have another digest; those of another run do not give the result's metrics."""
    metrics, digests = {}, set()
    for seed in (0, 1):
        found = make_found(make_truth(tmp_path / 'truth.json', seed), 10, 'bbox')
        metrics[seed], matches = coco_matches(tmp_path, found, 'bbox')
        digests |= {matches.evaluated, coco_matches(tmp_path, found, 'bbox', images=range(20))[1].evaluated}
    assert len(digests) == 4
    matches.check(metrics[1])
    with pytest.raises(ValueError, match='gives AP 0.161.*, but the result has 0.224.*: of another run'):
        matches.check(metrics[0])


@pytest.mark.parametrize(
    'damage, says',
    [
        (lambda path, arrays: path.write_bytes(path.read_bytes()[:-40]), 'cannot be read'),
        (lambda path, arrays: path.write_bytes(b''), 'cannot be read'),
        (lambda path, arrays: write_arrays(path, {**arrays, 'right': arrays['right'][:-1]}), 'right must be'),
        (lambda path, arrays: write_arrays(path, {**arrays, 'right': arrays['right'] + 0.5}), 'right must be'),
        (lambda path, arrays: write_arrays(path, {**arrays, 'right': arrays['right'] | 1}), 'more detections than'),
        (lambda path, arrays: write_arrays(path, {**arrays, 'images': arrays['images'] | 99}), 'images must be'),
        (lambda path, arrays: write_arrays(path, {**arrays, 'tied': np.array([None])}), 'cannot be read'),
        (lambda path, arrays: write_arrays(path, {**arrays, 'about': np.array('{"schema": 2}')}), 'schema is 2'),
        (lambda path, arrays: write_arrays(path, {**arrays, 'about': np.array('[]')}), 'must be a mapping'),
        (lambda path, arrays: write_arrays(path, dict(about=arrays['about'])), 'does not hold matches'),
    ],
)
def test_a_damaged_file_is_refused(damage, says, tmp_path):
    found = make_found(make_truth(tmp_path / 'truth.json', 0), 10, 'bbox')
    coco_matches(tmp_path, found, 'bbox')
    path = tmp_path / 'faster_coco_eval.npz'
    with np.load(path) as file:
        arrays = dict(file)
    damage(path, arrays)
    with pytest.raises(ValueError, match=says):
        load_matches(path)
