"""On each reading TwoReadingsCrowdHumanMetric equals MMDetection's CrowdHumanMetric, unrounded; and recall."""

import json
import math
from queue import SimpleQueue

import numpy as np
import pytest
import torch
from mmdet.datasets import CrowdHumanDataset
from mmdet.evaluation import CrowdHumanMetric
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from o2f.evaluation.crowdhuman import TwoReadingsCrowdHumanMetric

HEIGHT, WIDTH = 300, 400
READINGS = ('without_nms', 'with_nms')


def entry(box, tag='person', **extra) -> dict:
    """One of an image's gtboxes; ``box`` is x, y, width, height."""
    box = [int(value) for value in box]
    return dict(tag=tag, fbox=box, hbox=box, vbox=box, head_attr={}, extra=extra)


def crowd(rng, people=12) -> list:
    """Overlapping people, some marked to be ignored and some reaching out of the image, and up to two regions."""
    corner = rng.normal(rng.uniform(50, 250, 2), 40, (people, 2))
    size = np.exp(rng.uniform(np.log(20), np.log(150), (people, 1))) * (0.45, 1)
    entries = [entry((*xy, *wh), ignore=int(rng.random() < 0.15)) for xy, wh in zip(corner, size)]
    regions = [entry((*rng.uniform(0, 250, 2), *rng.uniform(30, 150, 2)), 'mask', ignore=1) for _ in range(2)]
    return [*entries, *regions[: rng.integers(0, 3)]]


def detections(boxes=(), scores=()) -> InstanceData:
    return InstanceData(
        bboxes=torch.tensor(np.asarray(boxes), dtype=torch.float32).reshape(-1, 4),
        scores=torch.tensor(np.asarray(scores), dtype=torch.float32),
        labels=torch.zeros(len(scores), dtype=torch.long),
    )


def near(rng, entries, copies=4, digits=2) -> InstanceData:
    """Shifted copies of an image's boxes and some more; scores are rounded, so that many are equal."""
    boxes = np.array([[x, y, x + w, y + h] for x, y, w, h in (e['fbox'] for e in entries)]).reshape(-1, 4)
    boxes = np.vstack((np.repeat(boxes, copies, axis=0), rng.uniform(0, 200, (8, 4)) + (0, 0, 60, 90)))
    boxes = boxes + rng.normal(0, 6, boxes.shape)
    return detections(boxes, np.round(rng.random(len(boxes)), digits))


def write(path, truth) -> str:
    """The .odgt file of {ID: gtboxes}."""
    path.write_text(''.join(json.dumps(dict(ID=name, gtboxes=entries)) + '\n' for name, entries in truth.items()))
    return str(path)


def samples_of(without, with_nms=None) -> list:
    samples = []
    for name, found in without.items():
        sample = DetDataSample(metainfo=dict(img_id=name, ori_shape=(HEIGHT, WIDTH)))
        sample.pred_instances, sample.pred_instances_nms = found, (with_nms or without)[name]
        samples.append(sample.to_dict())
    return samples


def measured(path, without, with_nms=None) -> dict:
    metric = TwoReadingsCrowdHumanMetric(str(path))
    samples = samples_of(without, with_nms)
    for start in range(0, len(samples), 3):
        metric.process({}, samples[start : start + 3])
    return metric.evaluate(size=len(samples))


def part(metrics, reading='without_nms') -> dict:
    """One reading's metrics, less those of test_duplicates.py."""
    values = {name.split('/')[1]: value for name, value in metrics.items() if name.startswith(f'{reading}/')}
    return {name: value for name, value in values.items() if name not in ('duplicates', 'score_margin')}


def by_mmdetection(path, found, folder) -> dict:
    """MMDetection's own functions on one reading, without its rounding; recall from its matching."""
    metric = CrowdHumanMetric(str(path))
    metric.process({}, samples_of(found))
    samples = metric.load_eval_samples(metric.results2json(metric.results, str(folder / 'results')))
    matched = metric.compare(samples)
    people = sum(sample.gt_num - sample.ign_num for sample in samples.values())
    return dict(
        AP=metric.eval_ap(matched, people, len(samples)),
        mMR=metric.eval_mr(matched, people, len(samples)),
        recall=sum(label for _, label, _ in matched) / people,
        JI=max(ji_at(metric, samples, 1e-1 * step) for step in range(10)),
    )


def ji_at(metric, samples, threshold) -> float:
    """MMDetection's JI at one threshold; its ``eval_ji`` asks for the same in processes that it forks."""
    queue = SimpleQueue()
    metric.compute_ji_with_ignore(queue, samples, threshold)
    return metric.gather([queue.get() for _ in samples])[1]


@pytest.mark.parametrize('seed', range(4))
def test_each_reading_equals_mmdetection_unrounded(seed, tmp_path):
    """All four to 1e-12 on crowds with people and regions to ignore and equal scores; some images have no detection,
    some nobody but a region, one nothing at all."""
    rng = np.random.default_rng(seed)
    truth = {f'{number},{seed}': crowd(rng) for number in range(9)}
    truth['regions,0'] = [entry((50, 50, 100, 100), 'mask', ignore=1), entry((10, 10, 30, 60), ignore=1)]
    readings = [{name: near(rng, entries) for name, entries in truth.items()} for _ in READINGS]
    readings[0]['2,' + str(seed)] = readings[1]['3,' + str(seed)] = detections()
    # MMDetection takes no image with an empty list, but a region that no detection touches is the same.
    truth['bare,0'], standin = [], {'bare,0': [entry((399, 299, 1, 1), 'mask', ignore=1)]}
    for each in readings:
        each['bare,0'] = near(rng, [entry((20, 20, 40, 90))])
    path, path_there = write(tmp_path / 'truth.odgt', truth), write(tmp_path / 'there.odgt', {**truth, **standin})
    metrics = measured(path, *readings)
    assert sorted(metrics) == sorted(
        f'{reading}/{name}'
        for reading in READINGS
        for name in ('AP', 'mMR', 'recall', 'JI', 'duplicates', 'score_margin')
    )
    for reading, found in zip(READINGS, readings):
        expected = by_mmdetection(path_there, found, tmp_path)
        assert part(metrics, reading) == pytest.approx(expected, abs=1e-12)
        assert all(0.1 < value < 0.99 for value in expected.values())
        assert all(type(value) is float for value in part(metrics, reading).values())


def test_mmdetections_evaluation_as_a_whole(tmp_path):
    """Its ``evaluate``, processes and all, gives the same to its four decimals."""
    rng = np.random.default_rng(5)
    truth = {f'{number},x': crowd(rng) for number in range(6)}
    found = {name: near(rng, entries) for name, entries in truth.items()}
    path = write(tmp_path / 'truth.odgt', truth)
    theirs = CrowdHumanMetric(path, num_ji_process=2)
    theirs.process({}, samples_of(found))
    expected = {name.split('/')[1].replace('mAP', 'AP'): value for name, value in theirs.evaluate(size=6).items()}
    values = part(measured(path, found))
    assert {name: values[name] for name in expected} == pytest.approx(expected, abs=5.1e-5)
    assert len(expected) == 3


def test_the_order_of_results_does_not_matter(tmp_path):
    """Several processes hand in their images in any order; scores that are equal between images are settled alike."""
    rng = np.random.default_rng(7)
    truth = {f'{number},x': crowd(rng) for number in range(12)}
    found = {name: near(rng, entries, digits=1) for name, entries in truth.items()}
    path = write(tmp_path / 'truth.odgt', truth)
    expected = measured(path, found)
    for _ in range(5):
        assert measured(path, {name: found[name] for name in rng.permutation(sorted(found)).tolist()}) == expected


def test_only_the_images_seen_count(tmp_path):
    rng = np.random.default_rng(8)
    truth = {f'{number},x': crowd(rng) for number in range(6)}
    found = {name: near(rng, truth[name]) for name in ('5,x', '1,x', '3,x')}
    write(tmp_path / 'seen.odgt', {name: entries for name, entries in truth.items() if name in found})
    expected = measured(tmp_path / 'seen.odgt', found)
    assert measured(write(tmp_path / 'truth.odgt', truth), found) == pytest.approx(expected, abs=1e-12)


def test_an_image_that_is_not_annotated_is_named(tmp_path):
    path = write(tmp_path / 'truth.odgt', {'1,x': [entry((10, 10, 20, 40))]})
    with pytest.raises(ValueError, match="truth.odgt has no image '2,x'"):
        measured(path, {'1,x': detections(), '2,x': detections()})


PERSON = (100, 100, 50, 100)
FOUND = (100, 100, 150, 200)


def one_image(tmp_path, entries, boxes, scores=None) -> dict:
    """The metrics of one image's detections; scores fall from 0.9 if they are not given."""
    path = write(tmp_path / 'one.odgt', {'1,x': entries})
    return part(measured(path, {'1,x': detections(boxes, scores or np.linspace(0.9, 0.5, len(boxes)))}))


def test_people_found_and_missed(tmp_path):
    """Three people, two of them found by five detections, counted by hand."""
    entries = [entry(PERSON), entry((200, 100, 50, 100)), entry((300, 100, 50, 100))]
    boxes = [FOUND, (202, 101, 251, 199), (0, 0, 40, 40), (101, 101, 151, 201), (10, 0, 50, 40)]
    values = one_image(tmp_path, entries, boxes, [0.9, 0.75, 0.72, 0.15, 0.1])
    assert values['recall'] == pytest.approx(2 / 3)
    # Best above 0.7: two pairs among three people and three detections.
    assert values['JI'] == pytest.approx(2 / (3 + 3 - 2), abs=1e-5)
    # Recall rises from 1/3 to 2/3 at precision 1; MMDetection's curve begins at its first point.
    assert values['AP'] == pytest.approx(1 / 3)
    # The rate is looked up where 0.01 to 1 false positives per image are reached: here always at the first one.
    assert values['mMR'] == pytest.approx(1 / 3)


def test_a_second_detection_of_a_person_is_wrong(tmp_path):
    twice = one_image(tmp_path, [entry(PERSON), entry((300, 100, 50, 100))], [FOUND, FOUND, (300, 100, 350, 200)])
    once = one_image(tmp_path, [entry(PERSON), entry((300, 100, 50, 100))], [FOUND, (300, 100, 350, 200)])
    assert twice['recall'] == once['recall'] == 1
    assert twice['AP'] < once['AP'] and twice['JI'] < once['JI']


@pytest.mark.parametrize('ignored', [('mask', {}), ('person', dict(ignore=1))])
def test_detections_on_what_is_ignored_do_not_count(ignored, tmp_path):
    """Most of the detection must lie in the region; then all is as if it was not there. Anywhere else it is wrong."""
    tag, extra = ignored
    people = [entry(PERSON), entry((220, 100, 50, 100))]
    entries = [*people, entry((0, 0, 80, 80), tag, **extra)]
    found, inside, outside = [FOUND, (220, 100, 270, 200)], (5, 5, 45, 75), (50, 5, 145, 75)
    without = one_image(tmp_path, people, found)
    assert one_image(tmp_path, entries, found) == pytest.approx(without)
    assert one_image(tmp_path, entries, [inside, *found], [0.95, 0.9, 0.5]) == pytest.approx(without)
    wrong = one_image(tmp_path, entries, [outside, *found], [0.95, 0.9, 0.5])
    assert wrong['AP'] < without['AP'] and wrong['JI'] < without['JI'] and wrong['recall'] == without['recall']


def test_perfect_detections(tmp_path):
    """Everybody found and nothing else: no miss at any rate. AP lacks the first person, where its curve begins."""
    rng = np.random.default_rng(3)
    truth = {f'{n},x': [entry((40 * i, 30 * n, 35, 80)) for i in range(8)] for n in range(5)}
    found = {
        name: detections([(x, y, x + w, y + h) for x, y, w, h in (e['fbox'] for e in entries)], rng.uniform(0.95, 1, 8))
        for name, entries in truth.items()
    }
    values = part(measured(write(tmp_path / 'truth.odgt', truth), found))
    assert values == pytest.approx(dict(AP=1 - 1 / 40, mMR=0, recall=1, JI=1), abs=1e-6)


@pytest.mark.parametrize('boxes', [[], [(0, 0, 30, 30), (5, 5, 40, 40)]])
def test_nothing_that_counts_is_found(boxes, tmp_path):
    """Without a detection, or with some in a region to ignore only: everybody is missed."""
    values = one_image(tmp_path, [entry(PERSON), entry((0, 0, 50, 50), 'mask')], boxes)
    assert values == dict(AP=0, mMR=1, recall=0, JI=0)


@pytest.mark.parametrize('entries', [[], [entry((0, 0, 50, 50), 'mask')]])
@pytest.mark.parametrize('boxes', [[], [(0, 0, 30, 30), (200, 5, 240, 40)]])
def test_without_people_nothing_is_defined(entries, boxes, tmp_path):
    values = one_image(tmp_path, entries, boxes)
    assert set(values) == {'AP', 'mMR', 'recall', 'JI'} and all(map(math.isnan, values.values()))


def test_boxes_are_clipped_to_the_image(tmp_path):
    """A full body that leaves the image is found by a detection of the part within."""
    values = one_image(tmp_path, [entry((-150, 100, 200, 100))], [(0, 100, 50, 200)])
    assert values['recall'] == 1 and values['JI'] == pytest.approx(1, abs=1e-5)


def test_a_byte_order_mark(tmp_path):
    """Metric and dataset read the file as if it had none."""
    path = tmp_path / 'annotation_val.odgt'
    record = dict(ID='1,x', gtboxes=[entry(PERSON)])
    path.write_text(f'{json.dumps(record)}\r\n', encoding='utf-8-sig')
    (tmp_path / 'id_hw_val.json').write_text(json.dumps({'1,x': [HEIGHT, WIDTH]}))
    assert TwoReadingsCrowdHumanMetric(str(path)).truth.keys() == {'1,x'}
    dataset = CrowdHumanDataset(data_root=str(tmp_path), ann_file=path.name, data_prefix=dict(img=''), test_mode=True)
    assert [len(dataset.get_data_info(index)['instances']) for index in range(len(dataset))] == [1]


def test_the_prefix(tmp_path):
    path = write(tmp_path / 'truth.odgt', {'1,x': [entry(PERSON)]})
    metric = TwoReadingsCrowdHumanMetric(path, prefix='val')
    metric.process({}, samples_of({'1,x': detections([FOUND], [0.9])}))
    assert metric.evaluate(size=1)['val/with_nms/recall'] == 1
