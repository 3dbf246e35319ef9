"""A run is named after what it computes, and a wrong key or value is refused by name."""

import pytest

from experiments import resolve as resolving
from experiments.errors import UserError
from experiments.grid import load_table
from experiments.places import fill_in, generated, places
from experiments.resolve import profile_names, resolve

T_MAX = 'model.bbox_head.degrees.t_max'


def identity(overrides, seed=0, profile='desk'):
    return resolve(profile, overrides, seed, 'test').id


@pytest.mark.parametrize('profile', ['desk', 'paper'])
def test_the_cells_of_table3_are_16_trainings(profile):
    assert len({identity(cell.overrides, profile=profile) for cell in load_table('table3').cells}) == 16


def test_equal_settings_share_a_run():
    assert identity({T_MAX: 0.6, 'model.bbox_head.selection.k': 7}) == identity({})
    assert identity({'model.bbox_head.degrees.t_min': 1}) == identity({'model.bbox_head.degrees.t_min': 1.0})


@pytest.mark.parametrize(
    'overrides',
    [
        {'train_dataloader.num_workers': 4},
        {'val_dataloader.persistent_workers': True},
        {'log_level': 'ERROR'},
        {'default_hooks.logger.interval': 7},
    ],
)
def test_what_does_not_change_the_training_does_not_change_the_run(overrides):
    assert identity(overrides) == identity({})


@pytest.mark.parametrize(
    'overrides',
    [
        {T_MAX: 0.5},
        {'optim_wrapper.optimizer.lr': 0.1},
        {'train_dataloader.batch_size': 8},
        {'generate.scenes.train': 100},
        {'train_cfg.max_epochs': 1},
    ],
)
def test_what_changes_the_training_changes_the_run(overrides):
    assert identity(overrides) != identity({})


def test_seed_and_profile_change_the_run():
    assert len({identity({}), identity({}, seed=1), identity({}, profile='smoke'), identity({}, profile='paper')}) == 4


def test_a_new_version_of_the_data_is_a_new_run(monkeypatch):
    before = identity({})
    from experiments.desk import scenes

    monkeypatch.setattr(
        scenes.SceneSpec.__init__, '__defaults__', ('next', *scenes.SceneSpec.__init__.__defaults__[1:])
    )
    assert identity({}) != before


def test_the_config_is_complete_and_free_of_this_machine():
    run = resolve('desk', {T_MAX: 0.7}, 3, 'test')
    assert run.config['model']['bbox_head']['degrees'] == dict(type='LinearDegrees', t_max=0.7, t_min=0.2)
    assert run.config['randomness'] == dict(seed=3)
    assert str(resolving.FOLDER.parent) not in run.config_text
    filled = fill_in(run.config, places(run.config, resolving.FOLDER))
    assert filled['val_evaluator']['ann_file'].startswith(str(resolving.FOLDER / 'desk' / 'scenes-v'))
    assert filled['model']['backbone']['init_cfg']['checkpoint'].endswith('/backbone.pth')
    assert '${' not in str(filled)


def test_the_config_text_is_the_config(tmp_path):
    from mmengine.config import Config

    run = resolve('paper', {}, 0, 'test')
    path = tmp_path / 'config.py'
    path.write_text(run.config_text)
    assert Config.fromfile(path, import_custom_modules=False).to_dict() == run.config


@pytest.mark.parametrize(
    'overrides, says',
    [
        ({'model.bbox_head.degrees.tmax': 0.5}, r"unknown key 'model.bbox_head.degrees.tmax' in profile desk; .*t_max"),
        ({'modle.bbox_head': {}}, r"unknown key 'modle.bbox_head' .*model"),
        ({'model.bbox_head.strides.7': 1}, 'unknown key'),
        ({T_MAX: 'high'}, "'high' is text, but profile desk has a number there"),
        ({T_MAX: True}, 'True is true or false'),
        ({'model.bbox_head': 3}, '3 is a number, but profile desk has a mapping there'),
    ],
)
def test_a_wrong_override_is_named(overrides, says):
    with pytest.raises(UserError, match=f'here: .*{says}'):
        resolve('desk', overrides, 0, 'here')


def test_unknown_profile_and_setting_of_the_data():
    with pytest.raises(UserError, match="no profile 'desktop'; known profiles: desk, paper, smoke"):
        resolve('desktop', {}, 0, 'test')
    with pytest.raises(UserError, match='generate in the profile: .*trian'):
        generated(dict(generate=dict(scenes=dict(trian=3), backbone={})))
    assert profile_names() == ['desk', 'paper', 'smoke']
