"""Stored files that are not as they should be: a broken plan is an error, a broken result a warning and a dash."""

import json

import pytest
from stored_files import axis, metric, run_id

from analysis import results
from analysis.tables import render
from experiments.store.errors import UserError

GOOD = {'commit': None, 'dirty': False, 'device': 'cpu'}
BROKEN_RESULTS = {
    'another schema': (dict(schema=2), 'schema is 2, but 1 belongs here'),
    'another run': (dict(run='0' * 12), "run is '000000000000', but '000001000000' belongs here"),
    'another seed': (dict(seed=3), 'seed is 3, but 0 belongs here'),
    'another profile': (dict(profile='smoke'), "profile is 'smoke', but 'desk' belongs here"),
    'no metrics': (dict(metrics=None), 'metrics: must be a mapping, not None'),
    'no device': (dict(provenance={'commit': None, 'dirty': False}), "provenance: key 'device' is missing"),
    'a commit that is a number': (dict(provenance=dict(GOOD, commit=5)), 'provenance.commit: must be text, not 5'),
}
BROKEN_METRICS = {
    'text': ({'without_nms/AP': '0.2'}, "metrics.without_nms/AP: must be a number, not '0.2'"),
    'a truth value': ({'without_nms/AP': True}, 'not True'),
    'percent': ({'without_nms/AP': 27.1}, 'metric without_nms/AP must be a fraction from 0 to 1, not 27.1'),
    'minus one': ({'with_nms/AP': -1}, 'metric with_nms/AP must be a fraction from 0 to 1, not -1.0'),
    'NaN': ({'with_nms/AP': float('nan')}, 'metrics.with_nms/AP: must be a finite number, not nan'),
    'infinite, of a metric that no cell shows': ({'loss': 1e999}, 'metrics.loss: must be a finite number, not inf'),
}
BROKEN_TEXTS = {
    'empty': ('', 'is not JSON'),
    'half': ('{"schema": 1, "ru', 'is not JSON'),
    'deep': ('[' * 100000, 'is not JSON'),
    'a list': ('[]', 'must be a mapping'),
    'null': ('null', 'must be a mapping, not None'),
    'no keys': ('{}', "key 'schema' is missing"),
}


def check_second_cell_is_left_out(store, reason):
    plan = results.load_plan(store.runs, 'desk', 'table3')
    found = results.load_results(store.runs, 'desk', plan)
    path = store.runs / 'desk' / run_id(1) / 'result.json'
    assert len(found.warnings) == 1 and '\n' not in found.warnings[0]
    assert found.warnings[0].startswith(f'{path}: ') and reason in found.warnings[0]
    assert sorted(found.runs) == [run_id(0), run_id(2), run_id(3)]
    assert '| 0.4       | 27.1/28.1 | –         |' in render.render(plan, found)
    assert found.missing_cells == 1


@pytest.mark.parametrize('case', BROKEN_RESULTS)
def test_a_result_with_wrong_content_is_named_and_left_out(full, case):
    changes, reason = BROKEN_RESULTS[case]
    content = full.result(1, 0.2, 0.3)
    full.write(f'desk/{run_id(1)}/result.json', json.dumps({**content, **changes}))
    check_second_cell_is_left_out(full, reason)


@pytest.mark.parametrize('case', BROKEN_METRICS)
def test_a_result_with_a_wrong_metric_is_named_and_left_out(full, case):
    metrics, reason = BROKEN_METRICS[case]
    full.result(1, 0.2, 0.3, metrics=metrics)
    check_second_cell_is_left_out(full, reason)


def test_of_a_result_without_a_metric_of_the_table_that_metric_is_left_out(full):
    content = full.result(1, 0.2, 0.3)
    del content['metrics']['with_nms/AP']
    full.write(f'desk/{run_id(1)}/result.json', json.dumps(content))
    plan = results.load_plan(full.runs, 'desk', 'table3')
    found = results.load_results(full.runs, 'desk', plan)
    [warning] = found.warnings
    path = full.runs / 'desk' / run_id(1) / 'result.json'
    assert warning.startswith(f'{path}: metric with_nms/AP is missing: correct the table file')
    assert '| 0.4       | 27.1/28.1 | 20.0/–    |' in render.render(plan, found)
    assert found.missing_cells == 1 and sorted(found.runs) == [run_id(number) for number in range(4)]
    lacking = [(run, key) for run in plan.runs for key in plan.keys(run) if found.lacks(run, key)]
    assert lacking == [(run_id(1), 'with_nms/AP')]
    assert found.lacks('f' * 12, 'with_nms/AP') and not found.lacks(run_id(1), 'without_nms/APl')  # undefined


@pytest.mark.parametrize('case', BROKEN_TEXTS)
def test_a_result_that_is_no_result_is_named_and_left_out(full, case):
    text, reason = BROKEN_TEXTS[case]
    full.write(f'desk/{run_id(1)}/result.json', text)
    check_second_cell_is_left_out(full, reason)


@pytest.mark.parametrize('key', ['schema', 'run', 'profile', 'seed', 'metrics', 'provenance'])
def test_a_result_without_a_key_is_named_and_left_out(full, key):
    content = full.result(1, 0.2, 0.3)
    del content[key]
    full.write(f'desk/{run_id(1)}/result.json', json.dumps(content))
    check_second_cell_is_left_out(full, f'the file: key {key!r} is missing')


def test_a_result_that_is_not_text_or_not_a_file_is_named_and_left_out(full):
    path = full.runs / 'desk' / run_id(1) / 'result.json'
    path.write_bytes(b'\xff\xfe\x00')
    check_second_cell_is_left_out(full, 'is not JSON')
    path.unlink()
    path.mkdir()
    check_second_cell_is_left_out(full, 'cannot be read (Is a directory)')


BROKEN_SPEEDS = {
    'another schema': (dict(schema=2), 'schema is 2, but 1 belongs here'),
    'another run': (dict(run=run_id(2)), f"run is '{run_id(2)}', but '{run_id(0)}' belongs here"),
    'no device': (dict(device=None), 'device: must be text, not None'),
    'no width': (dict(image=[96]), 'image: key 1 is missing'),
    'half a pixel': (dict(image=[96, 0.5]), 'image[1]: must be a whole number, not 0.5'),
    'text': ('20 ms', "metrics.speed/with_nms/fps: must be a number, not '20 ms'"),
    'less than nothing': (-1, 'metric speed/with_nms/fps must be 0 or more, not -1.0'),
    'NaN': (float('nan'), 'metrics.speed/with_nms/fps: must be a finite number, not nan'),
}


@pytest.mark.parametrize('case', [*BROKEN_SPEEDS, 'half a file'])
def test_a_broken_speed_is_named_and_left_out_and_the_result_beside_it_stays(store, case):
    changes, reason = BROKEN_SPEEDS.get(case, ({}, 'is not JSON'))
    store.table5()
    for run in range(4):
        store.result(run, 0.2, 0.3, metrics={'without_nms/AR': 0.4, 'with_nms/AR': 0.5})
    content, _ = store.speed(0, 8.0), store.speed(2, 8.0)
    if not isinstance(changes, dict):
        changes = {'metrics': {**content['metrics'], 'speed/with_nms/fps': changes}}
    text = json.dumps({**content, **changes})
    store.write(f'desk/{run_id(0)}/speed.json', text[:40] if case == 'half a file' else text)
    plan = results.load_plan(store.runs, 'desk', 'table5')
    found = results.load_results(store.runs, 'desk', plan)
    path = store.runs / 'desk' / run_id(0) / 'speed.json'
    assert len(found.warnings) == 1 and '\n' not in found.warnings[0]
    assert found.warnings[0].startswith(f'{path}: ') and reason in found.warnings[0]
    assert len(found.runs) == 4 and list(found.speeds) == [run_id(2)]
    assert found.missing_cells == 2  # both rows of FCOS


def test_cells_that_share_a_run_share_its_number(store):
    plan = store.plan()
    for cell in plan['cells']:
        cell['runs'] = {'0': run_id(0)}
    store.plan(cells=plan['cells'])
    store.result(0, 0.1, 0.2)
    loaded = results.load_plan(store.runs, 'desk', 'table3')
    found = results.load_results(store.runs, 'desk', loaded)
    text = render.render(loaded, found)
    assert text.count('10.0/20.0') == 4 and '1 of 1 runs' in text
    store.write(f'desk/{run_id(0)}/result.json', '')
    assert len(results.load_results(store.runs, 'desk', loaded).warnings) == 1


AT = {'t_min': '0.4', 't_max': '0.7'}
CELL = {'at': AT, 'keys': {'AP': ['without_nms/AP', 'with_nms/AP']}, 'paper': {}, 'runs': {'0': 'a'}}
AXIS = axis('t_min', 'T^min', '0.4', '0.2', NMS='✓✗')


@pytest.mark.parametrize(
    'changes, reason',
    [
        (dict(schema=2), 'schema is 2, but 3 belongs here'),
        (dict(table='table4'), "table is 'table4'"),
        (dict(title=None), 'title: must be text, not None'),
        (dict(rows={}), 'rows: must be a list, not {}'),
        (dict(rows=['t_min', 't_max']), 'rows and columns must name each axis once (t_min, t_max)'),
        (dict(axes={'t_min': {'name': 't_min'}}), "axes.t_min: key 'label' is missing"),
        (dict(axes={'t_min': {**AXIS, 'values': {}}}), 'axes.t_min.values: must be a mapping with something in it'),
        (dict(axes={'t_min': {**AXIS, 'describe': []}}), 'axes.t_min: values.0.4.describe must have 0 texts'),
        (dict(axes={'t_min': {**AXIS, 'describe': [1]}}), 'axes.t_min.describe[0]: must be text, not 1'),
        (dict(metrics={}), 'metrics: must be a mapping with something in it'),
        (dict(metrics={'AP': ['without_nms/AP']}), 'metrics.AP: must be a mapping'),
        (dict(metrics={'AP': metric()}), 'metrics.AP.keys: must be a list with something in it'),
        (dict(metrics={'AP': metric('AP', t_max='9')}), "metrics.AP.at is no place in the table: {'t_max': '9'}"),
        (dict(metrics={'AP': metric('AP', k='7')}), "metrics.AP.at is no place in the table: {'k': '7'}"),
        (dict(cells=[{**CELL, 'at': {'t_min': '9'}}]), 'cells[0].at is no place in the table'),
        (dict(cells=[CELL, {**CELL, 'keys': {'AR': ['AR']}}]), 'cells[1].keys.AR does not fit what metrics gives'),
        (dict(cells=[{**CELL, 'keys': {'AP': ['AP']}}]), 'cells[0].keys.AP does not fit what metrics gives'),
        (dict(cells=[{**CELL, 'keys': {'AP': 'AP'}}]), 'cells[0].keys.AP: must be a list'),
        (dict(cells=[{**CELL, 'runs': {'0': 5}}]), 'cells[0].runs.0: must be text, not 5'),
        (dict(cells=[{**CELL, 'runs': {'x': 'a'}}]), 'cells[0].runs: key'),
        (dict(claims={}), 'claims: must be a list'),
    ],
)
def test_a_broken_plan_is_an_error_that_names_file_and_command(store, changes, reason):
    store.write('desk/tables/table3.json', json.dumps({**store.plan(), **changes}))
    with pytest.raises(UserError) as error:
        results.load_plan(store.runs, 'desk', 'table3')
    path = store.runs / 'desk' / 'tables' / 'table3.json'
    assert str(error.value).startswith(f'{path}: ') and reason in str(error.value)
    assert str(error.value).endswith(f'delete it and run python experiments/run.py table3 --runs {store.runs} again')


def test_what_a_result_needs_is_what_its_cells_show(store):
    """Another cell's metrics may be missing; a metric that is no fraction may be there as long as no cell shows it."""
    content = store.plan()
    content['cells'][1]['keys'] = {'AP': ['without_nms/loss', 'with_nms/AP']}
    store.plan(cells=content['cells'])
    store.result(0, 0.1, 0.2, metrics={'without_nms/loss': 3.5})
    store.result(1, 0.1, 0.2, metrics={'without_nms/loss': 3.5})
    plan = results.load_plan(store.runs, 'desk', 'table3')
    found = results.load_results(store.runs, 'desk', plan)
    assert list(found.runs) == [run_id(0)] and 'without_nms/loss must be a fraction' in found.warnings[0]


def test_the_command_to_run_names_only_what_is_not_the_default(store):
    assert results.command(results.RUNS, 'desk', 'table1') == 'python experiments/run.py table1'
    assert results.command(results.RUNS, 'smoke', 'table1') == 'python experiments/run.py table1 --profile smoke'
