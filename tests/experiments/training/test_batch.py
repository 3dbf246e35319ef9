"""A run's batch over several processes."""

import pytest

from experiments.training.batch import apply_batch_split, split_batch


def config_of(batch, enable):
    return dict(train_dataloader=dict(batch_size=batch), auto_scale_lr=dict(enable=enable, base_batch_size=16))


@pytest.mark.parametrize('enable', [True, False])
@pytest.mark.parametrize('processes, each', [(1, 16), (2, 8), (4, 4), (8, 2), (16, 1)])
def test_a_batch_that_divides_stays_what_it_is(enable, processes, each):
    config = config_of(16, enable)
    assert apply_batch_split(config, processes).note() == ''
    assert config == dict(config_of(each, enable))


@pytest.mark.parametrize('batch, processes, each', [(16, 3, 5), (16, 5, 3), (16, 6, 3), (16, 32, 1), (10, 4, 2)])
def test_one_that_does_not_divide_scales_the_learning_rate(batch, processes, each):
    desk, paper = config_of(batch, False), config_of(batch, True)
    real = each * processes
    for config in (desk, paper):
        found = apply_batch_split(config, processes)
        assert config['train_dataloader']['batch_size'] == each and found.real == real
        assert f'{each} each make {real}, and the learning rate is scaled by {real}/{batch}' in found.note()
    # mmengine scales by images in a batch / base_batch_size.
    assert desk['auto_scale_lr'] == dict(enable=True, base_batch_size=batch)
    assert paper['auto_scale_lr'] == dict(enable=True, base_batch_size=16)


def test_looking_at_the_shares_changes_nothing():
    config = config_of(16, True)
    assert split_batch(config, 3).real == 15 and config == config_of(16, True)
