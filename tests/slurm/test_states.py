"""What is made of Slurm's answers and of cluster files; squeue and sacct are played by scripts here."""

from datetime import datetime, timedelta, timezone

import pytest

from experiments.launchers.slurm import task as task_module
from experiments.launchers.slurm.jobs import Records, Submission, query
from experiments.launchers.slurm.launcher import SlurmLauncher
from experiments.launchers.slurm.settings import Settings, read_settings
from experiments.launchers.slurm.submission import limited
from experiments.launchers.slurm.task import MAX_STALLED_STARTS, Task, rendezvous_port, started_file
from experiments.run import main
from experiments.store.errors import UserError
from experiments.store.runs import RunFolder

EXAMPLES = ('cpu', 'single-gpu', 'eight-gpu-nodes', 'two-nodes', 'preemptible')


@pytest.fixture
def says(tmp_path, monkeypatch):
    """says(program=output or exit status): what Slurm's commands answer; those that are not named are not there."""
    monkeypatch.setenv('PATH', str(tmp_path / 'bin'))

    def says(**answers):
        (tmp_path / 'bin').mkdir()
        for program, answer in answers.items():
            body = f'exit {answer}' if isinstance(answer, int) else f"printf '%b' '{answer}'"
            (tmp_path / 'bin' / program).write_text(f'#!/bin/sh\n{body}\n')
            (tmp_path / 'bin' / program).chmod(0o755)

    return says


@pytest.fixture
def placed(tmp_path):
    """placed(): the state of a run that was submitted as 7_0."""
    records = Records(tmp_path / 'slurm')
    records.begin('o2f-x')
    records.finish(Submission('o2f-x', '7', '2026-01-01T00:00:00.000000+00:00', {'a': '7_0'}))
    assert records.begun() == []
    folder = RunFolder(tmp_path / 'a')
    folder.path.mkdir()

    def placed(**kwargs):
        [found] = query(records, {'a': folder}, **kwargs).values()
        return found

    placed.folder, placed.records = folder, records
    return placed


@pytest.mark.parametrize(
    'answers, state, message',
    [
        (dict(squeue='7_0|PENDING|Priority|0|\n'), 'queued', 'job 7_0, waits (Priority)'),
        (dict(squeue='7_0|PENDING|BeginTime|2|\n'), 'requeued', 'job 7_0, requeued 2×, waits (BeginTime)'),
        (dict(squeue='7_0|CONFIGURING|None|0|\n'), 'running', 'job 7_0, configuring'),
        (
            dict(squeue='7_0|TIMEOUT|TimeLimit|0|\n'),
            'failed',
            'job 7_0 ended as TIMEOUT (TimeLimit); it had no time to r',
        ),
        (dict(squeue='7_0|OUT_OF_MEMORY|OutOfMemory|0|\n'), 'failed', 'job 7_0 ended as OUT_OF_MEMORY (OutOfMemory)'),
        (dict(squeue='', sacct='7_0|o2f-x|NODE_FAIL|1:0\n'), 'failed', 'job 7_0 ended as NODE_FAIL (exit code 1:0)'),
        (dict(squeue='', sacct='7_0|o2f-x|CANCELLED by 0|0:0\n'), 'failed', 'job 7_0 ended as CANCELLED'),
        (dict(squeue='', sacct='7_0|another|RUNNING|0:0\n'), 'failed', 'job 7_0 is no longer in the queue, and left'),
        (dict(squeue='', sacct=1), 'failed', 'job 7_0 is no longer in the queue, and left no result'),
        (dict(squeue=1), 'queued', 'submitted as 7_0; squeue: exit status 1'),
        ({}, 'queued', 'submitted as 7_0; squeue is not installed here'),
    ],
)
def test_a_run_that_never_trained(says, placed, answers, state, message):
    says(**answers)
    status = placed().status
    assert status.state == state and status.message.startswith(message)


def test_the_folder_has_the_last_word(says, placed):
    says(squeue='7_0|FAILED|NonZeroExitCode|0|\n')
    (placed.records.logs / '7_0_0_log.err').write_text('srun: error: vm: task 0: Killed\nsrun: Terminated\n\n')
    assert placed().judged and placed().status.message.endswith('(NonZeroExitCode): srun: error: vm: task 0: Killed')
    with open(placed.records.logs / '7_0_0_log.err', 'a') as log:
        log.write('o2f: cannot write a: no room\nsrun: error: vm: task 0: Exited with exit code 1\n')
    assert placed().status.message.endswith('(NonZeroExitCode): cannot write a: no room')
    placed.folder.fail('training diverged')
    assert placed().status.message == 'training diverged' and not placed().judged
    with placed.folder.lock():
        assert placed().status.state == 'running'


def test_without_squeue_the_folder_still_tells_that_a_job_was_requeued(says, placed):
    says()
    started_file(placed.records.logs, '7_0').write_text('{"restarts": 2}')
    status = placed().status
    assert status.state == 'stopped' and status.message.startswith('job 7_0, requeued 2×, not training now')
    with pytest.raises(UserError, match='squeue is not installed'):
        placed(must_know=True)


@pytest.mark.parametrize(
    'squeue, code, stays',
    [
        ('7_0|PENDING|Priority|0|\n', 0, True),
        ('7_0|RUNNING|None|0|\n', 0, True),  # it has not taken the run's lock yet
        ('7_0|COMPLETED|None|0|\n', 0, False),
        (1, 2, True),
    ],
)
def test_clean_leaves_alone_what_slurm_goes_on_with(says, placed, tmp_path, capsys, squeue, code, stays):
    checkpoint, config = placed.folder.path / 'epoch_1.pth', placed.folder.config
    checkpoint.write_bytes(b'x')
    config.write_text('a = 1')
    placed.folder.fail('the disk was full')
    says(squeue=squeue)
    assert main(['clean', '--unfinished', '--yes', '--profile', tmp_path.name, '--runs', str(tmp_path.parent)]) == code
    printed = capsys.readouterr()
    assert checkpoint.exists() == stays
    assert code == 0 or 'it is not known which wait: squeue: exit status 1' in printed.err


@pytest.mark.parametrize('name', EXAMPLES)
def test_examples_are_read(name):
    from experiments.launchers.slurm.submission import ROOT

    settings = read_settings(ROOT / 'slurm' / f'{name}.yaml')
    assert settings.tasks == settings.nodes * max(settings.gpus_per_node, 1)


@pytest.mark.parametrize(
    'text, says',
    [
        ('partitoin: gpu', "unknown key 'partitoin'; did you mean partition"),
        ('gpus_per_node: two', "gpus_per_node: must be a whole number, not 'two'"),
        ('mem_gb: -1', 'mem_gb: must be more than 0.0, not -1'),
        ('setup: module load cuda', 'setup: must be a list'),
        ('sbatch: {exclusive: false}', 'sbatch.exclusive: must be text, a number or true'),
        ('sbatch: {array: 0-3}', 'sbatch.array: write it as array_parallelism, beside sbatch'),
        ('sbatch: {cpus_per_task: 3}', 'sbatch.cpus_per_task: write it as cpus_per_task, beside sbatch'),
        ('sbatch: {output: mine.log}', 'sbatch.output: the launcher sets it: take it out'),
        ('sbatch: {mem: 64G}', 'sbatch.mem: write it as mem_gb, beside sbatch'),
        ('sbatch: {--time: 5}', 'sbatch.--time: write the long name of the option, without dashes'),
        ('sbatch: {t: 5}', 'sbatch.t: write the long name of the option, without dashes'),
        ('{gpus_per_node: 2, tasks_per_node: 3}', 'tasks_per_node: must be that of gpus_per_node, 2'),
        ('timeout_min: 1', 'signal_delay_s: must be shorter than timeout_min'),
        ('- a', 'must map keys to values'),
        ('a: [', 'not valid YAML'),
    ],
)
def test_a_wrong_cluster_file_gets_one_line(tmp_path, text, says):
    path = tmp_path / 'c.yaml'
    path.write_text(text)
    with pytest.raises(UserError) as error:
        read_settings(path)
    assert says in str(error.value) and str(path) in str(error.value) and '\n' not in str(error.value)


def test_options_of_sbatch_that_the_launcher_adds_to(tmp_path):
    """Arrays that wait for earlier ones wait for the user's jobs too."""
    asked = Settings(sbatch={'dependency': 'afterok:7', 'mail-type': 'END'})
    assert limited(asked, 3, None).sbatch == asked.sbatch and limited(asked, 3, None).array_parallelism == 3
    assert limited(asked, 3, '12').sbatch == {'dependency': 'afterok:7,afterany:12', 'mail-type': 'END'}
    assert limited(Settings(), 3, '12').sbatch == {'dependency': 'afterany:12'}


def test_a_path_that_slurm_would_read_as_a_pattern(tmp_path):
    with pytest.raises(UserError, match='Slurm replaces % in paths, here .*100%/desk/slurm/logs: name another --runs'):
        SlurmLauncher(tmp_path / '100%' / 'desk').start()


def test_a_cluster_file_needs_nothing(tmp_path):
    (tmp_path / 'c.yaml').write_text('{}')
    assert read_settings(tmp_path / 'c.yaml') == Settings()
    with pytest.raises(UserError, match='No such file'):
        read_settings(tmp_path / 'd.yaml')


@pytest.mark.parametrize(
    'timeout_min, signal_delay_s, reached_s',
    [(10, 90, 510), (10, 90, 450), (3, 90, 90), (3, 90, 30), (1, 20, 40)],
    ids=['long', 'long, early', 'short', 'short, early', 'shortest'],
)
def test_a_limit_too_short_for_an_epoch_ends_the_run(tmp_path, monkeypatch, timeout_min, signal_delay_s, reached_s):
    """``reached_s``: when Slurm sends its signal; it may do so a minute too early."""
    pytest.importorskip('submitit')
    now = [0.0]
    monkeypatch.setattr(task_module.time, 'monotonic', lambda: now[0])
    task = Task(str(tmp_path), 'a', 'smoke', {}, 1, timeout_min, signal_delay_s)
    for start in range(MAX_STALLED_STARTS):
        task._start = (now[0], 0)
        if timeout_min == 10:
            now[0] += 20
            assert task.checkpoint().function.stalled_starts == start  # a pre-emption counts for nothing
            now[0] -= 20
        now[0] += reached_s + 1
        if start < MAX_STALLED_STARTS - 1:
            task = task.checkpoint().function
            assert task._start is None  # no state of this start travels
    with pytest.raises(UserError, match='ended 3 starts in a row'):
        task.checkpoint()
    RunFolder(tmp_path).add_epoch(1, {}, {}, 1, 1)
    assert task.checkpoint().function.stalled_starts == 0


def test_the_last_submission_counts_after_the_clock_is_set_back(says, placed):
    """The first was a year ahead; slurmctld knows both jobs."""
    says(squeue='7_0|CANCELLED|None|0|\n8_0|PENDING|Priority|0|\n9_0|PENDING|Priority|0|\n')
    records = placed.records
    ahead = datetime.now(timezone.utc) + timedelta(days=365)
    records.finish(Submission('o2f-x', '7', ahead.isoformat(timespec='microseconds'), {'a': '7_0'}))
    assert placed().status.state == 'failed'
    with records.lock():
        times = [records.now(), records.now()]
    assert ahead.isoformat() < times[0] < times[1]
    for array, at in zip('98', times):
        records.finish(Submission('o2f-x', array, at, {'a': f'{array}_0'}))
    assert placed().status.message == 'job 8_0, waits (Priority)'


def test_each_start_has_a_port_of_its_own():
    ports = [rendezvous_port('7_0', restarts) for restarts in range(50)]
    assert len(set(ports)) > 45 and ports[0] != ports[1] and all(10000 <= port < 30000 for port in ports)
    assert ports == [rendezvous_port('7_0', restarts) for restarts in range(50)]
