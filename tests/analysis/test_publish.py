"""publish.py copies what is finished, keeps what is published, and leaves the rest where it is."""

import json
import subprocess
import sys

import pytest
import stored_claims
from stored_files import ROOT, run_id

from analysis.results import load_plan, load_results
from experiments.store.configs import config_text, read_config


@pytest.fixture
def publish(store, tmp_path):
    """publish(*args): runs the command line on the store, into <tmp>/results."""

    def publish(*args):
        command = [sys.executable, str(ROOT / 'analysis' / 'publish.py'), *args]
        command += ['--runs', str(store.runs), '--to', str(tmp_path / 'results')]
        return subprocess.run(command, capture_output=True, text=True, cwd='/')

    publish.target = tmp_path / 'results' / 'desk'
    return publish


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_finished_runs_go_with_a_plan_of_them_alone(full, publish):
    full.write(f'desk/{run_id(0)}/metrics.json', '{}')
    full.write(f'desk/{run_id(0)}/epoch_12.pth', 'weights')
    full.write(f'desk/{run_id(0)}/worker.log', 'log')
    full.detections()
    (full.runs / 'desk' / run_id(3) / 'result.json').unlink()
    done = publish('table3')
    assert done.returncode == 0 and done.stdout == 'table3: 3 runs published, 3 are there, 1 missing\n'
    assert names(publish.target) == [run_id(0), run_id(1), run_id(2), 'captures', 'tables']
    assert names(publish.target / 'captures') == ['fig7.npz']
    assert names(publish.target / run_id(0)) == ['metrics.json', 'result.json']
    plan = load_plan(publish.target.parent, 'desk', 'table3')
    assert [cell.runs for cell in plan.cells] == [{0: run_id(0)}, {0: run_id(1)}, {0: run_id(2)}, {}]
    assert not load_results(publish.target.parent, 'desk', plan).warnings
    again = publish()
    assert again.stdout == 'table3: 0 runs published, 3 are there, 1 missing\n'


def test_seeds_of_another_machine_stay(full, publish):
    publish()
    full.plan(seeds=(1,))
    full.all_results(seed=1)
    publish()
    plan = load_plan(publish.target.parent, 'desk', 'table3')
    assert [sorted(cell.runs) for cell in plan.cells] == [[0, 1]] * 4


def test_a_training_of_several_tables_has_the_same_seeds_in_each(full, publish):
    """Table 3 has seed 0 of every cell; another table has seeds 1 and 2 of the first, and one of them is in common."""
    full.plan(seeds=(0,))
    plan = json.loads((full.runs / 'desk/tables/table3.json').read_text())
    plan['table'], plan['cells'] = 'table2', plan['cells'][:1]
    plan['cells'][0]['runs'] = {str(seed): run_id(0, seed) for seed in (0, 2, 1)}
    full.write('desk/tables/table2.json', json.dumps(plan))
    full.result(0, 0.3, 0.3, seed=1)
    full.result(0, 0.3, 0.3, seed=2)
    assert publish().returncode == 0
    for name, seeds in (('table2', [[0, 1, 2]]), ('table3', [[0, 1, 2], [0], [0], [0]])):
        assert [list(cell.runs) for cell in load_plan(publish.target.parent, 'desk', name).cells] == seeds


@pytest.mark.parametrize(
    'now',
    [
        dict(overrides={'optim_wrapper.optimizer.lr': 0.1}, runs={'0': 'abcdefabcdef'}),
        dict(overrides={'optim_wrapper.optimizer.lr': 0.1}, runs={'3': 'abcdefabcdef'}),
        dict(runs={'0': 'abcdefabcdef'}),
    ],
    ids=['table', 'table, no seed in common', 'profile or data'],
)
def test_runs_of_other_settings_are_not_mixed(full, publish, now):
    """What a cell trains has changed since three seeds were published; then one seed is trained."""
    full.plan(seeds=(0, 1, 2))
    for seed in (1, 2):
        full.all_results(seed=seed)
    publish()
    path = full.runs / 'desk/tables/table3.json'
    plan = json.loads(path.read_text())
    plan['cells'][0].update(now)
    path.write_text(json.dumps(plan))
    done = publish()
    assert done.returncode == 0 and 'the published runs have other settings and are left out' in done.stderr
    assert [len(cell.runs) for cell in load_plan(publish.target.parent, 'desk', 'table3').cells] == [0, 3, 3, 3]


def test_two_runs_of_one_seed(full, publish):
    """Tables that contradict each other; one line says so."""
    full.plan(seeds=(0,))
    plan = json.loads((full.runs / 'desk/tables/table3.json').read_text())
    plan['table'], plan['cells'] = 'table2', plan['cells'][:2]
    for cell, runs in zip(plan['cells'], ({0: run_id(0), 1: run_id(1)}, {0: run_id(1), 1: run_id(2)})):
        cell['runs'] = runs
    full.write('desk/tables/table2.json', json.dumps(plan))
    done = publish()
    assert done.returncode == 2 and 'are both seed 0; publish' in done.stderr and 'Traceback' not in done.stderr


def test_a_published_run_is_replaced_only_on_demand(full, publish):
    publish()
    full.result(0, 0.5, 0.5)
    path = publish.target / run_id(0) / 'result.json'
    publish()
    assert json.loads(path.read_text())['metrics']['without_nms/AP'] == 0.271
    publish('--replace')
    assert json.loads(path.read_text())['metrics']['without_nms/AP'] == 0.5


def test_a_speed_measured_since_follows_its_run_and_no_other(full, publish):
    publish()
    full.speed(0, 20.0)
    full.speed(1, 20.0)
    full.result(1, 0.5, 0.5)  # another training of run 1 than the published one
    assert publish().stdout == 'table3: 0 runs published, 4 are there, 1 measured again since\n'
    assert 'speed.json' in names(publish.target / run_id(0)) and 'speed.json' not in names(publish.target / run_id(1))
    assert publish().stdout == 'table3: 0 runs published, 4 are there\n'


def test_groups_of_images_go_with_their_run(store, publish):
    stored_claims.write_plan(store)
    stored_claims.write_run(store, 0, 0.5)
    assert publish().returncode == 0
    assert names(publish.target / run_id(0)) == ['image_groups.json', 'result.json']


def test_a_profile_of_ones_own_goes_with_its_runs(full, publish):
    publish()
    assert not (publish.target / 'desk.py').exists()
    full.write('desk/desk.py', "base = 'smoke'\n")
    publish()
    assert (publish.target / 'desk.py').read_text() == "base = 'smoke'\n"


def test_configs_are_published_as_differences_from_the_base_of_their_table(full, publish):
    configs = {run_id(0): dict(model=dict(type='FCOS', k=7), lr=1), run_id(1): dict(model=dict(type='FCOS', k=4), lr=1)}
    for run, config in configs.items():
        full.write(f'desk/{run}/config.py', config_text(config))
    assert publish().returncode == 0
    base = publish.target / 'tables' / 'table3.py'
    assert base.read_text() == config_text(configs[run_id(0)])
    inherits = "_base_ = '../tables/table3.py'\n"
    assert (publish.target / run_id(0) / 'config.py').read_text() == inherits
    assert (publish.target / run_id(1) / 'config.py').read_text() == inherits + "model = {'k': 4}\n"
    assert {run: read_config(publish.target / run / 'config.py') for run in configs} == configs
    full.write(f'desk/{run_id(0)}/config.py', 'lr = open("x")\n')
    done = publish('--replace')
    assert done.returncode == 2 and done.stderr.count('\n') == 1 and 'config.py: is no config of a run' in done.stderr


def test_the_base_has_no_setting_that_another_run_lacks(full, publish):
    configs = {run_id(0): dict(model=dict(k=7), unused=True), run_id(1): dict(model=dict(k=7))}
    for run, config in configs.items():
        full.write(f'desk/{run}/config.py', config_text(config))
    assert publish().returncode == 0
    texts = {run: (publish.target / run / 'config.py').read_text() for run in configs}
    inherits = "_base_ = '../tables/table3.py'\n"
    assert texts == {run_id(0): inherits + 'unused = True\n', run_id(1): inherits}


def test_broken_and_uncommitted_runs_stay_behind(full, publish):
    good = full.result(0, 0.2, 0.3)
    full.result(1, 0.2, 0.3, provenance=dict(good['provenance'], dirty=True))
    full.write(f'desk/{run_id(2)}/result.json', '{"schema": 1')
    done = publish()
    assert done.returncode == 0 and names(publish.target) == [run_id(0), run_id(3), 'tables']
    said = done.stderr.splitlines()
    assert len(said) == 2 and 'is not JSON' in said[0]
    assert said[1] == f'publish.py: warning: {run_id(1)} was trained by code that no commit holds: left out'


def test_a_folder_without_plans_and_one_that_cannot_be_written_are_named(full, publish, tmp_path):
    done = publish('table9')
    assert done.returncode == 2 and done.stderr.count('\n') == 1 and 'no plan' in done.stderr
    (tmp_path / 'results').write_text('a file')
    done = publish()
    assert done.returncode == 2 and done.stderr.count('\n') == 1 and 'choose another folder with --to' in done.stderr


def test_a_broken_plan_among_the_published_is_named(full, publish):
    publish()
    broken = publish.target / 'tables' / 'table2.json'
    broken.write_text('{"table": ')
    again = publish('table3')
    assert again.returncode == 2 and str(broken) in again.stderr and 'Traceback' not in again.stderr


@pytest.mark.parametrize('content', ['', '[]', '{}', 'null', '"x"', '{"cells": null}', '{"cells": [{"at": {}}]}'])
def test_a_damaged_published_plan_is_named_with_what_to_do(full, publish, content):
    """Whether its own table is published or another one."""
    full.table1()
    assert publish().returncode == 0
    broken = publish.target / 'tables' / 'table3.json'
    broken.write_text(content)
    for table in ('table3', 'table1'):
        done = publish(table)
        assert done.returncode == 2 and done.stderr.count('\n') == 1 and broken.read_text() == content
        assert done.stderr.startswith(f'publish.py: {broken}: ')
        assert done.stderr.endswith('or delete it and publish its table again\n')


def test_epochs_are_published_on_one_line(full, publish):
    """All but the last, which is the result, with six digits."""
    values = (0.006832747090949801, 0.15432274709094983)
    epochs = dict(schema=1, epochs=[dict(epoch=n, metrics={'without_nms/AP': v}) for n, v in enumerate(values, 1)])
    full.write(f'desk/{run_id(0)}/metrics.json', json.dumps(epochs, indent=1))
    assert publish('table3').returncode == 0
    text = (publish.target / run_id(0) / 'metrics.json').read_text()
    first = '{"epoch":1,"metrics":{"without_nms/AP":0.00683275}}'
    last = f'{{"epoch":2,"metrics":{{"without_nms/AP":{values[1]}}}}}'
    assert text == f'{{"schema":1,"epochs":[{first},{last}]}}\n'
