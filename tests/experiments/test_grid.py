"""Table files: Table 3 is transcribed as printed, and a broken file is refused with its name and key."""

import pytest
import yaml

from experiments.errors import UserError
from experiments.grid import load_table, select, table_names

TABLE = {
    'title': 'A',
    'axes': {'x': {'key': 'a.b', 'values': [1, 2]}, 'y': {'values': [{'name': 'n', 'set': {'c': 3}}]}},
    'rows': ['y'],
    'columns': ['x'],
    'metrics': {'AP': ['u', 'v']},
    'paper': {'AP': [['1/2', '-']]},
}


def write(tmp_path, content):
    path = tmp_path / 'mine.yaml'
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return str(path)


def test_table3_is_the_papers():
    table = load_table('table3')
    assert len(table.cells) == 16
    printed = {(cell.at['t_max'], cell.at['t_min']): cell.paper['AP'] for cell in table.cells}
    assert printed['0.6', '0.2'] == '39.0/39.3' and printed['0.7', '0.4'] == '38.3/39.5'
    assert printed['0.4', '0.1'] == '38.3/38.3' and printed['0.5', '0.3'] == '38.5/39.4'
    cell = next(cell for cell in table.cells if cell.at == {'t_min': '0.1', 't_max': '0.5'})
    assert cell.overrides == {'model.bbox_head.degrees.t_max': 0.5, 'model.bbox_head.degrees.t_min': 0.1}


def test_every_table_file_is_sound():
    assert 'table3' in table_names()
    for name in table_names():
        assert load_table(name).cells


def test_both_forms_of_an_axis(tmp_path):
    table = load_table(write(tmp_path, {**TABLE, 'set': {'z': 0}}))
    assert [cell.overrides for cell in table.cells] == [{'z': 0, 'c': 3, 'a.b': 1}, {'z': 0, 'c': 3, 'a.b': 2}]
    assert [cell.paper for cell in table.cells] == [{'AP': '1/2'}, {'AP': '-'}]
    assert [cell.label for cell in select(table, {'x': '2'})] == ['y=n x=2']


def without(key):
    return {name: value for name, value in TABLE.items() if name != key}


@pytest.mark.parametrize(
    'content, says',
    [
        ('title: [', 'line 1'),
        ('- 1', 'must be a mapping'),
        (without('axes'), "key 'axes' is missing"),
        ({**TABLE, 'colums': []}, "unknown key 'colums'"),
        ({**TABLE, 'rows': ['y', 'x']}, 'each axis once'),
        ({**TABLE, 'rows': []}, 'rows: must be a list'),
        (
            {**TABLE, 'axes': {**TABLE['axes'], 'x': {'key': 'a', 'values': [1, 1]}}},
            "axes.x.values: '1' is there twice",
        ),
        ({**TABLE, 'axes': {**TABLE['axes'], 'x': {'key': 'a', 'values': [[1]]}}}, 'one plain value'),
        ({**TABLE, 'axes': {**TABLE['axes'], 'x': {'values': [1]}}}, 'axes.x.values: must be a mapping'),
        ({**TABLE, 'axes': {**TABLE['axes'], 'x': {'values': [{'set': {}}]}}}, "key 'name' is missing"),
        ({**TABLE, 'axes': {1: {'values': [1]}}}, 'key 1 must be text'),
        ({**TABLE, 'metrics': {'AP': 'u'}}, 'metrics.AP: must be a list'),
        ({**TABLE, 'paper': {'AR': []}}, "unknown key 'AR'"),
        ({**TABLE, 'paper': {'AP': [['1/2', '-'], ['1/2', '-']]}}, '2 rows, but the table has 1'),
        ({**TABLE, 'paper': {'AP': [['1/2']]}}, 'has 1 numbers, but the table has 2 columns'),
        ({**TABLE, 'paper': {'AP': [['1', '-']]}}, "2 number(s) joined by '/'"),
        ({**TABLE, 'paper': {'AP': [['a/b', '-']]}}, "2 number(s) joined by '/'"),
        ('title: !!python/object/apply:os.getcwd []', 'not valid YAML'),
    ],
)
def test_a_broken_file_is_named(tmp_path, content, says):
    path = write(tmp_path, content)
    with pytest.raises(UserError) as error:
        load_table(path)
    assert says in str(error.value) and path in str(error.value) and '\n' not in str(error.value)


def test_unknown_table_axis_and_value():
    with pytest.raises(UserError, match="no table 'tabel3'.*Known tables: .*table3"):
        load_table('tabel3')
    with pytest.raises(UserError, match="no axis 'k'; it has t_max, t_min"):
        select(load_table('table3'), {'k': '7'})
    with pytest.raises(UserError, match="no value '0.9'; it has 0.7, 0.6, 0.5, 0.4"):
        select(load_table('table3'), {'t_max': '0.9'})
