"""How many workers load images, and that this is no part of what a run computes."""

import pytest
from mmengine.config import Config

import o2f  # isort: skip  # noqa: F401  (before MMDetection)
from experiments.spec.config import resolve
from experiments.training.datasets import fit_workers


def fitted(cores, use=(), profile='paper', **settings):
    config = Config(resolve(profile, use, settings, 0, 'test').config)
    fit_workers(config, cores)
    return [config[f'{name}_dataloader'] for name in ('train', 'val')]


@pytest.mark.parametrize('cores, workers', [(1, 1), (2, 1), (5, 4), (9, 8), (64, 8)])
@pytest.mark.parametrize('use', [(), ('crowdhuman',), ('condinst', '3x')], ids='+'.join)
def test_the_cores_of_the_process_decide(cores, workers, use):
    for loader in fitted(cores, use):
        assert (loader.num_workers, loader.persistent_workers) == (workers, True)
        assert isinstance(loader.pin_memory, bool)


def test_a_setting_limits_them():
    assert [loader.num_workers for loader in fitted(64, max_workers=3)] == [3, 3]
    mine = {'max_workers': None, 'train_dataloader.num_workers': 5}
    assert [loader.num_workers for loader in fitted(64, **mine)] == [5, 2]


def test_generated_images_are_loaded_by_the_process_itself():
    for loader in fitted(64, profile='desk'):
        assert loader.num_workers == 0 and 'pin_memory' not in loader


def test_a_run_is_the_same_with_any_of_them():
    plain = resolve('paper', (), {}, 0, 'test').id
    for settings in (
        {'max_workers': 2},
        {'max_workers': None},
        {'train_dataloader.num_workers': 6},
        {'train_dataloader.persistent_workers': False},
    ):
        assert resolve('paper', (), settings, 0, 'test').id == plain
