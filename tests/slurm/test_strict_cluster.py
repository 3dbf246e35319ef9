"""A cluster with limits, on real cores: small arrays, few jobs of a user, and tasks that are bound to their cores."""

import os
import re
import subprocess
import sys

import pytest
from slurm_suite import ROOT, Suite
from waiting import until

GRID = ('table3', '--only', 't_min=0.2')  # four runs
pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def strict_cluster(start):
    """At most two jobs in an array, and at most three of a user."""
    lines = ('MaxArraySize=2', 'TaskPlugin=task/affinity', 'AccountingStorageEnforce=limits')
    cluster = start(*(word for line in lines for word in ('--conf', line)))
    try:
        cluster.run('sacctmgr', '-iQ', 'add', 'account', 'lab', 'cluster=dev')
        cluster.run('sacctmgr', '-iQ', 'add', 'user', 'root', 'account=lab', 'defaultaccount=lab', 'maxsubmitjobs=3')
        look = ('scontrol', 'show', 'assoc_mgr', 'users=root', 'flags=assoc')
        until(lambda: 'MaxSubmitJobs=3' in cluster.run(*look), 'slurmctld to know the limit')
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv('SLURM_CONF', cluster.conf)
            yield cluster
    finally:
        cluster.stop()


def jobs_of(suite):
    return [sorted(record['jobs'].values()) for record in suite.records()]


def test_a_partial_refusal_says_what_was_submitted_and_cancel_finds_every_array(strict_cluster, data, tmp_path):
    suite = Suite(tmp_path, data, strict_cluster)
    endless = (*GRID, '--set', 'train_cfg.max_epochs=1000')
    done = suite.slurm(*endless, check=2)
    first, second = suite.records()
    assert [len(record['jobs']) for record in (first, second)] == [2, 1]
    assert f'submitted 3 run(s) as 2 jobs, {first["array"]} (' in done.stderr
    assert re.search(r'Slurm does not take 1 other run\(s\) now \(sbatch: error: .*\); the same command', done.stderr)
    states = suite.status(*endless)
    assert sorted('waiting' in text for text in states.values()) == [False, False, False, True]
    assert len(list((suite.runs / 'smoke' / 'slurm' / 'logs').glob('*.pkl'))) == 3  # those of refused jobs are gone
    said = suite.run(*endless, '--cancel').stderr
    assert said.startswith('run.py: cancelled 3 job(s)')
    look = ('squeue', '-h', '-t', 'PD,R,CG', '-o', '%A')
    until(lambda: not strict_cluster.run(*look).split(), 'all jobs to end')


def test_wait_submits_the_rest_and_follows_every_array(strict_cluster, data, tmp_path):
    suite = Suite(tmp_path, data, strict_cluster, array_parallelism=2)
    done = suite.slurm(*GRID, '--wait')
    assert len(re.findall(r'\d+\.\d/\d+\.\d', done.stdout.split('\nPaper (')[0])) == 4
    assert sum(len(jobs) for jobs in jobs_of(suite)) == 4 and len(suite.records()) >= 3
    assert 'they are submitted when others have ended' in done.stderr
    assert all((path.parent / 'result.json').exists() for path in suite.runs.glob('smoke/*/config.py'))


def test_a_submission_from_inside_an_allocation_is_one_of_its_own(strict_cluster, data, tmp_path):
    """The outer job asks for its memory by core and has a binding; either would end or bind the inner one."""
    suite = Suite(tmp_path, data, strict_cluster, mem_gb=1, cpus_per_task=2)
    one = ('table3', '--only', 't_max=0.6', '--only', 't_min=0.2')
    outer = ('srun', '--ntasks=1', '--cpus-per-task=1', '--mem-per-cpu=100', '--cpu-bind=cores', '--time=5')
    inner = suite.command(*one, '--launcher', 'slurm', '--cluster', suite.file)
    done = subprocess.run([*outer, *inner], capture_output=True, text=True, timeout=120, cwd=os.sep)
    assert done.returncode == 0 and 'submitted 1 run(s)' in done.stderr, done.stderr
    [folder] = suite.folders()
    names = ('result.json', 'failure.json')
    ended = until(lambda: [name for name in names if (folder / name).exists()], 'the end of the run')
    assert ended == ['result.json'], suite.status(*one)


def test_a_task_has_all_of_its_cores(strict_cluster, data, tmp_path):
    """Also where srun does not take their number from the job (Slurm 22.05 to 23.02)."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip('one core cannot show it')
    suite = Suite(tmp_path, data, strict_cluster, cpus_per_task=2, tasks_per_node=1)
    code = (
        'from pathlib import Path; from experiments.launchers.slurm.settings import read_settings; '
        'from experiments.launchers.slurm.submission import executor, outside_of_any_job; import sys, os\n'
        f'made = executor(read_settings(Path({str(suite.file)!r})), Path({str(tmp_path / "logs")!r}), "mask")\n'
        'with outside_of_any_job(): job = made.submit(os.sched_getaffinity, 0)\n'
        'print(len(job.result()))'
    )
    env = {**os.environ, 'PYTHONPATH': str(ROOT)}
    done = subprocess.run([sys.executable, '-c', code], env=env, capture_output=True, text=True, timeout=120)
    assert done.stdout == '2\n', done.stderr
