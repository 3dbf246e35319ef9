"""The plan of a table keeps what was planned before, and another experiment has another plan."""

import json
import re

import pytest

from analysis.results import load_plan
from experiments.spec import config
from experiments.spec.plan import make_plan, save_plan
from experiments.spec.table_file import load_table, select
from experiments.store.errors import UserError


def plan_of(only, seeds, overrides=None):
    table = load_table('table3')
    return make_plan(table, select(table, only.items()), 'smoke', seeds, overrides or {})


def test_cells_and_seeds_of_earlier_commands_are_kept(tmp_path):
    save_plan(plan_of({'t_max': '0.6'}, [0]), tmp_path)
    save_plan(plan_of({'t_max': '0.7'}, [1]), tmp_path)
    stored = load_plan(tmp_path, 'smoke', 'table3')
    seeds = {cell.at['t_max']: sorted(cell.runs) for cell in stored.cells}
    assert seeds == {'0.7': [1], '0.6': [0], '0.5': [], '0.4': []} and len(stored.runs) == 8


def test_a_cell_has_the_seeds_of_another_that_reads_its_training(tmp_path):
    """FCOS with NMS is not asked for, and is there."""
    table = load_table('table5')
    chosen = select(table, [('method', 'FCOS'), ('schedule', '1x')])
    save_plan(make_plan(table, chosen, 'smoke', [0, 3], {}), tmp_path)
    filled = {cell.at['method']: cell.runs for cell in load_plan(tmp_path, 'smoke', 'table5').cells if cell.runs}
    assert list(filled) == ['FCOS-NMS', 'FCOS'] and list(filled['FCOS']) == [0, 3]
    assert filled['FCOS-NMS'] == filled['FCOS']


def test_runs_of_other_settings_are_left_out(tmp_path, monkeypatch):
    """A cell never has seeds of two settings, and cells that were not asked for have none of before."""
    monkeypatch.setattr(config, '_OWN', {})
    plans = []
    for rate in (0.004, 0.02):
        (tmp_path / 'own.py').write_text(f"base = 'smoke'\noptim_wrapper = dict(optimizer=dict(lr={rate}))\n")
        for cached in (config._load, config._profile, config._composed):
            cached.cache_clear()
        config.add_profile(tmp_path / 'own.py')
        table = load_table('table3')
        only = {} if rate == 0.004 else {'t_max': '0.6'}
        seeds = [0, 1] if rate == 0.004 else [0]
        plans.append(make_plan(table, select(table, only.items()), 'own', seeds, {}))
    first, second = plans
    save_plan(first, tmp_path)
    said = []
    save_plan(second, tmp_path, said.append)
    assert len(said) == 1 and said[0].endswith(' '.join(first.runs()))
    stored = load_plan(tmp_path, 'own', 'table3')
    assert {run for cell in stored.cells for run in cell.runs.values()} == set(second.runs())
    save_plan(second, tmp_path, said.append)
    assert len(said) == 1


def test_a_cell_keeps_runs_that_it_shared_with_one_that_was_edited(tmp_path):
    file = tmp_path / 'mine.yaml'
    text = """
title: Two names
axes:
  k:
    label: K
    values:
      - {name: a, set: {model.bbox_head.selection.k: 7}}
      - {name: b, set: {model.bbox_head.selection.k: 7}}
rows: []
columns: [k]
metrics: {AP: [without_nms/AP]}
"""
    file.write_text(text)
    table = load_table(str(file))
    save_plan(make_plan(table, table.cells, 'smoke', [0, 1, 2], {}), tmp_path)
    file.write_text(text.replace('k: 7', 'k: 9', 1))
    table, said = load_table(str(file)), []
    save_plan(make_plan(table, table.cells[:1], 'smoke', [0], {}), tmp_path, said.append)
    assert [sorted(cell.runs) for cell in load_plan(tmp_path, 'smoke', 'mine').cells] == [[0], [0, 1, 2]] and not said


@pytest.mark.parametrize(
    'only, setting, refused',
    [
        ({'la': 't=0.1'}, {'model.bbox_head.degrees.t': 0.5}, True),
        ({'la': 't=0.1'}, {'model.bbox_head': {}}, True),
        ({'la': 'one-to-one'}, {'model.bbox_head.selection.k': 1}, True),
        # One-to-two alone sets this weight.
        ({'la': 'one-to-two'}, {'model.bbox_head.loss_cls.ambiguous_weight': 0.5}, True),
        ({'la': 't=0.1'}, {'model.bbox_head.loss_cls.ambiguous_weight': 0.5}, False),
        ({'la': 't=0.1'}, {'train_cfg.max_epochs': 2}, False),
    ],
)
def test_what_cells_are_named_by_is_not_set(only, setting, refused):
    table = load_table('table1')
    if not refused:
        assert make_plan(table, select(table, only.items()), 'smoke', [0], setting).runs()
        return
    with pytest.raises(UserError, match=f'--set {next(iter(setting))}: these cells of table1 are named by'):
        make_plan(table, select(table, only.items()), 'smoke', [0], setting)


def test_overrides_make_another_plan(tmp_path):
    plain, other = plan_of({}, [0]), plan_of({}, [0], {'train_cfg.max_epochs': 2})
    assert save_plan(plain, tmp_path) != save_plan(other, tmp_path)
    assert not set(plain.runs()) & set(other.runs())
    assert load_plan(tmp_path, 'smoke', other.name).overrides == {'train_cfg.max_epochs': 2}


def test_settings_name_the_plan_and_a_digest_those_that_are_too_long(tmp_path):
    """The name is that of a file: at most 120 bytes, without /. The settings are inside the file either way."""
    short = {'train_cfg.max_epochs': 2, 'model.backbone.init_cfg.checkpoint': 'a/b.pth'}
    plan = plan_of({}, [0], short)
    assert plan.name == 'table3+train_cfg.max_epochs=2+model.backbone.init_cfg.checkpoint=a_b.pth'
    long = {'train_dataloader.dataset.data_root': 'x' * 100}
    names = [plan_of({}, [0], dict(long, **more)).name for more in ({}, {'train_cfg.max_epochs': 2})]
    assert all(re.fullmatch('table3\\+[0-9a-f]{12}', name) for name in names) and len(set(names)) == 2
    for overrides in (short, long):
        plan = plan_of({}, [0], overrides)
        assert save_plan(plan, tmp_path).name == f'{plan.name}.json'
        assert load_plan(tmp_path, 'smoke', plan.name).overrides == overrides


@pytest.mark.parametrize('content', ['[]', '{}', '{"cells": [{}]}', '{"cells": [{"at": [], "runs": {}}]}', '{"cells"'])
def test_a_damaged_plan_is_named(tmp_path, content):
    path = save_plan(plan_of({}, [0]), tmp_path)
    path.write_text(content)
    with pytest.raises(UserError, match='table3.json .*delete it and run again'):
        save_plan(plan_of({}, [0]), tmp_path)


def test_a_plan_is_json_of_its_schema(tmp_path):
    content = json.loads(save_plan(plan_of({}, [0, 1]), tmp_path).read_text())
    assert content['schema'] == 3 and len(content['cells']) == 16 and set(content['cells'][0]['runs']) == {'0', '1'}
