"""experiments/run.py as a user calls it, in processes of its own."""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from analysis.claims.judge import judge
from experiments.run import _print_tables, main
from experiments.spec.plan import make_plan, save_plan
from experiments.spec.schema import ImageGroups
from experiments.spec.table_file import load_table
from experiments.store.model import read_stored
from experiments.store.runs import RUNNING, RunFolder

ALL = (*(f'table{number}' for number in range(1, 10)), 'fig5')
GRID = ('table3', '--profile', 'smoke')
SHORT = (*GRID, '--only', 't_min=0.2', '--set', 'train_cfg.max_epochs=2')


@pytest.fixture(scope='module', params=[(), pytest.param(ALL, marks=pytest.mark.slow)], ids=['kinds', 'all'])
def finished(request, trained, own_copy):
    """Tables of each kind; then every table."""
    return own_copy(trained(*request.param))


def results(suite):
    return {path.name: json.loads((path / 'result.json').read_text())['metrics'] for path in suite.folders()}


def measured(text):
    """What a table's text shows as measured, without the paper's numbers."""
    return text.split('\nPaper (')[0]


def test_every_cell_is_trained_and_printed(finished):
    tables = re.split(r'^## ', finished.printed, flags=re.M)[1:]
    assert len(tables) == len(finished.tables) and all('profile smoke' in text for text in tables)
    assert not any('–' in measured(text) for text in tables)
    dry = finished.run(*finished.tables, '--profile', 'smoke', '--dry-run', check=0).stdout.splitlines()[-1]
    cells, runs = map(int, re.match(r'(\d+) cells, (\d+) distinct trainings, \2 done, 0 to do', dry).groups())
    assert len(results(finished)) == len(finished.folders()) == runs <= cells


@pytest.mark.slow
def test_all_are_all_tables(trained):
    done = trained(*ALL)
    again = done.run('all', '--profile', 'smoke', check=0).stdout
    assert sorted(re.split(r'^## ', again, flags=re.M)) == sorted(re.split(r'^## ', done.printed, flags=re.M))
    table3 = next(text for text in re.split(r'^## ', done.printed, flags=re.M) if 'Table 3' in text)
    rows = re.findall(r'^\| 0\.[1-4] .*$', table3, re.M)
    assert len(rows) == 8 and all(len(re.findall(r'\d+\.\d/\d+\.\d', row)) == 4 for row in rows)
    assert '39.0/39.3' in table3 and '16 of 16 runs' in table3


@pytest.mark.slow
@pytest.mark.parametrize(
    'study, runs',
    [(('paper-text',), 8), (('real',), 4), (('successors', '--only', 'schedule=1x'), 23)],
    ids=lambda x: x[0] if isinstance(x, tuple) else '',
)
def test_studies(suite, study, runs):
    """Every cell is trained, printed and judged; the claims' verdicts are of one tiny epoch."""
    printed = suite.run(*study, '--profile', 'smoke', check=0).stdout
    assert len(results(suite)) == len(suite.folders()) == runs
    verdicts, warnings = judge(suite.runs, 'smoke', [study[0]])
    assert warnings == [] and len(verdicts) == len(load_table(study[0]).claims)
    assert f'{runs} of {runs} runs' in printed


def test_figure_5_has_every_epoch(finished):
    plan = json.loads((finished.runs / 'smoke' / 'tables' / 'fig5.json').read_text())
    for cell in plan['cells']:
        folder = finished.runs / 'smoke' / cell['runs']['0']
        epochs = json.loads((folder / 'metrics.json').read_text())['epochs']
        assert [entry['epoch'] for entry in epochs] == list(range(1, len(epochs) + 1))
        assert all({'without_nms/AP', 'with_nms/AP'} <= set(entry['metrics']) for entry in epochs)
        assert len(epochs) == json.loads((folder / 'result.json').read_text())['epochs']


def test_every_run_leaves_its_metrics_without_groups_of_images(finished):
    """Boxes, masks and crowds: in each folder, small, and with the metrics of the result."""
    kinds = set()
    for folder in finished.folders():
        stored = read_stored(ImageGroups, folder / 'image_groups.json')
        result = json.loads((folder / 'result.json').read_text())['metrics']
        defined = {key for key, value in result.items() if value is not None}
        assert stored.metrics.keys() <= defined and stored.metrics == pytest.approx(
            {key: result[key] for key in stored.metrics}, abs=1e-12
        )
        assert all(len(values) == stored.images for values in stored.left_out.values())  # fewer images than groups
        kinds |= {key.split('/')[1] for key in stored.metrics}
        assert (folder / 'image_groups.json').stat().st_size < 20_000
    assert {'AP', 'AR', 'mask_AP75', 'mMR', 'recall', 'JI'} <= kinds and not {'APs', 'duplicates'} & kinds


def test_every_claim_is_checked(finished):
    """On one seed of one epoch: nothing is known of the noise of training, so no verdict; later epochs are missing."""
    verdicts, warnings = judge(finished.runs, 'smoke', finished.tables)
    assert warnings == [] and {verdict.plan.name for verdict in verdicts} == set(finished.tables)
    assert {verdict.verdict for verdict in verdicts} == {'undecided'}
    found_here = (found for verdict in verdicts for found in verdict.findings)
    for found in (found for found in found_here if found.comparison.more_than is None):
        of_images = found.unit == 'points' and 'after epoch' not in found.left.name + found.right.name
        assert (found.image_error is not None) == of_images and found.interval is None


def test_make_tables_prints_them_all(finished):
    script = Path(__file__).resolve().parents[3] / 'analysis' / 'make_tables.py'
    command = [sys.executable, str(script), '--profile', 'smoke', '--strict', '--runs', str(finished.runs)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == '', done.stderr
    short = {'Table': 'table', 'Figure': 'fig'}
    printed = re.findall(r'^(Table|Figure) (\d)', done.stdout, re.M)
    assert [short[kind] + number for kind, number in printed] == list(finished.tables)


def test_a_second_start_trains_nothing_and_prints_the_same(finished):
    before = {path: path.stat().st_mtime_ns for folder in finished.folders() for path in folder.iterdir()}
    again = finished.run(*finished.tables, '--profile', 'smoke', check=0)
    assert again.stdout == finished.printed and again.stderr == ''
    assert before == {path: path.stat().st_mtime_ns for folder in finished.folders() for path in folder.iterdir()}


def test_overviews(finished, suite):
    dry = finished.run('table1', '--profile', 'smoke', '--dry-run', check=0).stdout
    assert '5 cells, 5 distinct trainings, 5 done, 0 to do' in dry
    assert 'done' in finished.run('--status', '--profile', 'smoke', check=0).stdout
    none = suite.run(*GRID, '--seeds', 0, 1, '--dry-run', check=0).stdout
    assert '16 cells, 32 distinct trainings, 0 done, 32 to do' in none and not suite.runs.exists()
    listed = suite.run('--list', check=0).stdout
    assert 'table3   16 cells' in listed and 'profiles: desk, paper, smoke' in listed


def test_a_new_ablation_is_one_file(suite):
    """The example of docs/ablations.md, run as it says."""
    example = Path(__file__).resolve().parents[3] / 'docs' / 'examples' / 'radius.yaml'
    printed = suite.run(example, '--profile', 'smoke', check=0).stdout
    assert len(suite.folders()) == 6 and len(re.findall(r'\d+\.\d/\d+\.\d', printed)) == 6


@pytest.mark.slow
def test_another_seed_and_setting_are_other_runs(suite):
    cell = (*GRID, '--only', 't_max=0.6', '--only', 't_min=0.2')
    two = suite.run(*cell, '--seeds', 0, 1, check=0).stdout
    assert len(suite.folders()) == 2 and '±' in two
    other = suite.run(*cell, '--set', 'optim_wrapper.optimizer.lr=0.001', check=0).stdout
    assert len(suite.folders()) == 3 and '±' not in other
    assert suite.run(*cell, check=0).stdout.count('/') >= 16  # the plan of the plain table is as it was
    assert len(list((suite.runs / 'smoke' / 'tables').glob('*.json'))) == 2


@pytest.mark.slow
def test_many_settings_and_pairs_of_sides(suite, tmp_path):
    """Seven settings are too long for a file's name; they are inside the plan. A list stays a tuple for transforms."""
    settings = {
        'val_dataloader.dataset.pipeline.1.scale': [112, 96],
        'test_dataloader.dataset.pipeline.1.scale': [112, 96],
        'optim_wrapper.optimizer.lr': 0.001,
        'optim_wrapper.optimizer.weight_decay': 0.02,
        'param_scheduler.0.end': 50,
        'model.bbox_head.selection.alpha': 0.7,
        'model.bbox_head.selection.k': 5,
    }
    cell = [*GRID, '--only', 't_max=0.6', '--only', 't_min=0.2']
    cell += [word for key, value in settings.items() for word in ('--set', f'{key}={value}')]
    printed = suite.run(*cell, check=0).stdout
    assert re.search(r'\d+\.\d/\d+\.\d', measured(printed))
    [plan] = (suite.runs / 'smoke' / 'tables').glob('*.json')
    assert re.fullmatch(r'table3\+[0-9a-f]{12}\.json', plan.name)
    assert json.loads(plan.read_text())['overrides'] == settings
    script = Path(__file__).resolve().parents[3] / 'analysis' / 'make_tables.py'
    command = [sys.executable, str(script), plan.stem, '--profile', 'smoke', '--runs', str(suite.runs)]
    assert subprocess.run(command, capture_output=True, text=True).stdout.strip() == printed.strip()
    suite.run(*cell, '--dump-configs', tmp_path / 'configs', check=0)
    assert next((tmp_path / 'configs').glob('*.py')).read_text().count("'scale': (112, 96)") == 2


@pytest.mark.slow
def test_a_killed_worker_is_reported_and_the_others_go_on(suite):
    process = suite.start(*SHORT, '--jobs', 1)
    victim = await_worker(suite)
    os.kill(victim, signal.SIGKILL)
    out, err = process.communicate()
    assert process.returncode == 1 and 'signal SIGKILL' in err and err.count('Traceback') == 0
    assert len([folder for folder in suite.folders() if (folder / 'result.json').exists()]) == 3
    assert '–' in out
    assert suite.run(*SHORT, check=0).returncode == 0 and len(results(suite)) == 4


def await_worker(suite):
    """The process id of a worker that holds a run's lock, as the kernel lists it."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        inodes = {folder.joinpath('lock').stat().st_ino for folder in suite.folders() if (folder / 'lock').exists()}
        for line in open('/proc/locks'):
            fields = line.split()
            if 'FLOCK' in fields and 'WRITE' in fields and int(fields[-3].rsplit(':', 1)[1]) in inodes:
                return int(fields[-4])
        time.sleep(0.02)
    raise AssertionError('no worker began')


@pytest.mark.slow
def test_two_launchers_share_the_work(suite):
    both = [suite.start(*SHORT, '--jobs', 1) for _ in range(2)]
    printed = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], printed
    assert printed[0][0] == printed[1][0]
    for folder in suite.folders():  # one training each: one log folder of mmengine, two epochs
        assert len([path for path in folder.iterdir() if path.is_dir()]) == 1
        assert [entry['epoch'] for entry in json.loads((folder / 'metrics.json').read_text())['epochs']] == [1, 2]


@pytest.mark.slow
def test_a_named_gpu_gets_a_process_of_its_own(suite):
    """With a GPU named, workers are started afresh instead of forked; where none answers, the CPU trains."""
    environment = {**os.environ, 'CUDA_VISIBLE_DEVICES': '0'}
    done = suite.run(*GRID, '--only', 't_max=0.6', '--only', 't_min=0.2', check=0, env=environment)
    assert '1/1 done' in done.stderr and len(results(suite)) == 1


@pytest.mark.parametrize(
    'end', [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)], ids=lambda end: end.name
)
def test_a_signal_stops_within_seconds(suite, end):
    # Where the tests themselves run in the background, the shell has them ignore interrupts, and so would this.
    process = suite.start(*SHORT, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    await_worker(suite)
    begin = time.monotonic()
    process.send_signal(end)
    _, err = process.communicate()
    assert process.returncode == 130 and time.monotonic() - begin < 10
    assert all(RunFolder(folder).status().state != RUNNING for folder in suite.folders())
    assert 'the same command goes on from there' in err and 'Traceback' not in err


@pytest.mark.parametrize(
    'args, says',
    [
        (('table3', '--seeds', '-1'), "argument --seeds: '-1' must be a whole number from 0 to 4000000"),
        (('table3', '--status', '--dry-run'), 'argument --dry-run: not allowed with argument --status'),
        (('table3', '--wait'), '--wait belongs to --launcher slurm'),
        (('table3', '--cpus-per-run', '1'), 'belong to --launcher ray'),
        (('table3', '--launcher', 'ray', '--gpus-per-run', '2'), "'2' must be a number from 0 to 1"),
        (('table3', '--subset', '2'), '--subset 2: give a share of the images'),
        (('status', 'table3', '--set', 'a=[1'), 'a=[1: the value is not valid YAML'),
        (('status', 'table3', '--set', 'a={b: 1, b: 2}'), "the key 'b' is there already, on line 1"),
        (('tabel3',), "no table 'tabel3'"),
        (('table3', '--profile', 'desktop'), "no profile 'desktop'"),
        (('table3', '--set', 'model.bbox_head.degrees.tmax=1'), "--set: unknown key 'model.bbox_head.degrees.tmax'"),
        (('table3', '--set', 'train_cfg.max_epochs=many'), "'many' is text"),
        (('table3', '--set', 'train_cfg.max_epochs=1e1'), 'train_cfg.max_epochs: 10.0 must be a whole number'),
        (('table3', '--set', 'train_cfg.max_epochs'), 'write it as KEY=VALUE'),
        (('table3', '--set', 'data_root=/nowhere'), '--set: data_root: nothing reads it: set it below'),
        (('table3', '--set', 'train_cfg.val_interval=2'), 'train_cfg.val_interval must be 1'),
        (('table3', '--set', 'train_cfg={val_begin: 2}'), 'train_cfg.val_begin must be 1'),
        (('table3', '--set', 'train_cfg.type=IterBasedTrainLoop'), 'train_cfg counts iterations'),
        (
            ('table3', '--set', 'model.bbox_head.degrees={t_min: 0.3}'),
            'cells of table3 are named by model.bbox_head.deg',
        ),
        (
            ('table3', '--set', 'model.bbox_head.degrees.t_max=0.7'),
            'cells of table3 are named by model.bbox_head.degrees',
        ),
        (('table3', '--set', 'model.bbox_head.selection.k=1', '--set', 'model.bbox_head.selection.k=2'), 'given twice'),
        (
            ('table3', '--set', 'optim_wrapper.optimizer.lr=.inf'),
            'optim_wrapper.optimizer.lr: infinite numbers and NaN cannot be settings',
        ),
        (('table3', '--seeds', '4294968'), "'4294968' must be a whole number from 0 to 4000000"),
        (('table3', '--launcher', 'slurm', '--jobs', '3'), '--jobs: on Slurm, array_parallelism of the --cluster file'),
        (('table3', '--set', 'train_dataloader.batch_size=0'), 'train_dataloader.batch_size: 0 must be a whole number'),
        (('table3', '--set', 'train_cfg.max_epochs=1.5'), 'train_cfg.max_epochs: 1.5 must be a whole number'),
        (('table3', '--only', 'k=7'), "no axis 'k'"),
        pytest.param(('table3', '--profile', 'paper'), 'instances_train2017.json is missing', marks=pytest.mark.slow),
        (('table3', '--jobs', '0'), "argument --jobs: '0' must be a whole number, 1 or more"),
        ((), 'name a table'),
    ],
)
def test_bad_input_gets_one_line_and_exit_2(suite, args, says):
    done = suite.run(*args, check=2)
    assert says in done.stderr and 'Traceback' not in done.stderr and done.stdout == ''


def test_two_tables_of_one_name(tmp_path, capsys):
    """Their plans and results would be one."""
    mine = tmp_path / 'table3.yaml'
    mine.write_text(Path('experiments/tables/table3.yaml').read_text())
    assert main(['table3', str(mine), '--dry-run']) == 2
    assert 'two tables are called table3' in capsys.readouterr().err


@pytest.mark.parametrize('left', ['all', 'not defined', 'without AP', 'broken', 'none'])
def test_a_value_that_is_missing_is_named_and_the_status_is_not_0(tmp_path, capsys, left):
    """A value that the data do not define is a dash, and is there. Those of failed runs are reported with them."""
    table = load_table('table1')
    plan = make_plan(table, table.cells[:2], 'smoke', [0], {})
    save_plan(plan, tmp_path)
    first, second = plan.runs()
    for run in (first, second):
        path = tmp_path / 'smoke' / run / 'result.json'
        path.parent.mkdir()
        metrics = {key: 0.2 for keys in table.cells[0].keys.values() for key in keys}
        if run == second and left == 'not defined':
            metrics['without_nms/AP'] = None
        if run == second and left == 'without AP':
            del metrics['without_nms/AP']
        content = dict(schema=1, run=run, profile='smoke', seed=0, epochs=1, metrics=metrics)
        content['provenance'] = dict(commit=None, dirty=False, device='cpu')
        if run == first or left != 'none':
            path.write_text('' if run == second and left == 'broken' else json.dumps(content))
    asked = argparse.Namespace(runs=tmp_path, profile='smoke')
    complete = left in ('all', 'not defined')
    assert _print_tables([plan], asked, {}) == complete
    printed, said = capsys.readouterr()
    label = plan.cells[1].cell.label
    assert '20.0' in printed and (f'run.py: table1 {label} has no value of ' in said) != complete
    assert plan.cells[0].cell.label not in said
    assert _print_tables([plan], asked, {second: 'failed'})


@pytest.mark.slow
def test_runs_that_fail_alike_are_reported_once(suite):
    done = suite.run(*SHORT, '--set', 'model.bbox_head.selection.alpha=2', check=1)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith('run.py: 4 run(s) failed') and 'selection: alpha must be between 0 and 1, not 2' in last


@pytest.mark.slow
def test_a_claim_is_trained_seed_by_seed_until_the_budget_is_spent(suite):
    """Two cells. The budget allows one seed; later the command begins with the look at all seeds that are there."""
    claim = ('table1', '--profile', 'smoke', '--claim', 'unsuitable-degree-decreases', '--seeds', 'auto')
    first = suite.run(*claim, '--budget', 1e-6, check=0)
    assert len(suite.folders()) == 2 and 'the first look is at 3 seeds' in first.stdout
    assert 'the budget of 1e-06 hours does not allow another seed' in first.stderr
    cells = ('table1', '--profile', 'smoke', '--only', 'la=one-to-one', '--only', 'la=t=0.8')
    suite.run(*cells, '--seeds', 0, 1, 2, check=0)
    looks = suite.run(*claim, '--budget', 1e-6, check=0).stdout.splitlines()
    assert len(looks) == 1 and looks[0].startswith('unsuitable-degree-decreases, 3 seeds per cell: ')
    assert '98.33 % interval' in looks[0] and len(suite.folders()) == 6
