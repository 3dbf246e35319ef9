"""Duplicates per object and the score margin, counted by hand and beside plain loops."""

import math

import numpy as np
import pytest

from o2f.evaluation.duplicates import ImageBoxes, duplicate_metrics


def boxes(*rows):
    """Rows x, y, width, height, class, score."""
    table = np.array(rows, float).reshape(-1, 6)
    return ImageBoxes(table[:, :4], table[:, 4].astype(int), table[:, 5])


A, B, C = (0, 0, 10, 10, 1, 1), (50, 0, 10, 10, 1, 1), (0, 50, 10, 10, 2, 1)


def moved(box, score, by=0, label=None):
    return (box[0] + by, *box[1:4], box[4] if label is None else label, score)


def test_duplicates_down_to_the_score_where_half_are_found():
    truth = [boxes(A, B), boxes(A, C)]
    found = [
        boxes(moved(A, 0.9), moved(A, 0.8, by=1), moved(A, 0.7, by=2), moved(B, 0.3)),
        boxes(moved(C, 0.6), moved(C, 0.5, by=1), moved(A, 0.55, label=2)),
    ]
    measured = duplicate_metrics(found, truth)
    assert measured['duplicates'] == 2 / 2  # two of four are found at 0.6; before it A has two more
    # Margins of the three found: 0.8 / 0.9, 0 (no second), 0.5 / 0.6.
    assert measured['score_margin'] == pytest.approx(0.5 / 0.6)


def test_other_classes_and_far_boxes_are_nobodys():
    measured = duplicate_metrics([boxes(moved(A, 0.9), moved(A, 0.8, label=2), moved(A, 0.7, by=6))], [boxes(A)])
    assert measured == dict(duplicates=0.0, score_margin=0.0)


def test_a_box_on_two_objects_is_of_the_one_it_overlaps_most():
    other = moved(A, 1, by=3)
    measured = duplicate_metrics([boxes(moved(A, 0.9), moved(A, 0.6, by=2))], [boxes(A, other)])
    assert measured['duplicates'] == 0.0 and measured['score_margin'] == 0.0


@pytest.mark.parametrize('found', [boxes(), boxes(moved(A, 0.9))])
def test_nothing_to_say_is_nan(found):
    measured = duplicate_metrics([found], [boxes(B, C, A)])
    assert math.isnan(measured['duplicates'])
    assert math.isnan(measured['score_margin']) == (not len(found.boxes))
    assert all(math.isnan(value) for value in duplicate_metrics([found], [boxes()]).values())


def by_loops(found, truth):
    """The same, detection by detection."""
    entries = []
    for image, (detections, objects) in enumerate(zip(found, truth)):
        for box, label, score in zip(*detections):
            best, owner = 0.5, None
            for number, (other, other_label, _) in enumerate(zip(*objects)):
                width = min(box[0] + box[2], other[0] + other[2]) - max(box[0], other[0])
                height = min(box[1] + box[3], other[1] + other[3]) - max(box[1], other[1])
                overlap = max(width, 0) * max(height, 0)
                iou = overlap / (box[2] * box[3] + other[2] * other[3] - overlap)
                if label == other_label and iou >= best and (owner is None or iou > best):
                    best, owner = iou, (image, number)
            if owner:
                entries.append((-score, owner))
    total = sum(len(objects.boxes) for objects in truth)
    seen, extra, duplicates = {}, 0, math.nan
    for score, owner in sorted(entries, key=lambda entry: entry[0]):
        extra += owner in seen
        seen.setdefault(owner, []).append(-score)
        if math.isnan(duplicates) and len(seen) >= total / 2:
            duplicates = extra / len(seen)
    margins = [scores[1] / scores[0] if scores[1:] else 0 for scores in seen.values()]
    return dict(duplicates=duplicates, score_margin=float(np.median(margins)))


def test_beside_plain_loops():
    rng = np.random.default_rng(0)
    truth, found = [], []
    for _ in range(30):
        objects = np.column_stack(
            (rng.uniform(0, 60, (5, 2)), rng.uniform(10, 30, (5, 2)), rng.integers(1, 3, 5), np.ones(5))
        )
        copies = objects[rng.integers(0, 5, 12)] + np.pad(rng.normal(0, 1.5, (12, 4)), ((0, 0), (0, 2)))
        copies[:, 5] = rng.uniform(0, 1, 12)
        truth.append(boxes(*objects))
        found.append(boxes(*copies))
    assert duplicate_metrics(found, truth) == pytest.approx(by_loops(found, truth))
