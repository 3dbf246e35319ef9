"""run.py --launcher slurm as a user calls it, on the one-node cluster of slurm/dev-cluster.sh."""

import json
import os
import re
import signal

import pytest
from slurm_suite import ROOT, Suite, epochs, metrics, trainings
from waiting import ends_of, until

FATES = ROOT / 'tests' / 'slurm' / 'fates.yaml'
FATE_NAMES = ['requeued', 'killed', 'cancelled', 'calm', 'diverges']


@pytest.fixture(scope='module')
def finished(cluster, data, tmp_path_factory):
    """A suite whose four runs have filled a column of Table 3, and what that command printed."""
    suite = Suite(tmp_path_factory.mktemp('finished'), data, cluster)
    suite.printed = suite.slurm('table3', '--only', 't_min=0.2', '--wait')
    return suite


def test_an_array_runs_to_a_finished_table(finished, cluster):
    assert len(re.findall(r'\d+\.\d/\d+\.\d', finished.printed.stdout.split('\nPaper (')[0])) == 4
    [record] = finished.records()
    assert sorted(record['jobs'].values()) == [f'{record["array"]}_{i}' for i in range(4)]
    assert all((folder / 'result.json').exists() for folder in finished.folders())

    def accounted():
        return cluster.run('sacct', '-XnP', '-o', 'State', f'--name={record["name"]}').split()

    # The records come a moment after the results.
    until(lambda: accounted() == ['COMPLETED'] * 4, 'the records of the jobs')


def test_a_finished_table_is_printed_without_a_submission(finished):
    again = finished.slurm('table3', '--only', 't_min=0.2')
    assert again.stdout == finished.printed.stdout and again.stderr == '' and len(finished.records()) == 1
    assert finished.run('table3', '--cancel').stderr == 'run.py: no job of these runs is queued or running\n'


def process_of(cluster, folder):
    """The process that trains the run in this folder, as the kernel lists the lock's holder."""
    inode = (folder / 'lock').stat().st_ino
    for line in open('/proc/locks'):
        fields = line.split()
        if 'FLOCK' in fields and 'WRITE' in fields and int(fields[-3].rsplit(':', 1)[1]) == inode:
            return int(fields[-4]) if int(fields[-4]) in cluster.processes() else None


@pytest.fixture(scope='module')
def disturbed(cluster, data, finished, pace, tmp_path_factory):
    """A suite of five runs, each of which met its fate while --wait followed them; what was seen meanwhile.

    Jobs are held in the queue while they are looked at, so that nothing depends on the machine's speed.
    """
    folder = tmp_path_factory.mktemp('disturbed')
    suite = Suite(folder, data, cluster, array_parallelism=4)
    suite.epochs, suite.table = max(10, int(10 / pace)), folder / 'fates.yaml'
    suite.table.write_text(FATES.read_text().replace('EPOCHS', str(suite.epochs)))
    following = suite.start(suite.table, '--launcher', 'slurm', '--cluster', suite.file, '--wait')
    try:
        [suite.first] = until(suite.records, 'the submission')
        jobs = dict(zip(FATE_NAMES, suite.first['jobs'].values()))
        folders = dict(zip(FATE_NAMES, suite.folders()))
        suite.folders_by_fate = folders
        cluster.run('scontrol', 'hold', jobs['diverges'])  # it waits for one of the four before it

        until(lambda: epochs(folders['requeued']), 'an epoch of the run to requeue')
        cluster.run('scontrol', 'requeue', jobs['requeued'])
        look = ('squeue', '-h', '-j', jobs['requeued'], '-o', '%T %r')
        until(lambda: cluster.run(*look).strip() == 'PENDING BeginTime', 'the job to be requeued')
        suite.epochs_before = len(epochs(folders['requeued']))
        cluster.run('scontrol', 'hold', jobs['requeued'])

        until(lambda: all(map(epochs, (folders['killed'], folders['cancelled']))), 'an epoch of both endless runs')
        suite.during = suite.status(suite.table)
        suite.again = suite.slurm(suite.table).stderr

        cluster.run('scontrol', 'release', jobs['requeued'], jobs['diverges'])
        worker = until(lambda: process_of(cluster, folders['killed']), 'the process of the run to kill')
        os.kill(worker, signal.SIGKILL)
        cluster.run('scancel', jobs['cancelled'])
        [(suite.out, suite.err)] = ends_of(following)
    finally:
        following.kill()
    suite.code = following.returncode
    suite.end = suite.status(suite.table)
    return suite


@pytest.mark.slow
def test_a_failed_job_leaves_the_others_alone(disturbed):
    assert disturbed.code == 1 and 'Traceback' not in disturbed.err
    assert [(folder / 'result.json').exists() for folder in disturbed.folders_by_fate.values()] == [
        True,
        False,
        False,
        True,
        False,
    ]
    assert 'training diverged' in disturbed.err and 'task 0: Killed' in disturbed.err and 'CANCELLED' in disturbed.err
    assert '2 of 5 runs' in disturbed.out


@pytest.mark.slow
def test_a_requeue_resumes_and_changes_nothing(disturbed, data, tmp_path):
    folder = disturbed.folders_by_fate['requeued']
    assert [entry['epoch'] for entry in epochs(folder)] == list(range(1, disturbed.epochs + 1))
    assert 1 <= disturbed.epochs_before < disturbed.epochs
    calm = Suite(tmp_path, data, None)
    calm.run(disturbed.table, '--only', 'fate=requeued', check=0)
    assert metrics(calm.runs / 'smoke' / folder.name) == metrics(folder)


@pytest.mark.slow
def test_status_shows_each_state(disturbed):
    during, end = disturbed.during, disturbed.end
    assert re.search(r'  requeued  .*\n  job \d+_0, requeued 1×, waits \(JobHeld', during['requeued'])
    assert re.search(r'  running   epoch \d+/1000  .* left\n  job \d+_1$', during['killed'])
    assert re.search(r'  queued\n  job \d+_4, waits \(JobHeld', during['diverges'])
    assert '  done  ' in end['requeued'] and '  done  ' in end['calm']
    assert re.search(r'  failed .*\n  job \d+_1 ended as FAILED .*Killed\n  \| ', end['killed'])
    assert re.search(r'  failed .*\n  job \d+_2 ended as CANCELLED', end['cancelled'])
    assert re.search(r'  failed.*\n  .*training diverged: the loss was .* iteration \d', end['diverges'])


@pytest.mark.slow
def test_status_needs_no_slurm(disturbed, tmp_path):
    """From a node that only sees the folder."""
    shown = disturbed.status(disturbed.table, env={**os.environ, 'PATH': str(tmp_path)})
    assert shown == disturbed.end


@pytest.mark.slow
def test_nothing_is_submitted_twice(disturbed):
    assert 'nothing to submit: ' in disturbed.again


@pytest.mark.slow
def test_only_what_is_missing_is_submitted_and_only_that_is_cancelled(disturbed, cluster):
    foreign = cluster.run('sbatch', '--parsable', '--output=/dev/null', '--wrap', 'sleep 600').strip()
    # A launcher that was killed between sbatch and its record.
    cluster.run('sbatch', '-J', 'o2f-smoke-lost', '--output=/dev/null', '--wrap', 'sleep 600')
    (disturbed.runs / 'smoke' / 'slurm' / 'o2f-smoke-lost.submitting').write_text('{}')
    said = disturbed.slurm(disturbed.table).stderr
    record = disturbed.records()[-1]
    assert f'submitted 3 run(s) as job {record["array"]}' in said and '--cancel' in said
    assert set(record['jobs']) < set(disturbed.first['jobs']) and len(record['jobs']) == 3
    said = disturbed.run(disturbed.table, '--cancel').stderr
    endless = [record['jobs'][disturbed.folders_by_fate[fate].name] for fate in ('killed', 'cancelled')]
    assert said.startswith('run.py: cancelled ') and set(endless) <= set(said.split())

    def left():
        return cluster.run('squeue', '-h', '-t', 'PD,R,CG', '-o', '%A').split()

    until(lambda: left() == [foreign], 'all jobs but the foreign one to end')
    assert 'cancelled by --cancel' in disturbed.status(disturbed.table)['killed']
    cluster.run('scancel', foreign)


ONE = ('--only', 't_max=0.6', '--only', 't_min=0.2')
#: Loaders in processes of their own, which must not requeue when Slurm's signal reaches them too.
LOADER = ('--set', 'train_dataloader.num_workers=1', '--set', 'train_dataloader.persistent_workers=true')


def restarts(suite, job):
    """How often the newest start of a job is a restart; None before the first."""
    path = suite.runs / 'smoke' / 'slurm' / 'logs' / f'{job}_started.json'
    return json.loads(path.read_text())['restarts'] if path.exists() else None


@pytest.mark.slow
def test_a_time_out_resumes_and_changes_nothing(cluster, data, pace, tmp_path):
    """The limit of a minute comes near in mid-training."""
    one = (*ONE, '--set', f'train_cfg.max_epochs={int(35 / pace)}')
    calm = Suite(tmp_path / 'calm', data, cluster)
    suite = Suite(tmp_path, data, cluster, timeout_min=1, signal_delay_s=20)
    waiting = [
        each.start('table3', *one, *LOADER, '--launcher', 'slurm', '--cluster', each.file, '--wait')
        for each in (calm, suite)
    ]
    said = ends_of(*waiting)
    assert [process.returncode for process in waiting] == [0, 0], said
    [folder] = suite.folders()
    [job] = suite.records()[0]['jobs'].values()
    assert '_' not in job  # a single run is no array
    count = restarts(suite, job)
    assert count >= 1 and 'requeued' in said[1][1]
    assert (folder / 'worker.log').read_text().count('Calling checkpoint method') == count
    assert metrics(calm.folders()[0]) == metrics(folder)


@pytest.mark.slow
def test_a_limit_too_short_for_an_epoch_ends_the_run(cluster, data, tmp_path):
    """The epoch never ends. It is tried three times, 40 seconds each."""
    suite = Suite(tmp_path, data, cluster, timeout_min=1, signal_delay_s=20)
    endless = ('table3', *ONE, '--set', 'train_dataloader.sampler.type=InfiniteSampler')
    done = suite.slurm(*endless, '--wait', check=1)
    says = r'the time limit of 1 min ended 3 starts in a row before .*: give timeout_min in the cluster file more'
    assert re.search(says, done.stderr), done.stderr
    [job] = suite.records()[0]['jobs'].values()
    assert restarts(suite, job) == 2 and re.search(says, suite.status(*endless)['0.6'])


@pytest.mark.slow
def test_of_two_tasks_the_first_alone_requeues(cluster, data, tmp_path):
    suite = Suite(tmp_path, data, cluster, timeout_min=1, signal_delay_s=20, tasks_per_node=2)
    endless = ('table3', *ONE, *LOADER, '--set', 'train_cfg.max_epochs=1000')
    suite.slurm(*endless)
    [folder], [job] = suite.folders(), suite.records()[0]['jobs'].values()
    until(lambda: restarts(suite, job), 'the job to be requeued before its time limit and to start again', 300)
    suite.run(*endless, '--cancel')
    assert 'Calling checkpoint method' in (folder / 'worker.log').read_text()
    second = (folder / 'worker.log.1').read_text()
    assert 'Not checkpointing nor requeuing' in second and 'Calling checkpoint method' not in second


@pytest.mark.slow
def test_a_local_start_shares_the_work(cluster, finished, tmp_path):
    """Both at once on the same runs: no run is trained twice, and both print the table."""
    grid = ('table3', '--only', 't_max=0.6', '--set', 'train_cfg.max_epochs=2')
    suite = Suite(tmp_path, finished.data, cluster)
    both = [
        suite.start(*grid, '--launcher', 'slurm', '--cluster', suite.file, '--wait'),
        suite.start(*grid, '--jobs', 1),
    ]
    said = ends_of(*both)
    assert [process.returncode for process in both] == [0, 0], said
    assert said[0][0] == said[1][0]
    assert len(suite.folders()) == 4
    for folder in suite.folders():
        assert trainings(folder) == 1 and [entry['epoch'] for entry in epochs(folder)] == [1, 2]


def test_a_dry_run_shows_the_script(cluster, data, tmp_path):
    suite = Suite(
        tmp_path, data, cluster, partition='debug', cpus_per_task=2, setup=['true'], sbatch={'mail-type': 'END'}
    )
    shown = suite.slurm('table3', '--dry-run').stdout
    for line in ('--partition=debug', '--array=0-15%16', '--requeue', '--mail-type=END', '--cpus-per-task=2'):
        assert f'#SBATCH {line}' in shown
    assert 'o2f-dry-run' in shown and '--kill-on-bad-exit=1' in shown and f'PYTHONPATH={ROOT}' in shown
    assert not suite.runs.exists() and suite.runs.parent.exists()


def test_what_slurm_does_not_take_gets_one_line(cluster, finished, tmp_path):
    suite = Suite(tmp_path, finished.data, cluster, partition='nowhere')
    done = suite.slurm('table3', '--only', 't_min=0.2', check=2)
    assert 'Slurm does not take the jobs: sbatch: error: ' in done.stderr.strip().splitlines()[-1]
    assert not suite.records()


def test_without_slurm_one_line_says_what_is_missing(data, tmp_path):
    suite = Suite(tmp_path, data, None)
    done = suite.slurm('table3', check=2, env={**os.environ, 'PATH': str(tmp_path)})
    [line] = done.stderr.splitlines()
    assert 'sbatch' in line and 'slurm-wlm' in line


@pytest.mark.slow
def test_two_tasks_train_one_run_through_a_requeue(cluster, data, pace, tmp_path):
    """The same as two processes on this machine that nobody disturbs; test_ranks compares two with one."""
    count = max(10, int(8 / pace))
    one = ('table3', '--only', 't_max=0.6', '--only', 't_min=0.2', '--set', f'train_cfg.max_epochs={count}')
    suite = Suite(tmp_path, data, cluster, tasks_per_node=2)
    following = suite.start(*one, '--launcher', 'slurm', '--cluster', suite.file, '--wait')
    try:
        [record] = until(suite.records, 'the submission')
        [folder], [job] = suite.folders(), record['jobs'].values()
        until(lambda: epochs(folder), 'an epoch')
        cluster.run('scontrol', 'requeue', job)
        calm = Suite(tmp_path / 'calm', data, None)  # it trains while the job waits in the queue
        calm.run(*one, '--processes-per-run', 2)
        said = ends_of(following)
    finally:
        following.kill()
    assert following.returncode == 0, said
    note = json.loads((suite.runs / 'smoke' / 'slurm' / 'logs' / f'{job}_started.json').read_text())
    assert note['restarts'] == 1 and (folder / 'worker.log.1').exists()
    assert epochs(folder)[-1]['epoch'] == count and metrics(folder) == metrics(calm.runs / 'smoke' / folder.name)
