from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from experiments.data.synthetic.scenes import SceneSpec, draw_scene
from experiments.data.synthetic.shapes import NAMES


@pytest.fixture(scope='module')
def spec():
    return SceneSpec(seed=1)


@pytest.fixture(scope='module')
def scenes(spec):
    return [draw_scene(spec, 'train', index) for index in range(60)]


def iou(a, b):
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    inter = max(width, 0) * max(height, 0)
    return inter / (a[2] * a[3] + b[2] * b[3] - inter)


def test_an_image_depends_on_its_own_place_only(spec, scenes):
    again = draw_scene(replace(spec, train=7, val=7), 'train', 11)
    assert np.array_equal(again.image, scenes[11].image)
    assert [i.box for i in again.instances] == [i.box for i in scenes[11].instances]


@pytest.mark.parametrize('other', [{'seed': 2}, {'version': 'x'}])
def test_seed_and_version_change_every_image(spec, scenes, other):
    assert not np.array_equal(draw_scene(replace(spec, **other), 'train', 0).image, scenes[0].image)


def test_splits_share_no_image(spec, scenes):
    train = {scene.image.tobytes() for scene in scenes}
    val = {draw_scene(spec, 'val', index).image.tobytes() for index in range(60)}
    assert len(train) == len(val) == 60 and not train & val


def test_unknown_split(spec):
    with pytest.raises(ValueError, match="'test'"):
        draw_scene(spec, 'test', 0)


def test_instances_keep_what_the_spec_promises(spec, scenes):
    for scene in scenes:
        assert scene.image.shape == (spec.size, spec.size, 3) and scene.image.dtype == np.uint8
        assert 1 <= len(scene.instances) <= spec.objects[1]
        for instance in scene.instances:
            x, y, width, height = instance.box
            rows, columns = np.nonzero(instance.mask)
            assert (x, y, x + width, y + height) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert 0 <= x and 0 <= y and x + width <= spec.size and y + height <= spec.size
            assert instance.mask.sum() >= spec.least and width >= 3 and height >= 3
            left, top, full_width, full_height = instance.full_box
            assert left <= x and top <= y and left + full_width >= x + width and top + full_height >= y + height
        for a, b in combinations(scene.instances, 2):
            assert not (a.mask & b.mask).any()


def test_all_categories_sizes_and_counts_occur(spec, scenes):
    instances = [instance for scene in scenes for instance in scene.instances]
    assert {instance.category for instance in instances} == set(range(1, len(NAMES) + 1))
    longest = np.array([max(instance.full_box[2:]) for instance in instances])
    assert (longest < 24).mean() > 0.2 and (longest > 44).mean() > 0.15
    counts = {len(scene.instances) for scene in scenes}
    assert min(counts) <= 3 and max(counts) >= 6


def test_objects_occlude_each_other(scenes):
    """Boxes overlap often, sometimes by more than NMS would forgive, and full boxes are cut by what lies above."""
    best, cut = [], []
    for scene in scenes:
        for one in scene.instances:
            best.append(max((iou(one.box, other.box) for other in scene.instances if other is not one), default=0))
            cut.append(one.box[2] * one.box[3] < 0.9 * one.full_box[2] * one.full_box[3])
    assert np.mean(np.array(best) > 0.1) > 0.5
    assert np.mean(np.array(best) > 0.5) > 0.01
    assert np.mean(cut) > 0.2


def test_neighbours_are_often_of_one_kind(scenes):
    pairs = [pair for scene in scenes for pair in combinations(scene.instances, 2)]
    same = [a.category == b.category for a, b in pairs if iou(a.box, b.box) > 0.1]
    assert len(same) > 50 and np.mean(same) > 0.35


def test_colour_does_not_tell_the_class(scenes):
    """A class's mean colour stays within what chance allows around the mean over all objects."""
    colours, kinds = [], []
    for scene in scenes:
        for instance in scene.instances:
            colours.append(scene.image[instance.mask].mean(0))
            kinds.append(instance.category)
    colours, kinds = np.array(colours), np.array(kinds)
    for kind in set(kinds.tolist()):
        group = colours[kinds == kind]
        error = colours.std(0) / np.sqrt(len(group))
        assert (np.abs(group.mean(0) - colours.mean(0)) < 4.5 * error).all()
