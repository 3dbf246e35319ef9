"""Augmentations that depend on the seed, the epoch and the image alone."""

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch.utils.data import Dataset

import o2f  # isort: skip  # noqa: F401  (answers for mmcv's compiled operations, so it comes before MMDetection)
from mmdet.registry import DATASETS  # isort: skip


@DATASETS.register_module()
class Noise(Dataset):
    """The number of each sample, and one from each generator."""

    metainfo = dict(classes=('a',))

    def full_init(self):
        """Nothing to read."""

    def __len__(self):
        return 12

    def __getitem__(self, index):
        import random

        return index, random.random(), np.random.random(), torch.rand(()).item()


def loader_of(workers, batch=2, persistent=True, seed=0):
    init_default_scope('mmdet')
    config = dict(
        dataset=dict(type='SeededSamples', dataset=dict(type='Noise'), seed=seed),
        sampler=dict(type='DefaultSampler', shuffle=True),
        batch_size=batch,
        num_workers=workers,
        persistent_workers=persistent and workers > 0,
        collate_fn=list,
    )
    return Runner.build_dataloader(config, seed=seed)


def drawn(loader, epochs):
    """What each of the epochs gives, by sample."""
    found = []
    for epoch in epochs:
        loader.dataset.set_epoch(epoch)
        found.append({sample[0]: sample[1:] for batch in loader for sample in batch})
    return found


@pytest.fixture(scope='module')
def epochs():
    import experiments.training.datasets  # noqa: F401  (registers the dataset)

    return drawn(loader_of(2), range(3))


def test_each_sample_of_each_epoch_differs(epochs):
    values = [value for epoch in epochs for sample in epoch.values() for value in sample]
    assert len(values) == 3 * 12 * 3 == len(set(values))


@pytest.mark.parametrize(
    'settings', [dict(workers=1), dict(workers=3), dict(workers=2, batch=5), dict(workers=2, persistent=False)]
)
def test_who_makes_them_does_not_matter(epochs, settings):
    assert drawn(loader_of(**settings), range(3)) == epochs


def test_a_loader_that_begins_later_goes_on_alike(epochs):
    assert drawn(loader_of(2), [2]) == epochs[2:]


def test_another_seed_gives_others(epochs):
    assert not set(drawn(loader_of(2, seed=1), [0])[0].values()) & set(epochs[0].values())
