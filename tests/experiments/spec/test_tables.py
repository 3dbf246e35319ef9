"""The table files are the paper's: their shape, every printed number a second time, and what the paper says of them."""

import itertools
import operator
from decimal import Decimal
from math import prod

import pytest

from experiments.spec.config import resolve
from experiments.spec.schema import READINGS
from experiments.spec.table_file import load_table, table_names

# (lines down, columns across, distinct trainings). FCOS and CondInst with and without NMS are one training.
SHAPES = {
    'table1': (1, 5, 5),
    'table2': (1, 7, 7),
    'table3': (4, 4, 16),
    'table4': (8, 1, 8),
    'table5': (11, 2, 20),
    'table6': (5, 2, 8),
    'table7': (5, 2, 8),
    'table8': (7, 1, 7),
    'table9': (4, 2, 6),
    'fig5': (2, 1, 2),
}

# The tables once more, typed from the paper line by line and not from the table files, the columns in the paper's order
# (the order of metric and schedule stands in ACROSS). Where the scan lost a mark of the NMS column, the text has it:
# the first line of Tables 5 to 9 is read with NMS.
PRINTED = {
    'table1': """
        LA | one-to-one one-to-two t=0.1 t=0.2 t=0.8
        AP | 36.5 25.9 37.2 37.5 25.6
        """,
    'table2': """
        K | 13 11 9 7 5 4 3
        AP | 38.4/38.7 38.5/38.8 38.6/39.0 39.0/39.4 38.9/39.3 38.6/38.9 38.4/38.9
        AP50 | 56.0/58.0 56.0/58.0 56.2/58.0 56.7/58.7 56.8/58.7 56.6/58.5 56.3/58.3
        AP75 | 42.0/42.0 42.0/42.0 42.1/42.0 42.5/42.5 42.4/42.4 42.5/42.2 42.1/41.8
        """,
    'table3': """
        0.4 | 38.3/39.5 38.0/39.5 38.0/39.5 37.9/39.3
        0.3 | 38.8/39.4 38.7/39.4 38.5/39.4 38.6/39.5
        0.2 | 38.9/39.3 39.0/39.3 38.7/39.0 38.4/38.8
        0.1 | 38.8/39.0 38.9/39.1 38.6/38.8 38.3/38.3
        """,
    'table4': """
        Add 0 | 35.3 56.7
        Add 0.6 | 37.9 60.5
        Add 0.8 | 36.7 58.5
        Add 1 | 10.6 49.6
        Multiply 0 | 35.5 56.6
        Multiply 0.6 | 38.1 59.7
        Multiply 0.8 | 39.0 61.2
        Multiply 1 | 10.4 49.4
        """,
    'table5': """
        FCOS o2m ✓ | 38.6 57.2 41.4 59.1 27.7 0.7 35.2
        FCOS o2m ✗ | 17.7 52.9 19.1 54.2 27.7 0 36.1
        POTO o2o ✗ | 36.5 58.9 40.2 61.1 27.7 0 36.1
        POTO+3DMF o2o ✗ | 37.0 58.8 40.5 60.9 30.3 0 33.0
        POTO+3DMF+Aux o2o+o2m(ATSS) ✗ | 37.6 58.7 41.2 61.2 30.3 0 33.0
        POTO+3DMF+Aux o2o+o2m(Top-k) ✗ | 37.6 59.0 41.1 61.3 30.3 0 33.0
        POTO+3DMF+Aux o2o+o2m(FCOS) ✗ | 36.5 58.0 40.3 60.6 30.3 0 33.0
        Ours-1conv o2f ✗ | 38.4 60.5 41.6 63.3 28.1 0 35.6
        Ours-2convs o2f ✗ | 38.7 60.6 42.0 63.5 28.2 0 35.5
        Ours-3convs o2f ✗ | 39.0 61.2 42.2 63.5 28.2 0 35.5
        Hybrid-Epoch (from the text) o2m, then o2o ✗ | 37.3 - 40.6 - - - -
        """,
    'table6': """
        FCOS ✓ | 41.0 59.7 43.5 60.0
        FCOS ✗ | 18.6 54.9 21.2 56.1
        POTO ✗ | 38.6 60.2 42.0 62.9
        POTO+3DMF+Aux ✗ | 39.8 60.3 42.7 61.4
        Ours ✗ | 40.9 62.3 43.8 64.9
        """,
    'table7': """
        FCOS ✓ | 43.6 61.1 46.8 63.7
        FCOS ✗ | 20.7 57.2 23.0 59.6
        POTO ✗ | 40.8 61.6 44.0 64.7
        POTO+3DMF+Aux ✗ | 41.8 61.7 44.8 63.9
        Ours ✗ | 42.9 63.7 46.1 66.7
        """,
    'table8': """
        FCOS authors' ✓ | 86.1 55.2 94.3
        POTO authors' ✗ | 88.7 52.0 96.6
        POTO+3DMF+Aux authors' ✗ | 89.2 49.6 96.6
        FCOS DeFCN's ✓ | - - -
        POTO DeFCN's ✗ | - - -
        POTO+3DMF+Aux DeFCN's ✗ | - - -
        Ours authors' ✗ | 90.9 45.2 97.9
        """,
    'table9': """
        CondInst ✓ | 35.4 51.7 38.1 53.6
        CondInst ✗ | 9.5 45.1 10.7 47.5
        POTO ✗ | 32.8 52.2 36.1 54.6
        Ours ✗ | 35.9 53.9 38.0 61.3
        """,
}
BY_SCHEDULE = [('AP', '1x'), ('AR', '1x'), ('AP', '3x'), ('AR', '3x')]
ACROSS = {
    'table3': [('AP', '0.7'), ('AP', '0.6'), ('AP', '0.5'), ('AP', '0.4')],
    'table4': [('AP',), ('AR',)],
    'table5': [*BY_SCHEDULE, ('forward(ms)', '1x'), ('NMS(ms)', '1x'), ('FPS', '1x')],
    'table6': BY_SCHEDULE,
    'table7': BY_SCHEDULE,
    'table8': [('AP↑',), ('mMR↓',), ('Recall↑',)],
    'table9': BY_SCHEDULE,
}

# Comparisons that the paper states and its own numbers contradict, with the reason.
CONTRADICTED = {
    ('table3', 'increasing-t-min-decreases'): (
        ['t_max=0.6 t_min=0.2 less t_max=0.6 t_min=0.1'],
        'at T^max 0.6 the paper prints 38.9 for T^min 0.1 and 39.0 for 0.2, its best',
    ),
}
# Claims with a comparison for which the paper prints no numbers.
NOT_PRINTED = {
    ('table4', 'iou-alone-duplicates'): 'the gap with NMS, but Table 4 has no results with NMS',
}


def positions(table, names):
    """All positions of the axes ``names``, in order."""
    return [dict(zip(names, values)) for values in itertools.product(*(table.axes[name].values for name in names))]


def cell_at(table, at):
    (cell,) = (cell for cell in table.cells if cell.at == at)
    return cell


def lines_by_metric(table):
    """Tables 1 and 2 have a line for each metric, under one of the axis's values."""
    (axis,) = table.axes.values()
    header = f'{axis.label} | {" ".join(value.label for value in axis.values.values())}'
    return [header, *(f'{name} | {" ".join(cell.paper[name] for cell in table.cells)}' for name in table.metrics)]


def lines_by_row(table, across):
    """The other tables have a line for each value of the axes down the side."""
    lines = []
    for row in positions(table, table.rows):
        shown = [table.axes[axis].values[name] for axis, name in row.items()]
        words = [word for value in shown for word in (value.label, *value.describe)]
        cells = [cell_at(table, {**row, **dict(zip(table.columns, place))}) for _, *place in across]
        lines.append(f'{" ".join(words)} | {" ".join(cell.paper[metric[0]] for cell, metric in zip(cells, across))}')
    return lines


def transcribed(name):
    return [line.strip() for line in PRINTED[name].strip().splitlines()]


def test_there_is_a_file_for_every_table():
    assert set(table_names()) == set(SHAPES)
    assert set(PRINTED) == set(SHAPES) - {'fig5'}


@pytest.mark.parametrize('name', SHAPES)
def test_shape(name):
    table = load_table(name)
    down, across = (prod(len(table.axes[axis].values) for axis in side) for side in (table.rows, table.columns))
    settings = {repr((cell.use, sorted(cell.overrides.items()))) for cell in table.cells}
    assert (down, across, len(settings)) == SHAPES[name] and len(table.cells) == down * across
    assert table.title and table.caption and table.source and table.setting


@pytest.mark.parametrize('name', PRINTED)
def test_every_printed_number(name):
    table = load_table(name)
    lines = lines_by_row(table, ACROSS[name]) if name in ACROSS else lines_by_metric(table)
    assert lines == transcribed(name)


def test_no_number_is_left_out():
    """The lines above show each number of the files, and there are as many as the paper prints."""
    headers = {'table1': 1, 'table2': 1}
    printed = {
        name: ' '.join(line.split(' | ')[1] for line in transcribed(name)[headers.get(name, 0) :]) for name in PRINTED
    }
    counts = {name: sum(text != '-' for text in line.replace('/', ' ').split()) for name, line in printed.items()}
    held = {}
    for name in SHAPES:
        texts = [text for cell in load_table(name).cells for text in cell.paper.values()]
        held[name] = sum(len(text.split('/')) for text in texts if text != '-')
    assert held == {**counts, 'fig5': 0}
    # Table 5: ten lines of seven numbers, and two of Hybrid-Epoch's.
    assert list(counts.values()) == [5, 42, 32, 16, 72, 20, 20, 12, 16]


def test_the_printed_values_are_what_is_set():
    """A value's label in the tables of a single setting is the value that its cells set."""
    for name, key in (('table2', 'selection.k'), ('table3', 'degrees.t_max'), ('table3', 'degrees.t_min')):
        axis = key.split('.')[1]
        for cell in load_table(name).cells:
            assert str(cell.overrides[f'model.bbox_head.{key}']) == cell.at[axis]
    for cell in load_table('table4').cells:
        assert str(cell.overrides['model.bbox_head.selection.alpha']) == cell.at['alpha']
        assert cell.overrides['model.bbox_head.selection.metric'] == cell.at['metric'].lower()
    for convs, name in enumerate(('Ours-1conv', 'Ours-2convs'), start=1):
        cell = cell_at(load_table('table5'), {'method': name, 'schedule': '1x'})
        assert cell.overrides == {'model.bbox_head.centerness_convs': convs}


@pytest.mark.parametrize('name', ['table5', 'table6', 'table7', 'table8', 'table9'])
def test_the_reading_is_that_of_the_nms_column(name):
    table = load_table(name)
    method = table.axes['method']
    column = method.describe.index('NMS')
    for cell in table.cells:
        mark = method.values[cell.at['method']].describe[column]
        reading = {'✓': 'with_nms', '✗': 'without_nms'}[mark]
        assert cell.keys and all(reading in key.split('/') for keys in cell.keys.values() for key in keys)


def test_what_the_paper_does_not_print_is_still_measured():
    table = load_table('table8')
    assert all(cell.keys['JI↑'][0].endswith('/JI') and 'JI↑' not in cell.paper for cell in table.cells)


# -- claims ----------------------------------------------------------------------------------------


def printed_number(table, key, at):
    """The paper's number for a stored metric of a cell; None where it prints none."""
    cell = cell_at(table, at)
    for metric, keys in cell.keys.items():
        if key in keys and cell.paper.get(metric, '-') != '-':
            return Decimal(cell.paper[metric].split('/')[keys.index(key)])
    return None


def printed_quantity(table, quantity):
    numbers = [printed_number(table, key, quantity.at) for key in (quantity.key, quantity.minus) if key is not None]
    if None in numbers or quantity.epoch is not None:
        return None
    return Decimal(str(quantity.times)) * (numbers[0] - sum(numbers[1:]))


def judge(table, comparison):
    """Whether the paper's numbers agree; None where it prints none for a side."""
    left, right = (printed_quantity(table, side) for side in (comparison.left, comparison.right))
    if left is None or right is None:
        return None
    return {'less': operator.lt, 'greater': operator.gt}[comparison.relation](left, right)


def in_words(comparison):
    left, right = (
        ' '.join(f'{axis}={name}' for axis, name in side.at.items()) for side in (comparison.left, comparison.right)
    )
    return f'{left} {comparison.relation} {right}'


CLAIMS = [(name, claim) for name in SHAPES for claim in load_table(name).claims]


def test_every_table_has_claims():
    assert {name for name, _ in CLAIMS} == set(SHAPES)
    ids = [claim.id for _, claim in CLAIMS]
    assert len(set(ids)) == len(ids)
    assert set(CONTRADICTED) | set(NOT_PRINTED) <= {(name, claim.id) for name, claim in CLAIMS}


@pytest.mark.parametrize('name, claim', CLAIMS, ids=[f'{name}-{claim.id}' for name, claim in CLAIMS])
def test_the_papers_numbers_agree_with_its_claims(name, claim):
    table = load_table(name)
    verdicts = [(comparison, judge(table, comparison)) for comparison in claim.comparisons]
    contradicted, _ = CONTRADICTED.get((name, claim.id), ([], ''))
    assert [in_words(comparison) for comparison, agrees in verdicts if agrees is False] == contradicted
    lacking = [agrees is None for _, agrees in verdicts]
    if name == 'fig5':  # the figure prints no numbers
        assert all(lacking)
    else:
        assert not all(lacking) and any(lacking) == ((name, claim.id) in NOT_PRINTED)


@pytest.mark.parametrize('name, claim', CLAIMS, ids=[f'{name}-{claim.id}' for name, claim in CLAIMS])
def test_a_claim_can_fail_and_says_where_it_stands(name, claim):
    assert claim.comparisons and claim.statement and claim.where
    assert all(comparison.left != comparison.right for comparison in claim.comparisons)
    assert claim.quote.endswith('.') and not set(claim.quote) & set('$\\{}\n')


def test_best_means_better_than_every_other_cell():
    claims = {claim.id: claim for _, claim in CLAIMS}
    for claim_id, others in (('k-7-is-best', 6), ('t-max-0.6-t-min-0.2-is-best', 15), ('multiply-beats-add', 4)):
        places = [in_words(comparison) for comparison in claims[claim_id].comparisons]
        assert len(set(places)) == len(places) == others


# -- runs that several tables share ----------------------------------------------------------------


def run_id(name, at, profile='desk'):
    cell = cell_at(load_table(name), at)
    return resolve(profile, cell.use, cell.overrides, 0, name).id


def test_the_default_is_one_training_in_four_tables():
    cells = [
        ('table2', {'k': '7'}),
        ('table3', {'t_max': '0.6', 't_min': '0.2'}),
        ('table4', {'metric': 'Multiply', 'alpha': '0.8'}),
        ('table5', {'method': 'Ours-3convs', 'schedule': '1x'}),
    ]
    assert all(cell_at(load_table(name), at).use == () for name, at in cells)
    assert len({run_id(name, at) for name, at in cells}) == 1
    # Their neighbours are other trainings.
    others = [('table2', {'k': '5'}), ('table4', {'metric': 'Add', 'alpha': '0.8'})]
    assert run_id(*cells[0]) not in {run_id(*other) for other in others}


@pytest.mark.parametrize('profile, shared', [('paper', True), ('desk', False)])
def test_fig5_trains_anew_where_few_images_are_evaluated_before_the_end(profile, shared):
    for method, cell in (('o2o', ('table1', {'la': 'one-to-one'})), ('o2f', ('table2', {'k': '7'}))):
        assert (run_id('fig5', {'method': method}, profile) == run_id(*cell, profile)) == shared


@pytest.mark.parametrize(
    'name, method', [('table5', 'FCOS'), ('table6', 'FCOS'), ('table7', 'FCOS'), ('table9', 'CondInst')]
)
def test_both_readings_are_of_one_training(name, method):
    table = load_table(name)
    for schedule in ('1x', '3x'):
        rows = (method, f'{method}-NMS')
        without, with_nms = (cell_at(table, {'method': row, 'schedule': schedule}) for row in rows)
        assert (without.use, without.overrides) == (with_nms.use, with_nms.overrides)
        assert set(without.keys) == set(with_nms.keys)
        for metric, keys in without.keys.items():
            assert [key.replace(*READINGS) for key in keys] == list(with_nms.keys[metric])
