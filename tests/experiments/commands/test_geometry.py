"""The size of objects in cells: by hand on a few boxes, on real COCO images, and what the command says of them."""

import os
from dataclasses import replace

import pytest
import torch
from tiny_datasets import write_tiny_coco

from experiments.commands.geometry import COCO, advice, setting_of
from experiments.data.geometry import Image, Levels, measure, read_images
from experiments.run import main
from experiments.spec.config import resolve
from experiments.store.errors import UserError

PAPER = Levels((8, 16, 32, 64, 128), ((-1, 64), (64, 128), (128, 256), (256, 512), (512, 1e8)))


def image(*boxes, labels=None, size=(96, 96)):
    labels = torch.tensor(labels or [0] * len(boxes), dtype=torch.int64)
    return Image(size, torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), labels)


def test_a_box_counted_by_hand():
    # 32 x 32 round (32, 32). Of stride 8 the points at 28 and 36 are within 12 of the middle, those at 20 and 44 not
    # strictly. Of stride 16 it is 24 and 40. Of stride 32 none, as 16 and 48 are edges.
    found = measure([image((16, 16, 48, 48))], Levels((8, 16, 32), ((-1, 24), (24, 64), (64, 1e8))))
    assert found.objects == 1 and found.candidates == 4 + 4
    assert found.fewer == {4: 0, 7: 0, 13: 1}
    assert found.anchors == {3: 3, 5: 5, 7: 7, 9: 8, 11: 8, 13: 8}
    # The farthest edge is 20 pixels from the points of stride 8, and 24 from those of stride 16: both in their ranges.
    assert found.positives == 8
    assert found.levels == (1.0, 0.0, 0.0)  # as many on each: the first
    assert found.cells == (4.0, 4.0, 4.0)
    assert found.second_centerness == pytest.approx(1.0)  # four points are equally far from the middle


def test_overlaps_are_of_one_class_and_of_one_image():
    same = measure([image((0, 0, 40, 40), (0, 0, 40, 32))], PAPER)
    assert (same.overlap_30, same.overlap_50) == (1.0, 1.0)
    third = measure([image((0, 0, 40, 40), (0, 0, 40, 16))], PAPER)
    assert (third.overlap_30, third.overlap_50) == (1.0, 0.0)
    other = measure([image((0, 0, 40, 40), (0, 0, 40, 32), labels=[0, 1])], PAPER)
    assert other.overlap_30 == 0.0
    apart = measure([image((0, 0, 40, 40)), image((0, 0, 40, 40)), image()], PAPER)
    assert apart.overlap_30 == 0.0 and apart.images == 3 and apart.objects == 2


def test_coco_is_as_the_command_says(coco_tiny):
    images = [
        image
        for split in ('train', 'val')
        for image in read_images(
            dict(
                type='CocoDataset',
                data_root=str(coco_tiny),
                ann_file=f'annotations/instances_{split}2017.json',
                data_prefix=dict(img=f'{split}2017/'),
            ),
            (1333, 800),
        )
    ]
    found = measure(images, PAPER)
    assert (found.images, found.objects) == (COCO.images, COCO.objects)
    assert found.candidates == pytest.approx(COCO.candidates, abs=0.006)
    assert found.anchors == pytest.approx(COCO.anchors, abs=0.006)
    assert found.positives == pytest.approx(COCO.positives, abs=0.006)
    assert found.cells == pytest.approx(COCO.cells, abs=0.006)
    assert found.levels == pytest.approx(COCO.levels, abs=0.0006)
    assert found.fewer == pytest.approx(COCO.fewer, abs=0.0006)
    shares = found.second_centerness, found.overlap_30, found.overlap_50
    assert shares == pytest.approx((COCO.second_centerness, COCO.overlap_30, COCO.overlap_50), abs=0.0006)


def test_the_command_on_real_images(coco_tiny, tmp_path, capfd):
    (tmp_path / 'coco').symlink_to(coco_tiny)
    assert main(['geometry', '--profile', 'paper', '--data', str(tmp_path)]) == 0
    shown = capfd.readouterr().out
    assert 'strides 8, 16, 32, 64, 128' in shown and '| candidates in Ω per object |' in shown
    assert 'The strides fit the objects' in shown


def test_equal_data_and_levels_are_measured_once(tmp_path, capfd):
    write_tiny_coco(tmp_path / 'coco')
    assert main(['geometry', 'table1', 'table2', 'table5', '--profile', 'paper', '--data', str(tmp_path)]) == 0
    assert capfd.readouterr().out.count('| candidates in Ω') == 1


@pytest.mark.slow
def test_generated_scenes_need_no_backbone(suite):
    poor = {**os.environ, 'PYTHONIOENCODING': 'ascii', 'PYTHONUTF8': '0'}  # a terminal without Ω
    done = suite.run('geometry', '--profile', 'smoke', check=0, env=poor)
    assert '16 images' in done.stdout
    assert not list((suite.data / 'desk').glob('.backbone.building')) and 'backbone' not in done.stderr


def test_ranges_of_the_run_come_first():
    ranges = [[-1, 16], [16, 32], [32, 64], [64, 128], [128, 1e8]]
    run = resolve('paper', ['fcos'], {'model.bbox_head.regress_ranges': ranges}, 0, 'test')
    assert setting_of(run, {}).levels.ranges[0] == (-1.0, 16.0)
    assert setting_of(resolve('paper', [], {}, 0, 'test'), {}).levels == PAPER


def test_ranges_that_do_not_fit_the_strides_are_named():
    run = resolve('paper', [], {'model.bbox_head.strides': [4, 8]}, 0, 'test')
    with pytest.raises(UserError, match='2 strides, but FCOS 5 regress_ranges'):
        setting_of(run, {})


def test_words_when_strides_do_not_fit():
    assert advice(COCO, PAPER) == [
        'The strides fit the objects: an assignment has about as much to choose from as on COCO.'
    ]
    small = replace(COCO, candidates=10.3, fewer={4: 0.02, 7: 0.29, 13: 0.7}, cells=(1.9, 3.0, 5.3))
    [sentence] = advice(small, PAPER)
    assert 'too small for the strides: 10.3 candidates' in sentence and 'A level of stride 4' in sentence
    assert '29 %' in sentence and '3.0 cells per side' in sentence
    assert 'large for the strides' in advice(replace(COCO, cells=(9, 14, 30)), PAPER)[0]
    assert '94 % of the objects fall on one of FCOS' in advice(replace(COCO, levels=(0.06, 0.94, 0, 0, 0)), PAPER)[0]


def test_images_without_objects_cannot_be_measured():
    with pytest.raises(ValueError, match='no image has an object'):
        measure([image()], PAPER)
