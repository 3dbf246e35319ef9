"""Which settings a search tries."""

import json

import pytest

from experiments.commands.search.space import read_ranges, settings
from experiments.spec.plan import make_plan
from experiments.spec.table_file import load_table, select
from experiments.store.errors import UserError
from experiments.store.files import write_json

TABLE = load_table('table3')


def plan(seed=0, overrides=None, **only):
    return make_plan(TABLE, select(TABLE, only.items()), 'smoke', [seed], overrides or {})


def finish(runs, run):
    (runs / run.id).mkdir(parents=True)
    write_json(runs / run.id / 'result.json', dict(schema=1, metrics={}, epochs=1))


def test_every_cell_is_tried_where_no_number_is_asked_for(tmp_path):
    tried = settings(plan(), [], 0, 0, tmp_path)
    assert [setting.at for setting in tried] == [cell.at for cell in TABLE.cells]
    assert [setting.run.id for setting in tried] == list(plan().runs())


def test_draws_are_distinct_runs_and_always_the_same(tmp_path):
    pytest.importorskip('ray')
    tried = settings(plan(), [], 5, 0, tmp_path)
    assert len({setting.run.id for setting in tried}) == len(tried) == 5
    assert tried == settings(plan(), [], 5, 0, tmp_path) != settings(plan(1), [], 5, 1, tmp_path)
    everything = settings(plan(), [], 100, 0, tmp_path)
    assert {setting.run.id for setting in everything} == set(plan().runs())


def test_a_range_replaces_the_values_of_its_axis(tmp_path):
    pytest.importorskip('ray')
    [part] = read_ranges(TABLE.axes, ['t_max=0.3:0.8'])
    tried = settings(plan(t_min='0.2'), [part], 20, 0, tmp_path)
    values = [setting.at['t_max'] for setting in tried]
    assert len(set(values)) == 20 and 0.3 <= min(values) < 0.4 and 0.7 < max(values) <= 0.8
    for setting in tried:
        degrees = setting.run.config['model']['bbox_head']['degrees']
        assert (degrees['t_max'], degrees['t_min']) == (setting.at['t_max'], 0.2)
        assert setting.label == f't_min=0.2 t_max={setting.at["t_max"]}'


def test_whole_numbers_stay_whole(tmp_path):
    pytest.importorskip('ray')
    table = load_table('table2')
    [axis] = table.axes
    [part] = read_ranges(table.axes, [f'{axis}=2:5'])
    tried = settings(make_plan(table, table.cells, 'smoke', [0], {}), [part], 50, 0, tmp_path)
    assert sorted(setting.at[axis] for setting in tried) == [2, 3, 4, 5]


def test_what_is_stored_belongs_to_the_search_if_it_is_in_the_range(tmp_path):
    pytest.importorskip('ray')
    runs = {json.dumps(cell.cell.at): cell.runs[0] for cell in plan(t_min='0.2').cells}
    for run in runs.values():
        finish(tmp_path, run)
    [part] = read_ranges(TABLE.axes, ['t_max=0.45:0.65'])
    tried = settings(plan(t_min='0.2'), [part], 3, 0, tmp_path)
    assert [setting.at['t_max'] for setting in tried[3:]] == ['0.6', '0.5'] and len(tried) == 5
    assert all(setting.run == runs[json.dumps(setting.at)] for setting in tried[3:])


@pytest.mark.parametrize(
    'table, texts, says',
    [
        ('table3', ['t=0:1'], "no axis 't'; there are t_max, t_min"),
        ('table3', ['t_max=0.3'], 'write it as t_max=LOW:HIGH'),
        ('table3', ['t_max'], 'write it as AXIS=LOW:HIGH'),
        ('table3', ['t_max=0.8:0.3'], 'the first number must be the smaller one'),
        ('table3', ['t_max=0.1:1e400'], 'both numbers must be finite'),
        ('table3', ['t_max=0.1:0.2', 't_max=0.3:0.4'], 'degrees.t_max has a range already'),
        ('table7', ['method=0:1'], 'not numbers at one key'),
    ],
)
def test_ranges_that_are_none(table, texts, says):
    with pytest.raises(UserError, match=says):
        read_ranges(load_table(table).axes, texts)


def test_a_range_of_what_is_set(tmp_path):
    [part] = read_ranges(TABLE.axes, ['t_max=0.3:0.8'])
    with pytest.raises(UserError, match='cells of table3 are named by model.bbox_head.degrees.t_max'):
        settings(plan(overrides={'model.bbox_head.degrees.t_max': 0.5}), [part], 3, 0, tmp_path)
