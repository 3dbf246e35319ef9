"""Samples that are kept in memory train as samples that are made anew."""

import copy

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner, set_random_seed
from tiny_datasets import write_tiny_coco

import o2f  # isort: skip  # noqa: F401  (answers for mmcv's compiled operations, so it comes before MMDetection)
from mmdet.registry import DATASETS, MODELS  # isort: skip

from experiments.data.prepare import prepare
from experiments.spec.config import resolve
from experiments.spec.paths import data_paths, generated, substitute_paths
from experiments.training.datasets import KeptSamples, keep_samples


def config_of(use, data):
    """A smoke config with the data that it needs."""
    config = resolve('smoke', use, {}, 0, 'test').config
    makes = {key: config['generate'][key] for key in config['generate'] if key != 'backbone'}
    assert set(makes) <= set(map(str.lower, generated(config)))
    prepare([config], data, lambda *_: None, lambda function, *args: function(*args))
    config = Config(substitute_paths(copy.deepcopy(config), data_paths(config, data)))
    init_default_scope(config.default_scope)
    return config


def drawn(dataset, epochs, seed):
    """What ``epochs`` epochs of a dataset give."""
    set_random_seed(seed)
    return [dataset[index] for _ in range(epochs) for index in range(len(dataset))]


def same(sample, other):
    """Whether two samples hold the same image, annotations and descriptions."""
    truth, others = (each['data_samples'].gt_instances for each in (sample, other))
    described = [
        {key: np.asarray(value).tolist() for key, value in each['data_samples'].metainfo_items()}
        for each in (sample, other)
    ]
    return (
        torch.equal(sample['inputs'], other['inputs'])
        and torch.equal(truth.bboxes.tensor, others.bboxes.tensor)
        and torch.equal(truth.labels, others.labels)
        and described[0] == described[1]
    )


@pytest.mark.parametrize(
    ('use', 'split', 'is_kept'),
    [((), 'train', True), ((), 'val', True), (('3x',), 'train', False), (('3x',), 'val', True)],
)
def test_the_same_samples_in_the_same_order(data, use, split, is_kept):
    """Also where an epoch is the first one of a process that resumes, so that nothing was kept before it."""
    config = config_of(use, data)[f'{split}_dataloader'].dataset
    kept, plain = KeptSamples(config), DATASETS.build(config)
    assert kept.is_kept == is_kept and len(kept) == len(plain) and kept.metainfo == plain.metainfo
    for seed in (3, 4):
        assert all(map(same, drawn(kept, 3, seed), drawn(plain, 3, seed)))
    resumed = KeptSamples(config)
    assert all(map(same, drawn(resumed, 1, 4), drawn(plain, 1, 4)))
    if not is_kept:
        assert not kept.samples
    elif split == 'val':
        assert len(kept.samples) == len(plain)
    else:  # most of them on both sides
        assert len(plain) < len(kept.samples) <= 2 * len(plain)


def test_each_sample_is_made_once(data, monkeypatch):
    config = config_of((), data).val_dataloader.dataset
    kept = KeptSamples(config)
    first = kept[0]
    monkeypatch.setattr(kept.dataset, 'prepare_data', lambda index: pytest.fail('made again'))
    assert kept[0] is first


@pytest.mark.parametrize('use', [(), ('fcos',), ('poto', '3dmf', 'aux-atss'), ('condinst',), ('crowdhuman',)])
def test_training_and_evaluating_leave_them_as_they_are(data, use):
    """A step and a prediction on samples that are handed out again must not change them.

    What the preprocessor writes to those of a training step is the same each time it does.
    """
    config = config_of(use, data)
    keep_samples(config)
    config.model.backbone.init_cfg = None
    model = MODELS.build(config.model)
    for name, mode in (('train_dataloader', 'loss'), ('val_dataloader', 'predict')):
        loader = Runner.build_dataloader(config[name], seed=0)
        assert isinstance(loader.dataset, KeptSamples)
        batch = next(iter(loader))
        if mode == 'loss':
            model.data_preprocessor(copy.copy(batch), True)
        before = copy.deepcopy(batch)
        model(**model.data_preprocessor(copy.copy(batch), mode == 'loss'), mode=mode)
        for sample, other in zip(batch['data_samples'], before['data_samples']):
            assert set(sample.keys()) == set(other.keys()) and set(sample.metainfo_keys()) == set(other.metainfo_keys())
            truth, others = sample.gt_instances, other.gt_instances
            assert torch.equal(boxes_of(truth), boxes_of(others))
            assert torch.equal(truth.labels, others.labels)
            if 'masks' in others:
                assert np.array_equal(truth.masks.to_ndarray(), others.masks.to_ndarray())
        assert all(map(torch.equal, batch['inputs'], before['inputs']))


def boxes_of(instances):
    return getattr(instances.bboxes, 'tensor', instances.bboxes)


@pytest.mark.parametrize('use', [(), ('condinst',), ('crowdhuman',)])
@pytest.mark.parametrize('training', [True, False])
def test_batches_are_those_of_mmdetection(data, use, training):
    """Pixels to the last bit, boxes, labels and what the head is told of the sizes."""
    config = config_of(use, data)
    plain = copy.deepcopy(config)
    keep_samples(config)
    batches = []
    for each in (plain, config):
        preprocessor = MODELS.build(each.model.data_preprocessor)
        loader = each.train_dataloader if training else each.val_dataloader
        set_random_seed(0)
        batches.append([preprocessor(batch, training) for batch in Runner.build_dataloader(loader, seed=0)])
    for there, here in zip(*batches):
        assert torch.equal(there['inputs'], here['inputs'])
        for one, other in zip(there['data_samples'], here['data_samples']):
            assert one.batch_input_shape == other.batch_input_shape and one.pad_shape == other.pad_shape
            assert torch.equal(one.gt_instances.bboxes, other.gt_instances.bboxes)
            assert torch.equal(one.gt_instances.labels, other.gt_instances.labels)


def test_loaders_with_workers_are_left_alone():
    loader = dict(num_workers=2, dataset=dict(type='CocoDataset'))
    model = dict(data_preprocessor=dict(type='DetDataPreprocessor'))
    loaders = dict(train_dataloader=loader, val_dataloader=dict(loader, num_workers=0))
    config = Config(dict(loaders, model=model, generate=dict(scenes=dict(train=1))))
    keep_samples(config)
    assert config.train_dataloader.dataset.type == 'CocoDataset'
    assert config.val_dataloader.dataset.type == 'KeptSamples'


def test_photographs_without_workers(tmp_path):
    """As one asks with --set where shared memory is small: the loader works, and keeps no photograph in memory."""
    write_tiny_coco(tmp_path / 'coco')
    settings = {'train_dataloader.num_workers': 0, 'val_dataloader.num_workers': 0, 'train_dataloader.batch_size': 1}
    config = resolve('paper', (), settings, 0, 'test').config
    config = Config(substitute_paths(config, data_paths(config, tmp_path)))
    init_default_scope(config.default_scope)
    keep_samples(config)
    loader = Runner.build_dataloader(config.train_dataloader)
    assert len(list(loader)) == 2 and not isinstance(loader.dataset, KeptSamples)


def test_kept_samples_tell_sizes_to_samplers(data):
    kept = KeptSamples(config_of((), data).train_dataloader.dataset)
    assert kept.get_data_info(0)['width'] == kept.dataset.get_data_info(0)['width']
