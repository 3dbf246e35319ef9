"""Real COCO files: what is in them that generated ones lack, and that it comes through loading and evaluation."""

import json
from functools import lru_cache

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import o2f  # isort: skip  # noqa: F401  (before MMDetection)
from mmdet.registry import DATASETS, METRICS  # isort: skip
from mmdet.structures import DetDataSample  # isort: skip
from mmengine.structures import InstanceData

from experiments.commands.doctor.checks import FAILS
from experiments.commands.doctor.data import data as checked
from experiments.spec.config import resolve
from experiments.spec.paths import substitute_paths
from o2f.models.condinst import mask_centroids, semantic_target

SPLITS = ('train', 'val')
#: Image ids. Both splits have more crowds; the box is of 2.12 x 7.3 pixels.
GRAY = {'train': [114692, 204805], 'val': [566282]}
CROWDS = {
    'train': [204805, 262145, 262148, 314370, 581632],
    'val': [5001, 166918, 173057, 184324, 277005, 338304, 357888, 376322, 491008, 520707, 560256],
}
SMALLEST = ('train', 344067)
SMALL = (267, 160)  # long and short side; the smallest box is under a pixel then


@lru_cache(maxsize=None)
def _annotations(folder, split):
    return json.loads((folder / 'annotations' / f'instances_{split}2017.json').read_text())


def of_image(content, image_id):
    return [entry for entry in content['annotations'] if entry['image_id'] == image_id]


@pytest.fixture(scope='module')
def dataset(coco_tiny):
    """dataset(split): the training pipeline of the paper's CondInst at a reduced size, every image, never flipped."""
    init_default_scope('mmdet')

    @lru_cache(maxsize=None)
    def build(split):
        settings = _resolved(coco_tiny)['train_dataloader']['dataset']
        settings.update(ann_file=f'annotations/instances_{split}2017.json', data_prefix=dict(img=f'{split}2017/'))
        settings['pipeline'][2]['scale'], settings['pipeline'][3]['prob'] = SMALL, 0.0
        return DATASETS.build(settings)

    return build


def _resolved(coco_tiny):
    config = resolve('paper', ['condinst'], {}, 0, 'test').config
    return json.loads(json.dumps(substitute_paths(config, dict(DATA='.'))).replace('./coco/', f'{coco_tiny}/'))


@pytest.mark.parametrize('split', SPLITS)
def test_what_is_in_them(coco_tiny, split):
    """Grayscale images, crowds as run-length codes, polygons of four points, and boxes of two to four pixels. No image
    is without an object, and no box leaves its image."""
    content = _annotations(coco_tiny, split)
    gray = []
    for image in content['images']:
        pixels = cv2.imread(str(coco_tiny / f'{split}2017' / image['file_name']), cv2.IMREAD_UNCHANGED)
        assert pixels.shape == (image['height'], image['width'], 3)
        if (pixels == pixels[..., :1]).all():
            gray.append(image['id'])
    assert sorted(gray) == GRAY[split]
    crowds = [entry for entry in content['annotations'] if entry['iscrowd']]
    assert sorted({entry['image_id'] for entry in crowds}) == CROWDS[split]
    assert all(isinstance(entry['segmentation']['counts'], list) for entry in crowds)
    plain = [entry for entry in content['annotations'] if not entry['iscrowd']]
    assert min(len(polygon) for entry in plain for polygon in entry['segmentation']) == 8
    assert {entry['image_id'] for entry in plain} == {image['id'] for image in content['images']}
    assert 2 < min(min(entry['bbox'][2:]) for entry in plain) < 4
    assert {entry['category_id'] for entry in plain} == {category['id'] for category in content['categories']}


def test_the_doctor_finds_nothing_that_would_make_a_run_fail(coco_tiny, tmp_path):
    """It says that they are not all of COCO."""
    (tmp_path / 'coco').symlink_to(coco_tiny)
    configs = [resolve('paper', use, {}, 0, 'test').config for use in ((), ('fcos', '3x'), ('condinst',))]
    found = list(checked(configs, tmp_path))
    assert not [check.says for check in found if check.state == FAILS]
    # Both files are looked at twice, as CondInst needs their masks too.
    assert sum('results will be of other data' in check.says for check in found) == 4
    assert sum('80 images are there; 64 of them were decoded' in check.says for check in found) == 4


@pytest.mark.parametrize('split', SPLITS)
def test_every_image_comes_through_the_paper_pipeline(coco_tiny, dataset, split):
    """Crowds are apart from the instances, each mask is the one of pycocotools resized, and gray stays gray."""
    content, coco = _annotations(coco_tiny, split), COCO(str(coco_tiny / 'annotations' / f'instances_{split}2017.json'))
    assert len(dataset(split)) == 80
    for item in dataset(split):
        sample = item['data_samples']
        entries = of_image(content, sample.img_id)
        truth, ignored = sample.gt_instances, sample.ignored_instances
        plain = [entry for entry in entries if not entry['iscrowd']]
        assert (len(truth), len(ignored)) == (len(plain), len(entries) - len(plain))
        assert (len(ignored) > 0) == (sample.img_id in CROWDS[split])
        height, width = sample.img_shape
        assert item['inputs'].shape == (3, height, width) and max(width, height) <= 267
        boxes = truth.bboxes.tensor
        assert boxes.min() >= 0 and (boxes <= torch.tensor([width, height, width, height])).all()
        assert truth.masks.masks.shape == (len(plain), height, width)
        first = cv2.resize(coco.annToMask(plain[0]), (width, height), interpolation=cv2.INTER_NEAREST)
        assert np.array_equal(first, truth.masks.masks[0])
        if sample.img_id in GRAY[split]:
            assert (item['inputs'] == item['inputs'][:1]).all()


def test_a_box_under_a_pixel_has_a_mask_or_none(dataset):
    """The smallest box of all is 0.8 pixels wide here. Its centroid is in or beside the box all the same."""
    split, image_id = SMALLEST
    [item] = [item for item in dataset(split) if item['data_samples'].img_id == image_id]
    truth = item['data_samples'].gt_instances
    truth.bboxes = truth.bboxes.tensor
    sides = (truth.bboxes[:, 2:] - truth.bboxes[:, :2]).amin(dim=1)
    assert sides.min() < 1
    centres = mask_centroids(truth, torch.device('cpu'))
    low, high = truth.bboxes[:, :2] - 1, truth.bboxes[:, 2:] + 1
    assert ((centres >= low) & (centres <= high)).all()


def test_centroids_and_classes_of_all_masks(dataset):
    """Every mask's centroid lies in its box, which is true of its mean; the semantic targets are classes of the
    image."""
    for item in dataset('val'):
        truth = item['data_samples'].gt_instances
        truth.bboxes = getattr(truth.bboxes, 'tensor', truth.bboxes)
        centres = mask_centroids(truth, torch.device('cpu'))
        assert ((centres >= truth.bboxes[:, :2] - 1) & (centres <= truth.bboxes[:, 2:] + 1)).all()
        height, width = (-(-side // 32) * 32 for side in item['data_samples'].img_shape)
        padded = InstanceData(labels=truth.labels, masks=truth.masks.pad((height, width)))
        target = semantic_target(padded, 80, 8)
        assert target.shape == (height // 8, width // 8)
        assert set(target.flatten().tolist()) <= {80, *truth.labels.tolist()}


def test_metrics_are_those_of_pycocotools(coco_tiny, tmp_path):
    """On shifted copies of all objects, crowds included: a detection in a crowd counts as nothing."""
    path = coco_tiny / 'annotations' / 'instances_val2017.json'
    content, names = _annotations(coco_tiny, 'val'), _names(coco_tiny)
    random = np.random.default_rng(0)
    ids = {category['name']: category['id'] for category in content['categories']}
    label = {ids[name]: index for index, name in enumerate(names)}
    samples, results = [], []
    for image in content['images']:
        entries = of_image(content, image['id'])
        boxes = np.array([entry['bbox'] for entry in entries])
        boxes = boxes + random.normal(0, 0.08, boxes.shape) * boxes[:, [2, 3, 2, 3]]
        scores = random.random(len(entries))
        found = InstanceData(
            bboxes=torch.tensor(np.hstack((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]))),
            scores=torch.tensor(scores),
            labels=torch.tensor([label[entry['category_id']] for entry in entries]),
        )
        sample = DetDataSample(metainfo=dict(img_id=image['id']))
        sample.pred_instances, sample.pred_instances_nms = found, found
        samples.append(sample.to_dict())
        results += [
            dict(image_id=image['id'], category_id=entry['category_id'], bbox=box, score=score)
            for entry, box, score in zip(entries, boxes.tolist(), scores.tolist())
        ]
    metric = METRICS.build(dict(type='TwoReadingsMetric', ann_file=str(path)))
    metric.dataset_meta = dict(classes=names)
    metric.process({}, samples)
    measured = metric.evaluate(size=len(samples))
    (tmp_path / 'results.json').write_text(json.dumps(results))
    truth = COCO(str(path))
    evaluation = COCOeval(truth, truth.loadRes(str(tmp_path / 'results.json')), 'bbox')
    evaluation.evaluate(), evaluation.accumulate(), evaluation.summarize()
    for name, place in dict(AP=0, AP50=1, AP75=2, APs=3, APm=4, APl=5, AR=8).items():
        assert measured[f'without_nms/{name}'] == pytest.approx(evaluation.stats[place], abs=1e-6), name
    assert 0.3 < measured['without_nms/AP'] < 0.99


def _names(coco_tiny):
    from mmdet.datasets import CocoDataset

    names = CocoDataset.METAINFO['classes']
    assert set(names) == {category['name'] for category in _annotations(coco_tiny, 'val')['categories']}
    return names
