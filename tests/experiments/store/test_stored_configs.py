"""A config that inherits is read as mmengine reads it, and what is no config is named."""

from pprint import pformat

import pytest
from mmengine.config import Config

from experiments.spec.plan import make_plan
from experiments.spec.table_file import load_table, table_names
from experiments.store.configs import config_text, inheriting_text, read_config

PATH = '../tables/base.py'
BASE = dict(
    model=dict(type='FCOS', head=dict(type='O2F', k=7, deep=dict(a=1)), norm=None),
    pipeline=[dict(type='Load'), dict(type='Resize', scale=(96, 72))],
    lr=1,
)
CHANGED = {
    'nothing': {},
    'a value': dict(lr=2),
    'an equal number of another kind': dict(lr=1.0),
    'a truth value that equals the number': dict(lr=True),
    'a new key': dict(seed=3, new=dict(a=dict(b=[]))),
    'a nested value': dict(model=dict(BASE['model'], norm=0)),
    'a mapping in place of a value': dict(model=dict(BASE['model'], norm=dict(type='GN')), lr=dict(a=1)),
    'a value in place of a mapping': dict(model=dict(BASE['model'], head='none')),
    'another mapping': dict(model=dict(BASE['model'], head=dict(type='FCOSHead', deep=dict(b=2)))),
    'an empty mapping': dict(model=dict(BASE['model'], head={})),
    'a key less, deep inside': dict(model=dict(BASE['model'], head=dict(type='O2F', k=7, deep={}))),
    'a list': dict(pipeline=[dict(type='Load')]),
    'a list for a tuple': dict(pipeline=[dict(type='Load'), dict(type='Resize', scale=[96, 72])]),
}


@pytest.fixture
def stored(tmp_path):
    """stored(text, base): the path of a config.py of this text, with the base beside it."""

    def stored(text, base=config_text(BASE)):
        for name, content in (('run/config.py', text), ('tables/base.py', base)):
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(content)
        return tmp_path / 'run' / 'config.py'

    return stored


def check(stored, config, base):
    path = stored(inheriting_text(config, base, PATH), config_text(base))
    assert pformat(read_config(path)) == pformat(config)  # sorts keys, and tells 1 from 1.0 and a tuple from a list
    assert Config.fromfile(path, import_custom_modules=False).to_dict() == config


@pytest.mark.parametrize('case', CHANGED)
def test_a_config_is_rebuilt_from_its_difference(stored, case):
    config = {**BASE, **CHANGED[case]}
    check(stored, config, BASE)
    assert ('_base_' in stored(inheriting_text(config, BASE, PATH)).read_text()) and BASE['model']['head']['k'] == 7


def test_a_config_without_a_key_of_the_base_is_stored_whole(stored):
    config = {key: value for key, value in BASE.items() if key != 'lr'}
    assert inheriting_text(config, BASE, PATH) == config_text(config)
    check(stored, config, BASE)


def test_any_run_of_the_tables_is_rebuilt_from_any_other(stored):
    """Each run from the first of its table, and from the one before it, for both kinds of data and heads with masks."""
    for name in ('table5', 'table8', 'table9'):
        assert name in table_names()
        table = load_table(name)
        runs = list(make_plan(table, table.cells, 'paper', [0, 1], {}).runs().values())
        for number, run in enumerate(runs):
            check(stored, run.config, runs[max(number - 1, 0)].config)
            check(stored, run.config, runs[0].config)


def test_who_changes_a_config_changes_no_other(stored):
    path = stored(inheriting_text({**BASE, 'lr': 2}, BASE, PATH))
    read_config(path)['model']['head']['k'] = 1
    assert read_config(path)['model'] == BASE['model']


@pytest.mark.parametrize(
    'text, base, reason',
    [
        ('import os\n', '', 'is more than assignments'),
        ('lr = open("x")\n', '', 'malformed node'),
        (f'_base_ = {PATH!r}\n', 'lr = [', 'was never closed'),
        ("_base_ = '../tables/missing.py'\n", '', 'No such file'),
        (f'_base_ = [{PATH!r}]\n', '', '_base_ must be the path of one file'),
        (f'_base_ = {PATH!r}\n', "_base_ = 'base.py'\n", 'its base ../tables/base.py has a base'),
    ],
)
def test_what_is_no_config_is_named_in_one_line(stored, text, base, reason):
    path = stored(text, base)
    with pytest.raises(ValueError, match='^is no config of a run .*') as error:
        read_config(path)
    assert reason in str(error.value) and '\n' not in str(error.value)
