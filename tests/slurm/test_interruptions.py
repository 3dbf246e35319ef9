"""A node that fails or reboots, a job that is pre-empted and a disk that fills, on a cluster without accounting."""

import contextlib
import os
import re
import signal
import socket
import subprocess

import psutil
import pytest
from slurm_suite import Suite, epochs, metrics
from waiting import ends_of, until

ONE = ('table3', '--only', 't_max=0.6', '--only', 't_min=0.2')


@pytest.fixture(scope='module')
def plain_cluster(start):
    """Without slurmdbd: what became of a job is known from squeue and from the run's folder alone."""
    cluster = start('--no-accounting')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('SLURM_CONF', cluster.conf)
        yield cluster
    cluster.stop()


def fail_node(cluster, job):
    node = f'nodename={socket.gethostname().partition(".")[0]}'
    cluster.run('scontrol', 'update', node, 'state=down', 'reason=test')
    until(lambda: state(cluster, job).startswith('PENDING'), f'job {job} to be requeued')

    def back():
        subprocess.run(['scontrol', 'update', node, 'state=resume'], capture_output=True)  # refused while tasks end
        return cluster.run('sinfo', '-h', '-o', '%T').split()[0] in ('idle', 'mixed', 'allocated')

    until(back, 'the node to be back')


def preempt(cluster, job):
    """By a job of the partition that goes first; there is a CPU for it, but it wants all of them."""
    cluster.run('sbatch', '--partition=debug', '--exclusive', '--output=/dev/null', '--wrap', 'sleep 2')
    until(lambda: state(cluster, job).startswith('PENDING'), f'job {job} to be requeued')


def reboot(cluster, job):
    """All processes of the node die at once, as when its power fails; slurmd then starts anew."""
    daemons = [pid for pid, name in cluster.processes().items() if name in ('slurmd', 'slurmstepd')]
    jobs = [child.pid for pid in daemons for child in psutil.Process(pid).children(recursive=True)]
    for pid in {*daemons, *jobs}:
        os.kill(pid, signal.SIGKILL)
    until(lambda: not {*daemons, *jobs} & set(cluster.processes()), 'the processes of the node to die')
    again = cluster.script('start', '--no-accounting')
    assert again.returncode == 0, again.stderr
    until(lambda: state(cluster, job).startswith('PENDING'), f'job {job} to be requeued')


def state(cluster, job):
    return cluster.run('squeue', '-h', '-j', job, '-o', '%T %r').strip()


@pytest.mark.slow
def test_the_run_goes_on_from_its_newest_checkpoint(plain_cluster, finished_alone, tmp_path):
    """First its node fails, then it is pre-empted, then its node reboots."""
    one = finished_alone.one
    suite = Suite(tmp_path, finished_alone.data, plain_cluster, partition='preempt')
    following = suite.start(*one, '--launcher', 'slurm', '--cluster', suite.file, '--wait')
    try:
        [record] = until(suite.records, 'the submission')
        [job] = record['jobs'].values()
        [folder] = suite.folders()
        before = []
        for happens in (fail_node, preempt, reboot):
            until(lambda wanted=len(before) + 2: len(epochs(folder)) >= wanted, 'two more epochs')
            happens(plain_cluster, job)
            kept, before = before[:-1], epochs(folder)
            # An epoch's metrics are there a moment before its checkpoint; seconds and all, so it was not trained again.
            assert before[: len(kept)] == kept and len(before) < finished_alone.epochs
            assert 'requeued' in suite.run(*one, '--status').stdout
        [(_, err)] = ends_of(following)
    finally:
        following.kill()
    assert following.returncode == 0, err
    assert len(before) > 3 and epochs(folder)[: len(before) - 1] == before[:-1]
    assert metrics(folder) == metrics(finished_alone.runs / 'smoke' / folder.name)


@pytest.mark.slow
def test_a_disk_that_fills_fails_the_job_in_one_line(plain_cluster, finished_alone, tmp_path, mount):
    """With room again, the same command continues the run; a full quota is met in the same way."""
    one = finished_alone.one
    mount(tmp_path / 'runs', 'size=64m')
    suite = Suite(tmp_path, finished_alone.data, plain_cluster)
    following = suite.start(*one, '--launcher', 'slurm', '--cluster', suite.file, '--wait')
    try:
        until(lambda: suite.records() and len(epochs(suite.folders()[0])) >= 2, 'two epochs')
        [folder] = suite.folders()
        filler = suite.runs / 'filler'
        fill(filler)
        [(_, err)] = ends_of(following)
    finally:
        following.kill()
    assert following.returncode == 1 and 'Traceback' not in err
    says = r'1 run\(s\) failed \(\w+\): .*No space left on device. Free some space or choose another folder'
    assert re.search(says, err.splitlines()[-1]), err
    before = epochs(folder)
    assert 'failed' in suite.run(*one, '--status').stdout

    filler.unlink()
    suite.slurm(*one, '--wait')
    assert epochs(folder)[: len(before) - 1] == before[:-1]
    assert metrics(folder) == metrics(finished_alone.runs / 'smoke' / folder.name)


def fill(path):
    """A file that takes all the room that its file system has."""
    with open(path, 'wb', buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 12))


@pytest.fixture(scope='module')
def finished_alone(data, pace, tmp_path_factory):
    """The same run, undisturbed, on this machine; it takes well longer than the grace of a pre-emption."""
    suite = Suite(tmp_path_factory.mktemp('alone'), data, None)
    suite.epochs = max(40, int(32 / pace))
    suite.one = (*ONE, '--set', f'train_cfg.max_epochs={suite.epochs}')
    suite.run(*suite.one)
    return suite
