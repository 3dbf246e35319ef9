"""run.py --launcher ray as a user calls it, on real clusters of Ray on this machine."""

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest
from waiting import ends_of, until

FATES = Path(__file__).with_name('fates.yaml')
ON_RAY = (FATES, '--profile', 'smoke', '--launcher', 'ray', '--ray-address')


def epochs(folder):
    path = folder / 'metrics.json'
    return json.loads(path.read_text())['epochs'] if path.exists() else []


def metrics(folder):
    """Of every epoch."""
    return [(entry['epoch'], entry['metrics']) for entry in epochs(folder)]


def by_fate(suite):
    """Folder of each run by its fate."""
    plan = json.loads((suite.runs / 'smoke' / 'tables' / 'fates.json').read_text())
    return {cell['at']['fate']: suite.runs / 'smoke' / cell['runs']['0'] for cell in plan['cells'] if cell['runs']}


def reports(suite, run):
    """What Tune was told of a run's epochs."""
    [path] = (suite.runs / 'smoke' / 'ray').glob(f'*/{run}/result.json')
    return [json.loads(line) for line in path.read_text().splitlines()]


def process_of(folder):
    """The process that trains the run in this folder, as the kernel lists the lock's holder."""
    if not (folder / 'lock').exists():
        return None
    inode = (folder / 'lock').stat().st_ino
    for line in open('/proc/locks'):
        fields = line.split()
        if 'FLOCK' in fields and 'WRITE' in fields and int(fields[-3].rsplit(':', 1)[1]) == inode:
            return int(fields[-4])
    return None


def node_of(folder, cluster):
    """The node of the cluster that trains the run in this folder."""
    process = process_of(folder)
    try:
        status = Path(f'/proc/{process}/status').read_text()
    except OSError:
        return None
    raylets = {node.all_processes['raylet'][0].process.pid: node for node in cluster.list_all_nodes()}
    return raylets.get(int(re.search(r'^PPid:\s*(\d+)', status, re.M)[1]))


@pytest.fixture(scope='module')
def undisturbed(suite_at, tmp_path_factory):
    """A suite whose runs were trained by the local launcher."""
    suite = suite_at(tmp_path_factory.mktemp('undisturbed') / 'runs')
    suite.run(FATES, '--profile', 'smoke', check=1)
    return suite


@pytest.fixture(scope='module')
def disturbed(start_cluster, suite_at, tmp_path_factory):
    """A suite whose runs were trained on two nodes, one of which died in the middle; what was seen meanwhile."""
    cluster = start_cluster(num_cpus=1)
    second = cluster.add_node(num_cpus=1)
    suite = suite_at(tmp_path_factory.mktemp('disturbed') / 'runs')
    process = suite.start(*ON_RAY, cluster.address)
    try:
        [suite.moved] = until(
            lambda: [run for run in suite.folders() if node_of(run, cluster) is second], 'a run on the second node'
        )
        until(lambda: len(epochs(suite.moved)) > 1, 'two epochs on the second node')
        cluster.remove_node(second, allow_graceful=False)
        suite.before = epochs(suite.moved)
        cluster.add_node(num_cpus=1)
        [(suite.out, suite.err)] = ends_of(process)
    finally:
        process.kill()
    suite.code = process.returncode
    return suite


def test_a_run_that_loses_its_node_goes_on_elsewhere(disturbed):
    after = epochs(disturbed.moved)
    # The last of them may lack its checkpoint, and is then trained again.
    assert 2 <= len(disturbed.before) < len(after) and disturbed.before[:-1] == after[: len(disturbed.before) - 1]
    [errors] = (disturbed.runs / 'smoke' / 'ray').glob(f'*/{disturbed.moved.name}/error.txt')
    assert errors.read_text().count('Failure #') == 1


def test_the_metrics_are_those_of_the_local_launcher(disturbed, undisturbed):
    expected = by_fate(undisturbed)
    for fate, folder in by_fate(disturbed).items():
        assert metrics(folder) == metrics(expected[fate])
        assert (folder / 'result.json').exists() == (fate != 'diverges')


def test_a_run_that_diverges_fails_alone_and_once(disturbed):
    assert disturbed.code == 1 and '2 of 3 runs' in disturbed.out and 'Traceback' not in disturbed.err
    assert disturbed.err.splitlines()[-1].startswith('run.py: 1 run(s) failed') and 'diverged' in disturbed.err
    folder = by_fate(disturbed)['diverges']
    assert [report['state'] for report in reports(disturbed, folder.name)][-1] == 'failed'
    assert (folder / 'worker.log').read_text().count('errors.UserError: ') == 1


def test_tune_knows_the_metrics_of_each_epoch(disturbed):
    [folder] = {by_fate(disturbed)[fate] for fate in ('one', 'other')} - {disturbed.moved}
    for report, (epoch, expected) in zip(reports(disturbed, folder.name), metrics(folder), strict=True):
        assert report['epoch'] == epoch and {key: report.get(key) for key in expected} == expected


def test_the_terminal_shows_the_suites_view_alone(disturbed):
    ours = re.compile(r'\[ *\d+:\d\d\] |run\.py: ')
    assert [line for line in disturbed.err.splitlines() if not ours.match(line)] == []
    assert 'fates fate=one  epoch ' in disturbed.err and disturbed.out.startswith('## Fates')


def interrupted(suite, command, end, together):
    """Send the driver a signal after one more epoch of one of two long runs; its exit status.

    Args:
        together (bool): both of them must have been in training at once.
    """
    driver = suite.start(*command)
    until(lambda: (suite.runs / 'smoke' / 'tables' / 'fates.json').exists(), 'the plan')
    pair = [by_fate(suite)[fate] for fate in ('one', 'other')]
    begun = [len(epochs(folder)) for folder in pair]
    until(lambda: all(map(process_of, pair)) or not together, 'both runs to train at once')
    until(lambda: [len(epochs(folder)) for folder in pair] != begun, 'another epoch')
    driver.send_signal(end)
    stopped = time.monotonic()
    [(_, err)] = ends_of(driver)
    until(lambda: not any(map(process_of, suite.folders())), 'the trials to end')
    assert time.monotonic() - stopped < 15 and 'Traceback' not in err
    assert not any((folder / 'result.json').exists() for folder in pair)
    return driver.returncode


@pytest.mark.slow
def test_an_experiment_is_restored_after_its_driver_died(start_cluster, suite_at, undisturbed, tmp_path):
    """Stopped by a signal, then killed; meanwhile two runs share one GPU, which is declared and not there."""
    from ray.tune import Tuner

    suite = suite_at(tmp_path / 'runs')
    command = (*ON_RAY, start_cluster(num_cpus=2, num_gpus=1).address, '--gpus-per-run', '0.5')
    assert interrupted(suite, command, signal.SIGTERM, together=True) == 130
    # A restored experiment goes on in another order.
    assert interrupted(suite, command, signal.SIGKILL, together=False) == -signal.SIGKILL
    [record] = (suite.runs / 'smoke' / 'ray').glob('*/runs.json')
    assert Tuner.can_restore(str(record.parent))
    suite.run(*command, check=1)
    folders = by_fate(suite)
    # A run that failed before its experiment was restored is tried again, in an experiment of its own.
    for other in set((suite.runs / 'smoke' / 'ray').glob('*/runs.json')) - {record}:
        assert json.loads(other.read_text())['runs'] == [folders['diverges'].name]
    assert json.loads(record.read_text())['ended']
    for fate, folder in folders.items():
        assert metrics(folder) == metrics(by_fate(undisturbed)[fate])


@pytest.mark.slow
def test_a_local_start_shares_the_work(need_ray, suite, ray_folder):
    """Both at once on the same runs: no run is trained twice, and both print the table."""
    grid = ('table3', '--only', 't_max=0.6', '--set', 'train_cfg.max_epochs=2', '--profile', 'smoke', '--jobs', 1)
    env = {**os.environ, 'RAY_TMPDIR': ray_folder}
    both = [suite.start(*grid, '--launcher', 'ray', env=env), suite.start(*grid)]
    said = ends_of(*both)
    assert [process.returncode for process in both] == [0, 0], said
    assert said[0][0] == said[1][0]
    assert len(suite.folders()) == 4
    for folder in suite.folders():
        assert len([path for path in folder.iterdir() if path.is_dir()]) == 1  # mmengine makes one for each start
        assert [epoch for epoch, _ in metrics(folder)] == [1, 2]


@pytest.mark.parametrize(
    'args, says',
    [
        (('--launcher', 'ray', '--gpus-per-run', '2'), "argument --gpus-per-run: '2' must be a number from 0 to 1"),
        (('--launcher', 'ray', '--ray-address', 'ray://host:10001'), 'give HOST:PORT or auto'),
        (('--launcher', 'ray', '--ray-address', '127.0.0.1:1'), 'the Ray cluster at 127.0.0.1:1 does not answer'),
        (('--cpus-per-run', '2'), 'belong to --launcher ray'),
    ],
)
def test_options_that_do_not_fit(suite, args, says):
    done = suite.run('table3', '--profile', 'smoke', *args, check=2)
    assert says in done.stderr and 'Traceback' not in done.stderr


@pytest.mark.slow
def test_a_long_temporary_folder_and_a_home_that_cannot_be_written(need_ray, suite, tmp_path):
    """Ray's sockets would have names that are too long, and its token no place."""
    long = tmp_path / ('long' * 25)
    long.mkdir()
    env = {key: value for key, value in os.environ.items() if key != 'RAY_TMPDIR'}
    env |= {'TMPDIR': str(long), 'HOME': '/proc/nowhere'}
    one = ('table3', '--only', 't_max=0.6', '--only', 't_min=0.2', '--profile', 'smoke')
    suite.run(*one, '--launcher', 'ray', check=0, env=env)
    [folder] = suite.folders()
    assert (folder / 'result.json').exists()


@pytest.mark.slow
def test_what_no_node_has_is_refused(need_ray, suite, ray_folder):
    env = {**os.environ, 'RAY_TMPDIR': ray_folder}
    done = suite.run('table3', '--profile', 'smoke', '--launcher', 'ray', '--cpus-per-run', '1000', check=2, env=env)
    assert done.stderr.startswith('run.py: no node has the 1000 CPUs and 0 GPUs and 700.0 MB of memory of a run')
