"""Table files: what their keys mean, and that a broken one is refused with its name and the key."""

import copy
import re

import pytest
import yaml

from experiments.spec.schema import Comparison, Metric, Quantity, Value
from experiments.spec.table_file import load_table, select
from experiments.store.errors import UserError
from experiments.store.files import read_yaml

QUANTITY = {'key': 'u', 'at': {'x': 1, 'y': 'n'}}
CLAIM = {
    'id': 'c',
    'statement': 'in short',
    'quote': 'A sentence.',
    'where': 'Table 0',
    'compare': [{'left': QUANTITY, 'is': 'less', 'right': {'key': 'v', 'at': {'x': 2, 'y': 'n'}}}],
}
TABLE = {
    'title': 'A',
    'axes': {'x': {'key': 'a.b', 'values': [1, 2]}, 'y': {'values': [{'name': 'n', 'set': {'c': 3}}]}},
    'rows': ['y'],
    'columns': ['x'],
    'metrics': {'AP': ['u', 'v']},
    'paper': {'AP': [['1/2', '-']]},
}


def load(tmp_path, content):
    path = tmp_path / 'mine.yaml'
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
    return load_table(str(path))


def without(key, content=TABLE):
    return {name: value for name, value in content.items() if name != key}


def with_axis(name, **body):
    return {**TABLE, 'axes': {**TABLE['axes'], name: body}}


def with_value(**body):
    """The table with more in the value that axis y has."""
    return with_axis('y', values=[{'name': 'n', **body}])


def with_claim(**body):
    return {**TABLE, 'claims': [{**CLAIM, **body}]}


def with_comparison(left=None, right=None, **body):
    """The table with a claim whose comparison has these keys besides or in place of its own."""
    comparison = copy.deepcopy(CLAIM['compare'][0])
    comparison['left'].update(left or {})
    comparison['right'].update(right or {})
    return with_claim(compare=[{**comparison, **body}])


def test_texts_of_a_table(tmp_path):
    texts = {'caption': 'c', 'source': 's', 'setting': 'e'}
    table = load(tmp_path, {**TABLE, **texts})
    assert (table.name, table.title, table.caption, table.source, table.setting) == ('mine', 'A', 'c', 's', 'e')
    bare = load(tmp_path, without('paper'))
    assert (bare.caption, bare.source, bare.setting, bare.claims) == ('', '', '', ())
    assert [cell.paper for cell in bare.cells] == [{}, {}]


def test_both_forms_of_an_axis(tmp_path):
    table = load(tmp_path, {**TABLE, 'set': {'z': 0}})
    assert [cell.overrides for cell in table.cells] == [{'z': 0, 'c': 3, 'a.b': 1}, {'z': 0, 'c': 3, 'a.b': 2}]
    assert [cell.paper for cell in table.cells] == [{'AP': '1/2'}, {'AP': '-'}]
    assert [cell.label for cell in select(table, [('x', '2')])] == ['y=n x=2']


def test_values_of_one_axis_are_alternatives_and_axes_are_not():
    table = load_table('table3')
    two = select(table, [('t_max', '0.7'), ('t_min', '0.1'), ('t_max', '0.4'), ('t_max', '0.7')])
    assert [(cell.at['t_max'], cell.at['t_min']) for cell in two] == [('0.7', '0.1'), ('0.4', '0.1')]
    assert select(table, []) == list(table.cells)


def test_an_axis_with_a_key_may_name_a_value(tmp_path):
    axis = with_axis('x', key='a.b', values=[{'name': 'none', 'set': {'d': 4}}, 2])
    assert [cell.overrides for cell in load(tmp_path, axis).cells] == [{'c': 3, 'd': 4}, {'c': 3, 'a.b': 2}]


def test_what_is_shown_of_a_value(tmp_path):
    axes = {
        'x': TABLE['axes']['x'],
        'y': {
            'label': 'Method',
            'describe': ['LA', 'NMS'],
            'values': [{'name': 'n', 'label': 'N', 'describe': ['o2m', '✓']}, {'name': 'm', 'describe': ['o2o', '✗']}],
        },
    }
    table = load(tmp_path, {**TABLE, 'axes': axes, 'paper': {}})
    assert (table.axes['x'].label, table.axes['x'].describe) == ('x', ())
    assert (table.axes['y'].label, table.axes['y'].describe) == ('Method', ('LA', 'NMS'))
    assert table.axes['y'].values == {
        'n': Value(label='N', describe=('o2m', '✓')),
        'm': Value(label='m', describe=('o2o', '✗')),
    }


def test_variants_and_overrides_go_from_the_table_to_its_axes(tmp_path):
    axes = {
        'x': {'values': [{'name': '1x'}, {'name': '3x', 'use': ['long'], 'set': {'b': 2}}]},
        'y': {'values': [{'name': 'n', 'use': ['one', 'two'], 'set': {'a': 1, 'b': 1}}]},
    }
    content = {**TABLE, 'axes': axes, 'use': ['crowd'], 'set': {'a': 0, 'z': 0}, 'paper': {}}
    cells = load(tmp_path, content).cells
    # In the order of rows and columns, whatever the order of the axes; the last one to set a key decides.
    assert [cell.use for cell in cells] == [('crowd', 'one', 'two'), ('crowd', 'one', 'two', 'long')]
    assert [cell.overrides for cell in cells] == [{'a': 1, 'z': 0, 'b': 1}, {'a': 1, 'z': 0, 'b': 2}]


def test_the_reading_of_a_value_is_that_of_its_cells(tmp_path):
    content = {
        **TABLE,
        'axes': {'x': TABLE['axes']['x'], 'y': {'values': [{'name': 'n', 'reading': 'with_nms'}, {'name': 'm'}]}},
        'metrics': {'AP': ['{reading}/AP'], 'time': ['speed/{reading}/ms'], 'u': ['u']},
        'paper': {},
    }
    for rows, columns in ((['y'], ['x']), (['x'], ['y'])):
        keys = {cell.at['y']: cell.keys for cell in load(tmp_path, {**content, 'rows': rows, 'columns': columns}).cells}
        assert keys == {
            'n': {'AP': ('with_nms/AP',), 'time': ('speed/with_nms/ms',), 'u': ('u',)},
            'm': {'AP': ('without_nms/AP',), 'time': ('speed/without_nms/ms',), 'u': ('u',)},
        }


def test_a_metric_that_stands_only_somewhere(tmp_path):
    metrics = {'AP': ['u', 'v'], 'FPS': {'keys': ['fps'], 'at': {'x': 2}}}
    table = load(tmp_path, {**TABLE, 'metrics': metrics, 'paper': {'AP': [['1/2', '3/4']], 'FPS': [[35.5]]}})
    assert table.metrics == {'AP': Metric(keys=('u', 'v')), 'FPS': Metric(keys=('fps',), at={'x': '2'})}
    assert [cell.keys for cell in table.cells] == [{'AP': ('u', 'v')}, {'AP': ('u', 'v'), 'FPS': ('fps',)}]
    assert [cell.paper for cell in table.cells] == [{'AP': '1/2'}, {'AP': '3/4', 'FPS': '35.5'}]


def test_a_side_may_be_empty(tmp_path):
    across = load(tmp_path, {**TABLE, 'rows': [], 'columns': ['y', 'x']})
    down = load(tmp_path, {**TABLE, 'rows': ['y', 'x'], 'columns': [], 'paper': {'AP': [['1/2'], ['-']]}})
    assert (across.rows, across.columns) == ((), ('y', 'x')) and (down.rows, down.columns) == (('y', 'x'), ())
    assert across.cells == down.cells and [cell.paper for cell in down.cells] == [{'AP': '1/2'}, {'AP': '-'}]


def test_a_claim_is_comparisons_over_cells(tmp_path):
    content = with_comparison({'minus': 'v', 'times': 0.5, 'epoch': 1})
    (claim,) = load(tmp_path, content).claims
    assert (claim.id, claim.statement, claim.quote, claim.where) == ('c', 'in short', 'A sentence.', 'Table 0')
    left = Quantity(key='u', minus='v', times=0.5, epoch=1, at={'x': '1', 'y': 'n'})
    right = Quantity(key='v', at={'x': '2', 'y': 'n'})
    assert claim.comparisons == (Comparison(left=left, relation='less', right=right),)


def test_for_each_and_others_stand_for_many_comparisons(tmp_path):
    axes = {'x': {'key': 'a', 'values': [1, 2, 3]}, 'y': {'key': 'b', 'values': ['m', 'n']}}
    comparison = {
        'left': {'key': 'u', 'at': {'x': 2}},
        'is': 'greater',
        'right': {'key': 'u', 'at': {'x': 'others'}},
        'for_each': ['y'],
    }
    content = {**TABLE, 'axes': axes, 'paper': {}, 'claims': [{**CLAIM, 'compare': [comparison]}]}
    (claim,) = load(tmp_path, content).claims
    places = [(c.left.at['y'], c.left.at['x'], c.right.at['y'], c.right.at['x']) for c in claim.comparisons]
    assert places == [(y, '2', y, x) for y in 'mn' for x in '13']


def test_sizes_best_and_threshold(tmp_path):
    """A size for each comparison in order; a threshold of the suite's own beside or in place of the paper's words."""
    comparison = {**CLAIM['compare'][0], 'size': 1.5}
    sides = {side: {'key': key, 'at': {'y': 'n'}} for side, key in (('left', 'u'), ('right', 'v'))}
    threshold = {'statement': 'half', 'compare': [{**comparison, **sides, 'size': [2, 3], 'for_each': ['x']}]}
    (claim,) = load(tmp_path, with_claim(compare=[comparison], best=True, threshold=threshold)).claims
    assert claim.best and [each.size for each in claim.every_comparison] == [1.5, 2, 3]
    content = {**TABLE, 'claims': [{**without('compare', CLAIM), 'threshold': threshold}]}
    (claim,) = load(tmp_path, content).claims
    assert claim.comparisons == () and claim.threshold.statement == 'half' and not claim.best


def test_a_claim_may_name_either_reading(tmp_path):
    claim = {**CLAIM, 'compare': [{**CLAIM['compare'][0], 'left': {**QUANTITY, 'key': 'with_nms/AP'}}]}
    content = {**TABLE, 'metrics': {'AP': ['{reading}/AP', 'v']}, 'claims': [claim]}
    assert load(tmp_path, content).claims[0].comparisons[0].left.key == 'with_nms/AP'


@pytest.mark.parametrize(
    'content, says',
    [
        ('title: [', 'line 1'),
        ('- 1', 'the file: must be a mapping'),
        ('title: a\naxes:\n  k: {values: [1]}\n  "k": {values: [2]}\n', "line 4: not valid YAML: the key 'k' is there"),
        ('set: {a: 1}\ntitle: a\nset: {b: 1}\n', "line 3: not valid YAML: the key 'set' is there already, on line 1"),
        (without('axes'), "key 'axes' is missing"),
        ({**TABLE, 'colums': []}, "unknown key 'colums'"),
        ('title: !!python/object/apply:os.getcwd []', 'not valid YAML'),
        ({**TABLE, 'use': 'fcos'}, 'use: must be a list'),
        ({**TABLE, 'use': [1]}, 'use[0]: must be text, not 1'),
        ({**TABLE, 'set': ['a']}, 'set: must be a mapping'),
        ({**TABLE, 'set': {1: 2}}, 'set: key 1 must be text'),
        ({**TABLE, 'rows': ['y', 'x']}, 'rows: rows and columns must name each axis once (x, y)'),
        ({**TABLE, 'rows': []}, 'rows: rows and columns must name each axis once (x, y)'),
        ({**TABLE, 'rows': [], 'columns': [], 'axes': {}}, 'rows: rows and columns must name each axis once'),
        ({**TABLE, 'columns': 'x'}, 'columns: must be a list'),
        (with_axis('x', key='a', values=[1, 'others']), "axes.x.values: 'others' means all other values in claims"),
        (with_axis('x', key='a', values=[1, 1]), "axes.x.values: '1' is there twice"),
        (with_axis('x', key='a', values=[]), 'axes.x.values: must be a list with something in it'),
        (with_axis('x', key='a', values=[[1]]), 'axes.x: values: [1] must be one plain value'),
        (with_axis('x', values=[1]), 'axes.x.values[0]: must be a mapping'),
        (with_axis('x', values=[{'set': {}}]), "axes.x.values[0]: key 'name' is missing"),
        (with_axis('x'), "axes.x: key 'values' is missing"),
        (with_axis('x', vals=[]), "axes.x: unknown key 'vals'"),
        (with_axis('x', describe='LA', key='a', values=[1]), 'axes.x.describe: must be a list'),
        (with_axis('x', describe=['LA'], key='a', values=[1]), 'axes.x.values.1.describe: must have 1 texts'),
        ({**TABLE, 'axes': {1: {'values': [1]}}}, 'axes: key 1 must be text'),
        (with_value(describe=['o2m']), 'axes.y.values.n.describe: must have 0 texts'),
        (with_value(describe=[1]), 'axes.y.values[0].describe[0]: must be text, not 1'),
        (with_value(reading='nms'), "axes.y.values[0].reading: 'nms' must be 'without_nms' or 'with_nms'"),
        (with_value(use='fcos'), 'axes.y.values[0].use: must be a list'),
        (with_value(use=[None]), 'axes.y.values[0].use[0]: must be text, not None'),
        (with_value(set=[]), 'axes.y.values[0].set: must be a mapping'),
        (with_value(sets={}), "axes.y.values[0]: unknown key 'sets'; did you mean set"),
        ({**TABLE, 'metrics': ['AP']}, 'metrics: must be a mapping'),
        ({**TABLE, 'metrics': {'AP': 'u'}}, 'metrics.AP.keys: must be a list'),
        ({**TABLE, 'metrics': {'AP': []}}, 'metrics.AP.keys: must be a list with something in it'),
        ({**TABLE, 'metrics': {'AP': [1, 2]}}, 'metrics.AP.keys[0]: must be text, not 1'),
        ({**TABLE, 'metrics': {'AP': {'at': {}}}}, "metrics.AP: key 'keys' is missing"),
        ({**TABLE, 'metrics': {'AP': {'keys': ['u'], 'in': {}}}}, "metrics.AP: unknown key 'in'"),
        ({**TABLE, 'metrics': {'AP': {'keys': ['u'], 'at': {'z': 1}}}}, "metrics.AP.at: unknown key 'z'"),
        ({**TABLE, 'metrics': {'AP': {'keys': ['u'], 'at': {'x': 3}}}}, "metrics.AP.at: axis x has no value '3'"),
        ({**TABLE, 'paper': {'AR': []}}, "paper: unknown key 'AR'"),
        ({**TABLE, 'paper': {'AP': [['1/2', '-'], ['1/2', '-']]}}, 'paper.AP: 2 rows, but the table has 1'),
        ({**TABLE, 'paper': {'AP': [['1/2']]}}, 'has 1 numbers, but the table has 2 columns'),
        ({**TABLE, 'paper': {'AP': [['1', '-']]}}, "paper.AP: '1' must be 2 number(s) such as 38.3 joined by '/'"),
        ({**TABLE, 'paper': {'AP': [['a/b', '-']]}}, "paper.AP: 'a/b' must be 2 number(s) such as 38.3 joined by '/'"),
        (
            {**TABLE, 'metrics': {'AP': {'keys': ['u', 'v'], 'at': {'x': 1}}}},
            "paper.AP: row ['1/2', '-'] has 2 numbers, but the table has 1 columns",
        ),
        ({**TABLE, 'claims': {}}, 'claims: must be a list'),
        ({**TABLE, 'claims': ['better']}, 'claims[0]: must be a mapping'),
        ({**TABLE, 'claims': [CLAIM, CLAIM]}, "claims: id 'c' is there twice"),
        ({**TABLE, 'claims': [CLAIM, without('quote', CLAIM)]}, "claims[1]: key 'quote' is missing"),
        (with_claim(page=4), "claims[0]: unknown key 'page'"),
        (with_claim(compare=[]), 'claims[0].compare: must be a list with something in it'),
        (
            {**TABLE, 'claims': [without('compare', CLAIM)]},
            'claims[0].comparisons: must be a list with something in it, unless there is a threshold',
        ),
        (
            with_claim(best=True, compare=[CLAIM['compare'][0], {**CLAIM['compare'][0], 'is': 'greater'}]),
            'claims[0].best: all comparisons must have the same left side and relation',
        ),
        (
            with_claim(control=True, compare=[CLAIM['compare'][0], {**CLAIM['compare'][0], 'is': 'greater'}]),
            'claims[0].control: all comparisons must have the same right side and relation',
        ),
        (with_claim(control=True, best=True), 'claims[0].control: fits neither best nor more_than'),
        (with_claim(best='yes'), "claims[0].best: must be true or false, not 'yes'"),
        (with_claim(threshold={'compare': []}), "claims[0].threshold: key 'statement' is missing"),
        (with_comparison(size=0), 'claims[0].compare[0].size[0]: must be more than 0.0, not 0'),
        (with_comparison(size=[1, 2]), 'claims[0].compare[0].size: has 2 numbers, but there are 1 comparisons'),
        (with_claim(compare=['a < b']), 'claims[0].compare[0]: must be a mapping'),
        (with_claim(compare=[without('right', CLAIM['compare'][0])]), "claims[0].compare[0]: key 'right' is missing"),
        (with_comparison(than={}), "claims[0].compare[0]: unknown key 'than'"),
        (with_comparison(**{'is': 'more'}), "claims[0].compare[0].is: 'more' must be 'less' or 'greater'"),
        (with_comparison(for_each='x'), 'claims[0].compare[0].for_each: must be a list'),
        (with_comparison(for_each=['z']), "claims[0].compare[0].for_each: there is no axis 'z'; there are x, y"),
        (with_comparison(for_each=['x']), "claims[0].compare[0].left.at: unknown key 'x'"),
        (with_comparison(left={'key': 'w'}), "claims[0].compare[0].left.key: the table does not show 'w'"),
        (with_comparison(right={'minus': 'w'}), "claims[0].compare[0].right.minus: the table does not show 'w'"),
        (with_comparison(left={'add': 'v'}), "claims[0].compare[0].left: unknown key 'add'"),
        (with_comparison(left={'plus': 'v'}), "claims[0].compare[0].left.plus: must be a number, not 'v'"),
        (with_comparison(left={'at': [1]}), 'claims[0].compare[0].left.at: must be a mapping'),
        (with_comparison(left={'at': {'x': 1}}), "claims[0].compare[0].left.at: says nothing of axis 'y'"),
        (with_comparison(right={'at': {'x': 3, 'y': 'n'}}), "right.at: axis x has no value '3'; it has 1, 2"),
        # On the left there is nothing yet that the others could differ from.
        (with_comparison(left={'at': {'x': 'others', 'y': 'n'}}), "left.at: axis x has no value 'others'"),
    ],
)
def test_a_broken_file_is_named(tmp_path, content, says):
    with pytest.raises(UserError) as error:
        load(tmp_path, content)
    message = str(error.value)
    assert says in message and str(tmp_path / 'mine.yaml') in message and '\n' not in message


def test_a_merged_key_is_no_repeated_one(tmp_path):
    """YAML's << is there for keys that the mapping itself replaces."""
    path = tmp_path / 'merged.yaml'
    path.write_text('a: &a {x: 1, y: 2}\nb: &b {<<: *a, x: 3}\nc: {<<: *b, y: 4}\n')
    assert read_yaml(path) == dict(a=dict(x=1, y=2), b=dict(x=3, y=2), c=dict(x=3, y=4))


@pytest.mark.parametrize('name', ['a+b', ' a', '-a', 'a=b'])
def test_a_name_that_no_table_may_have_is_refused(tmp_path, name):
    path = tmp_path / f'{name}.yaml'
    path.write_text(yaml.safe_dump(TABLE))
    with pytest.raises(UserError, match=re.escape(f"{path}: name the file with letters, digits, spaces, '_', '-'")):
        load_table(str(path))
    path.rename(tmp_path / 'Größe 1-2_3.5.yaml')
    assert load_table(str(tmp_path / 'Größe 1-2_3.5.yaml')).name == 'Größe 1-2_3.5'


def test_unknown_table_axis_and_value():
    with pytest.raises(UserError, match="no table 'tabel3'.*Known tables: .*table3"):
        load_table('tabel3')
    with pytest.raises(UserError, match="no axis 'k'; it has t_max, t_min"):
        select(load_table('table3'), [('k', '7')])
    with pytest.raises(UserError, match="no value '0.9'; it has 0.7, 0.6, 0.5, 0.4"):
        select(load_table('table3'), [('t_max', '0.9')])


def test_only_a_comparison_across_tables_names_another_one():
    """Stored plans without such comparisons stay as they are."""
    side = dict(key='u', at={'x': '1'})
    plain = Comparison(left=side, relation='less', right=side)
    assert 'more_than' not in plain.model_dump()
    across = Comparison(
        left=side, relation='less', right=side, more_than=dict(table='t', **plain.model_dump(exclude={'size'}))
    )
    assert Comparison(**across.model_dump(mode='json')) == across and across.more_than.table == 't'


@pytest.mark.parametrize(
    'change, says',
    [
        (dict(table='table55'), "more_than.table: there is no table 'table55'"),
        (dict(left=dict(key='without_nms/AP', at={'method': 'Mine'})), 'is no cell of table5'),
        (dict(left=dict(key='without_nms/mMR', at={'method': 'POTO', 'schedule': '1x'})), 'table5 does not show'),
        (dict(right=dict(key='speed/without_nms/fps', at={'method': 'POTO', 'schedule': '1x'})), 'speeds cannot be'),
    ],
)
def test_a_comparison_with_what_another_table_lacks_is_named(tmp_path, change, says):
    from experiments.spec import table_file

    content = yaml.safe_load((table_file.FOLDER / 'table8.yaml').read_text())
    entry = next(claim for claim in content['claims'] if claim['id'] == 'crowd-advantage-is-larger')
    entry['compare'][0]['more_than'] |= change
    path = tmp_path / 'mine.yaml'
    path.write_text(yaml.safe_dump(content, allow_unicode=True))
    with pytest.raises(UserError, match=re.escape(says)) as caught:
        table_file.load_table(str(path))
    assert 'mine.yaml' in str(caught.value) and '\n' not in str(caught.value)


def test_a_difference_elsewhere_in_a_file_of_one_s_own(tmp_path):
    """``more_than`` may name the file's own table, wherever the file lies."""
    from experiments.spec import table_file

    content = yaml.safe_load((table_file.FOLDER / 'table3.yaml').read_text())
    side = dict(key='without_nms/AP', at={'t_max': '0.6', 't_min': '0.2'})
    other = dict(side, at={'t_max': '0.6', 't_min': '0.4'})
    pair = dict(left=side, right=other, **{'is': 'greater'})
    claim = dict(
        id='more',
        statement='more',
        quote='More.',
        where='section 9',
        compare=[dict(pair, more_than=dict(table='mine', **pair))],
    )
    path = tmp_path / 'mine.yaml'
    path.write_text(yaml.safe_dump({**content, 'claims': [claim]}, allow_unicode=True))
    [read] = table_file.load_table(str(path)).claims
    assert read.comparisons[0].more_than.table == 'mine'
