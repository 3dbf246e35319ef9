"""A run is named after what it computes, and a wrong key or value is refused by name."""

import pytest

from experiments.spec import config as composing
from experiments.spec.config import add_profile, compose, profile_names, resolve, variant_names
from experiments.spec.paths import data_paths, generated, substitute_paths
from experiments.spec.table_file import load_table, table_names
from experiments.store.errors import UserError

T_MAX = 'model.bbox_head.degrees.t_max'


def identity(overrides, seed=0, profile='desk', use=()):
    return resolve(profile, use, overrides, seed, 'test').id


@pytest.mark.parametrize('profile', ['desk', 'paper'])
def test_the_cells_of_table3_are_16_trainings(profile):
    assert len({identity(cell.overrides, profile=profile, use=cell.use) for cell in load_table('table3').cells}) == 16


def test_equal_settings_share_a_run():
    assert identity({T_MAX: 0.6, 'model.bbox_head.selection.k': 7}) == identity({})
    assert identity({'model.bbox_head.degrees.t_min': 1}) == identity({'model.bbox_head.degrees.t_min': 1.0})


@pytest.mark.parametrize(
    'overrides',
    [
        {'val_dataloader.num_workers': 4},
        {'val_dataloader.persistent_workers': True},
        {'log_level': 'ERROR'},
        {'default_hooks.logger.interval': 7},
        {'auto_scale_lr.base_batch_size': 1},
    ],
)
def test_what_does_not_change_the_training_does_not_change_the_run(overrides):
    assert identity(overrides) == identity({})


@pytest.mark.parametrize(
    'overrides',
    [
        {T_MAX: 0.5},
        {'optim_wrapper.optimizer.lr': 0.1},
        {'train_dataloader.batch_size': 4},
        {'generate.scenes.train': 100},
        {'train_cfg.max_epochs': 1},
        {'load_from': 'weights.pth'},
        {'auto_scale_lr.enable': True},
        {'default_hooks.param_scheduler': None},
        {'train_dataloader.num_workers': 4},
    ],
)
def test_what_changes_the_training_changes_the_run(overrides):
    assert identity(overrides) != identity({})


def test_the_learning_rate_is_what_counts():
    """At full scale the rate follows the batch; workers seed each sample, however many there are."""
    batch = {'train_dataloader.batch_size': 8}
    ways = [
        {},
        {'auto_scale_lr.base_batch_size': 8},
        {'auto_scale_lr.base_batch_size': 4},
        {'train_dataloader.num_workers': 0},
    ]
    assert len({identity({**batch, **way}, profile='paper') for way in ways}) == 4
    off = {**batch, 'auto_scale_lr.enable': False}
    assert identity(off, profile='paper') == identity({**batch, **ways[1]}, profile='paper')
    for workers in (1, 9):
        assert identity({'train_dataloader.num_workers': workers}, profile='paper') == identity({}, profile='paper')


def test_a_hook_of_ones_own_is_another_run(tmp_path, monkeypatch):
    monkeypatch.setattr(composing, '_OWN', {})
    profiles = []
    for hooks in ('', "default_hooks = dict(ema=dict(type='EMAHook'))"):
        path = tmp_path / f'own{len(profiles)}.py'
        path.write_text(f"base = 'desk'\n{hooks}\n")
        profiles.append(add_profile(path))
    assert identity({}, profile=profiles[0]) == identity({}) != identity({}, profile=profiles[1])


def test_seed_and_profile_change_the_run():
    assert len({identity({}), identity({}, seed=1), identity({}, profile='smoke'), identity({}, profile='paper')}) == 4


def test_a_new_version_of_the_data_is_a_new_run(monkeypatch):
    before = identity({})
    from experiments.spec.synthetic import SceneSpec

    monkeypatch.setattr(SceneSpec.__init__, '__defaults__', ('next', *SceneSpec.__init__.__defaults__[1:]))
    assert identity({}) != before


def test_the_config_is_complete_and_free_of_this_machine():
    run = resolve('desk', (), {T_MAX: 0.7}, 3, 'test')
    assert run.config['model']['bbox_head']['degrees'] == dict(type='LinearDegrees', t_max=0.7, t_min=0.2)
    assert run.config['randomness'] == dict(seed=3)
    assert str(composing.PROFILES.parent) not in run.config_text
    data = composing.PROFILES.parent / 'data'
    filled = substitute_paths(run.config, data_paths(run.config, data))
    assert filled['val_evaluator']['ann_file'].startswith(str(data / 'desk' / 'scenes-v'))
    assert filled['model']['backbone']['init_cfg']['checkpoint'].endswith('/backbone.pth')
    assert '${' not in str(filled)


def test_the_config_text_is_the_config(tmp_path):
    from mmengine.config import Config

    run = resolve('paper', ('swin-t', '3x', 'fcos'), {}, 0, 'test')
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
        ({'train_dataloader': None}, 'train_dataloader must be a mapping, not None'),
        ({'val_dataloader.dataset': None}, 'val_dataloader.dataset must be a mapping'),
        ({'train_cfg': None}, 'train_cfg must be a mapping'),
        ({'val_evaluator': None}, 'val_evaluator must be a mapping'),
        (
            {'train_dataloader.num_workers': None},
            'train_dataloader.num_workers: None must be a whole number, 0 or more',
        ),
        (
            {'optim_wrapper.optimizer.lr': float('nan')},
            'optim_wrapper.optimizer.lr: infinite numbers and NaN cannot be',
        ),
    ],
)
def test_a_wrong_override_is_named(overrides, says):
    with pytest.raises(UserError, match=f'here: .*{says}'):
        resolve('desk', (), overrides, 0, 'here')


@pytest.mark.parametrize('base', [0, None])
def test_the_batch_that_the_rate_is_for_is_a_number(base):
    with pytest.raises(UserError, match='auto_scale_lr.base_batch_size: .* must be a whole number, 1 or more'):
        resolve('paper', (), {'auto_scale_lr.base_batch_size': base}, 0, 'here')


def test_unknown_profile_and_setting_of_the_data():
    with pytest.raises(UserError, match="no profile 'desktop'; known profiles: desk, paper, smoke"):
        resolve('desktop', (), {}, 0, 'test')
    with pytest.raises(UserError, match='generate in the profile: .*trian'):
        generated(dict(generate=dict(scenes=dict(trian=3), backbone={})))
    assert profile_names() == ['desk', 'paper', 'smoke']


def test_what_a_cell_uses_is_merged_in_order():
    """The profile, then each variant, and after it what the profile has for that variant alone."""
    plain, swin = compose('desk', (), 'test'), compose('desk', ('swin-t', '3x'), 'test')
    assert plain.model.backbone.type == 'ResNet' and plain.train_cfg.max_epochs == 12
    assert (swin.model.backbone.type, swin.model.backbone.embed_dims) == ('SwinTransformer', 16)  # the desk's own
    assert 'depth' not in swin.model.backbone and swin.train_cfg.max_epochs == 36
    assert compose('smoke', ('3x',), 'test').train_cfg.max_epochs == 2
    before = plain.to_dict()
    plain.model.backbone.depth = 3
    assert compose('desk', (), 'test').to_dict() == before  # every caller has a config of its own


def test_a_variant_takes_a_place_and_leaves_the_sizes():
    head = compose('desk', ('fcos',), 'test').model.bbox_head
    assert (head.type, head.in_channels, head.num_classes) == ('FCOSHead', 24, 8)
    assert 'selection' not in head and '_keep_' not in head and '_delete_' not in head


@pytest.mark.parametrize('profile', ['desk', 'paper', 'smoke'])
def test_no_mark_of_merging_is_left(profile):
    """mmengine leaves some of its ``_delete_`` in place; a class would get them as an argument."""
    for name in table_names():
        for cell in load_table(name).cells:
            text = resolve(profile, cell.use, cell.overrides, 0, name).config_text
            assert '_delete_' not in text and '_keep_' not in text, f'{name} {cell.label}'


def test_unknown_variants_are_named():
    with pytest.raises(UserError, match="table.yaml: no variant 'r50'; known variants: 3dmf, 3x, .*swin-t"):
        resolve('desk', ('r50',), {}, 0, 'table.yaml')
    assert {'fcos', 'poto', '3dmf', '3x', 'r101', 'swin-t'} <= set(variant_names())


def test_a_list_keeps_the_kind_of_what_it_replaces():
    """Transforms tell a pair of sides from a list of scales; YAML has lists alone, and the run stays the same."""
    resize = 'val_dataloader.dataset.pipeline.1'
    scale = resolve('paper', (), {f'{resize}.scale': [128, 96]}, 0, 'test')
    assert scale.config['val_dataloader']['dataset']['pipeline'][1]['scale'] == (128, 96)
    inside = resolve('paper', (), {resize: {'scale': [128, 96]}}, 0, 'test')
    assert inside.config == scale.config and inside.id == scale.id
    assert scale.id == identity({f'{resize}.scale': (128, 96)}, profile='paper')
    scales = [[1333, 480], [1333, 800]]
    several = resolve('paper', ('3x',), {'train_dataloader.dataset.pipeline.2.scale': scales}, 0, 'test')
    found = several.config['train_dataloader']['dataset']['pipeline'][2]['scale']
    assert found == [(1333, 480), (1333, 800)] and isinstance(found, list)
