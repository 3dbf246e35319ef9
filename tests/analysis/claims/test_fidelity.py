"""The differences that the paper prints against the measured ones."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau, pearsonr
from stored_files import run_id

from analysis.claims import fidelity
from analysis.claims.fidelity import agreement, measured_differences, printed_pairs
from analysis.figures.fidelity import files
from analysis.results import load_plan


def differences(number=40, seed=0):
    """Made-up differences of nine trainings."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 30, number) / 10
    pairs = [' '.join(dict.fromkeys(f'run{i}' for i in rng.integers(0, 9, 2))) for _ in range(number)]
    return pd.DataFrame(dict(trainings=pairs, paper=x, measured=(0.7 * x + rng.normal(0, 1, number)).round(1)))


def doubled(frame, times=None):
    """Each difference in both directions, as often as ``times`` says."""
    x, y = (np.repeat(frame[name].to_numpy(), times if times is not None else 1) for name in ('paper', 'measured'))
    return np.concatenate([x, -x]), np.concatenate([y, -y])


def test_pairs_stand_in_a_row_a_column_or_a_cell(store):
    """Of 2 x 2 cells with two numbers each: 4 neighbours without NMS, 4 with NMS, and 4 gaps."""
    store.plan()
    pairs = printed_pairs(load_plan(store.runs, 'desk', 'table3'))
    assert len(pairs) == 12
    gaps = [pair for pair in pairs if pair[0].cell is pair[1].cell]
    assert len(gaps) == 4 and all({number.place for number in pair} == {0, 1} for pair in gaps)
    others = [pair for pair in pairs if pair not in gaps]
    assert all(left.key == right.key for left, right in others)
    assert all(sum(left.cell.at[axis] != right.cell.at[axis] for axis in left.cell.at) == 1 for left, right in others)


def test_cells_of_one_training_are_no_pair(store):
    plan = store.plan()
    plan['cells'][1]['runs'] = plan['cells'][0]['runs']
    store.write('desk/tables/table3.json', json.dumps(plan))
    pairs = printed_pairs(load_plan(store.runs, 'desk', 'table3'))
    assert len(pairs) == 10 and sum(left.cell is right.cell for left, right in pairs) == 4


def test_differences_are_those_of_the_stored_means(store):
    store.plan(seeds=(0, 1))
    values = np.random.default_rng(0).uniform(0.3, 0.4, (4, 2, 2))  # cell, seed, reading
    for number, cell in enumerate(values):
        for seed, pair in enumerate(cell):
            store.result(number, *pair, seed=seed)
    frame = measured_differences(store.runs, 'desk')
    assert len(frame) == 12 and (frame['paper'] >= 0).all()
    [row] = frame[(frame['left'] == 'without_nms/AP t_min=0.2 t_max=0.6')
                  & (frame['right'] == 'without_nms/AP t_min=0.4 t_max=0.6')].to_dict('records')  # fmt: skip
    assert row['paper'] == pytest.approx(1.0) and row['trainings'] == f'{run_id(3)} {run_id(1)}'
    assert row['measured'] == pytest.approx(100 * (values[3, :, 0] - values[1, :, 0]).mean(), abs=1e-3)
    assert row['low'] < row['measured'] < row['high']
    content = json.loads(files(store.runs, 'desk')['json'])['agreement']
    assert [each['differences_of'] for each in content][:4] == ['all', 'all', 'those of both', 'those of both']
    assert content[1]['differences'] == content[3]['differences'] == 12  # the desk before has all of Table 3


def test_statistics_are_those_of_differences_in_both_directions():
    frame = differences()
    found = agreement(frame)
    x, y = doubled(frame)
    assert found.kendall.value == pytest.approx(kendalltau(x, y).statistic)
    assert found.pearson.value == pytest.approx(pearsonr(x, y).statistic)
    assert found.slope.value == pytest.approx(np.polyfit(x, y, 1)[0])
    clear = frame[frame['paper'] > 0.5]
    assert found.signs.value == pytest.approx((clear['measured'] > 0).mean()) and found.clear == len(clear)
    turned = frame.assign(measured=-frame['measured'], paper=-frame['paper'])
    assert agreement(turned).kendall.value == pytest.approx(found.kendall.value)
    for value in (found.kendall, found.pearson, found.slope, found.signs):
        assert value.low < value.value < value.high


def test_the_bootstrap_draws_trainings(monkeypatch):
    """With the differences repeated as often as each draw says, the statistics are those of the repeated ones."""
    frame = differences(25, seed=3)
    monkeypatch.setattr(fidelity, '_DRAWS', 20)
    weights = fidelity._draws(frame['trainings'])
    drawn = np.random.default_rng(0).multinomial(9, [1 / 9] * 9, 20)
    order = list(dict.fromkeys(' '.join(frame['trainings']).split()))
    for row, counts in zip(weights, drawn):
        of = dict(zip(order, counts))
        assert list(row) == [np.prod([of[run] for run in pair.split()]) for pair in frame['trainings']]
    expected = [kendalltau(*doubled(frame, row.astype(int))).statistic for row in weights]
    ours = fidelity._kendall(frame['paper'].to_numpy(), frame['measured'].to_numpy(), weights)
    assert ours == pytest.approx(expected)


def test_a_table_of_one_difference_has_no_interval_of_what_is_not_defined():
    found = agreement(pd.DataFrame(dict(trainings=['a b'], paper=[0.0], measured=[1.0])))
    assert np.isnan(found.slope.value) and np.isnan(found.signs.value) and found.content()['slope']['value'] is None
