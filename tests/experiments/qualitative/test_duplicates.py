"""Duplicates are marked as defined: checked by hand, and against a slow and simple computation."""

import numpy as np
import pytest

from experiments.qualitative.duplicates import BEST, DUPLICATE, IGNORED, WRONG, judge
from experiments.store.qualitative import Shapes


def truth(boxes, labels=None, ignored=None, masks=None):
    count = len(boxes)
    return Shapes(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(labels or [0] * count, np.int32),
        masks,
        ignored=np.array(ignored or [False] * count, bool),
    )


def found(boxes, scores, labels=None, masks=None):
    labels = np.array(labels or [0] * len(boxes), np.int32)
    return Shapes(np.array(boxes, np.float32).reshape(-1, 4), labels, masks, np.array(scores, np.float32))


def test_by_hand():
    objects = truth([[0, 0, 10, 10], [20, 0, 30, 10], [50, 50, 90, 90]], [0, 1, 0], [False, False, True])
    boxes = [[0, 0, 10, 9], [0, 0, 10, 10], [20, 0, 30, 10], [0, 0, 4, 10], [60, 60, 70, 70], [20, 0, 30, 6]]
    kind, of = judge(found(boxes, [0.9, 0.8, 0.7, 0.6, 0.5, 0.4], [0, 0, 0, 0, 0, 1]), objects)
    # The second fits the first object better but comes later; the third has the wrong class; the fourth an IoU of 0.4.
    assert list(kind) == [BEST, DUPLICATE, WRONG, WRONG, IGNORED, BEST]
    assert list(of) == [0, 0, -1, -1, -1, 1]


def test_two_close_objects_of_a_class_take_one_detection_each():
    objects = truth([[0, 0, 10, 10], [3, 0, 13, 10]])
    kind, of = judge(found([[1, 0, 11, 10], [1, 0, 11, 10], [1, 0, 11, 10]], [0.9, 0.8, 0.7]), objects)
    assert list(kind) == [BEST, BEST, DUPLICATE] and sorted(of[:2]) == [0, 1]


def test_masks_decide_where_there_are_masks():
    """One box, two halves: by boxes the second would be a duplicate."""
    left, right = np.zeros((2, 10, 10), bool)
    left[:, :5], right[:, 5:] = True, True
    box = [0, 0, 10, 10]
    drawn = found([box, box], [0.9, 0.8], masks=np.stack([left, right]))
    assert list(judge(drawn, truth([box], masks=left[None]))[0]) == [BEST, WRONG]
    assert list(judge(found([box, box], [0.9, 0.8]), truth([box]))[0]) == [BEST, DUPLICATE]


@pytest.mark.parametrize('boxes, objects', [([], [[0, 0, 1, 1]]), ([[0, 0, 1, 1]], []), ([], [])])
def test_nothing_found_or_nothing_there(boxes, objects):
    kind, of = judge(found(boxes, [0.5] * len(boxes)), truth(objects))
    assert list(kind) == [WRONG] * len(boxes) and list(of) == [-1] * len(boxes)


def plain_judge(boxes, scores, labels, objects, classes):
    """The definition, word by word, in plain Python."""

    def iou(a, b):
        width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
        shared = max(width, 0) * max(height, 0)
        return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)

    kinds, taken = {}, set()
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        near = {j: iou(boxes[i], objects[j]) for j in range(len(objects)) if classes[j] == labels[i]}
        near = {j: value for j, value in near.items() if value >= 0.5}
        free = {j: value for j, value in near.items() if j not in taken}
        if free:
            taken.add(max(free, key=free.get))
        kinds[i] = BEST if free else DUPLICATE if near else WRONG
    return [kinds[i] for i in range(len(boxes))]


@pytest.mark.parametrize('seed', range(20))
def test_against_the_definition_word_by_word(seed):
    random = np.random.default_rng(seed)
    corners = random.uniform(0, 60, (8, 2))
    objects = np.hstack([corners, corners + random.uniform(10, 40, (8, 2))])
    classes = random.integers(0, 2, 8)
    which = random.integers(0, 8, 40)
    boxes = objects[which] + random.normal(0, 4, (40, 4))
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    scores, labels = random.permutation(40) / 40, np.where(random.random(40) < 0.8, classes[which], 1 - classes[which])
    kind, _ = judge(found(boxes, scores, list(labels)), truth(objects, list(classes)))
    expected = plain_judge(*(x.astype(np.float32).tolist() for x in (boxes, scores)), labels, objects, classes)
    assert list(kind) == expected and {BEST, DUPLICATE, WRONG} == set(kind)
