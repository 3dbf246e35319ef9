"""What this process may use: real control groups and masks, and both versions of control groups as files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import machine
from experiments.commands.estimate.memory import ON_GENERATED_DATA, memory_needed
from experiments.launchers.local import fit_memory
from experiments.spec.config import resolve
from experiments.store.errors import UserError
from experiments.store.runs import RunFolder

ROOT = Path(__file__).resolve().parents[2]
GIB = 2**30


def process(tmp_path, groups, *mounts):
    """The folder in /proc of a process in these control groups, which are mounted so."""
    (tmp_path / 'proc').mkdir()
    (tmp_path / 'proc' / 'cgroup').write_text(''.join(f'{line}\n' for line in groups))
    lines = [
        f'31 23 0:2{i} {root} {point} rw - {kind} none rw{options}'
        for i, (root, point, kind, options) in enumerate(mounts)
    ]
    (tmp_path / 'proc' / 'mountinfo').write_text(''.join(f'{line}\n' for line in lines))
    return tmp_path / 'proc'


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace('__', '.')).write_text(f'{text}\n')


def test_version_2_has_the_smallest_limit_on_the_way_up(tmp_path):
    point = tmp_path / 'cg roup'
    write(point, cpu__stat='')
    write(point / 'job', cpu__max='150000 100000', memory__max=3 * GIB)
    write(point / 'job' / 'step', cpu__max='max 100000', memory__max='max')
    proc = process(tmp_path, ['0::/job/step'], ('/', str(point).replace(' ', r'\040'), 'cgroup2', ''))
    assert machine.core_quota(proc) == 1.5 and machine.memory(proc) == min(3 * GIB, machine.machine_memory())


def test_version_1_in_a_container_that_sees_its_own_group_as_the_root(tmp_path):
    write(tmp_path / 'cpu', cpu__cfs_quota_us=250000, cpu__cfs_period_us=50000)
    write(tmp_path / 'memory', memory__limit_in_bytes=GIB)
    proc = process(
        tmp_path,
        ['4:memory:/docker/abc', '3:cpuset:/', '2:cpu,cpuacct:/docker/abc', '0::/'],
        ('/docker/abc', tmp_path / 'cpu', 'cgroup', ',cpu,cpuacct'),
        ('/docker/abc', tmp_path / 'memory', 'cgroup', ',memory'),
    )
    assert machine.core_quota(proc) == 5.0 and machine.memory(proc) == GIB


def test_no_limit(tmp_path):
    write(tmp_path / 'cpu', cpu__cfs_quota_us=-1, cpu__cfs_period_us=100000)
    write(tmp_path / 'memory', memory__limit_in_bytes=2**63 - 4096)
    groups = ['4:memory:/', '2:cpu:/']
    mounts = ('/', tmp_path / 'cpu', 'cgroup', ',cpu'), ('/', tmp_path / 'memory', 'cgroup', ',memory')
    proc = process(tmp_path, groups, *mounts)
    assert machine.core_quota(proc) is None and machine.memory(proc) == machine.machine_memory()
    assert machine.core_quota(tmp_path / 'nowhere') is None


SHOWS = (
    'from experiments import machine; from experiments.launchers.local import LocalLauncher; '
    'print(machine.cores(), machine.memory(), LocalLauncher(need=2**29).capacity)'
)


def inside(script):
    """What a process prints of itself that has gone through these lines of shell."""
    env = {**os.environ, 'PYTHONPATH': str(ROOT), 'CUDA_VISIBLE_DEVICES': ''}
    command = ['sh', '-ec', f'{script}\nexec "$0" -c "$1"', sys.executable, SHOWS]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def groups(unmet):
    """New control groups of this machine for cores and memory, below those of this process: their folders."""
    found = [next(iter(machine._groups(controller, Path('/proc/self'))), None) for controller in ('cpu', 'memory')]
    made = []
    try:
        for parent, file in zip(found, (('cpu.max', 'cpu.cfs_quota_us'), ('memory.max', 'memory.limit_in_bytes'))):
            if parent is None:
                unmet('control groups are not mounted')
            made.append(parent / f'o2f-test-{os.getpid()}')
            try:
                made[-1].mkdir()
            except OSError as error:
                made.pop()
                unmet(f'control groups cannot be made here: {error}')
            if not any((made[-1] / name).exists() for name in file):
                unmet(f'control groups have no {file[0]} here')
        yield made
    finally:
        for group in reversed(made):
            group.rmdir()


def test_a_quota_and_a_limit_of_this_machine(groups):
    cpu, memory = groups
    quota = 'cpu.max' if (cpu / 'cpu.max').exists() else 'cpu.cfs_quota_us'
    (cpu / quota).write_text('100000 100000' if quota == 'cpu.max' else '100000')
    limit = 'memory.max' if (memory / 'memory.max').exists() else 'memory.limit_in_bytes'
    (memory / limit).write_text(str(GIB))
    lines = dict.fromkeys(f'echo 0 > {group}/cgroup.procs' for group in groups)
    words = inside('\n'.join(lines))
    assert words.startswith(f'1 {GIB} Capacity(runs=1, processes=1, threads=1')


def test_the_affinity_mask_counts(need):
    need('taskset')
    one = min(os.sched_getaffinity(0))
    assert inside(f'taskset -pc {one} $$ >/dev/null').startswith('1 ')


def test_memory_limits_the_runs_at_once_and_says_so():
    all_of_it = machine.memory()
    assert fit_memory(None, 4, all_of_it // 8) == (4, '')
    runs, note = fit_memory(None, 4, all_of_it // 2)
    assert runs == 2 and '2 run(s) at once, not 4; --jobs changes that' in note
    assert fit_memory(None, 4, 2 * all_of_it)[0] == 1
    assert fit_memory(3, 4, all_of_it // 2)[0] == 3 and '--jobs 3 may be too many' in fit_memory(3, 4, all_of_it)[1]
    assert fit_memory(None, 4, 0) == (4, '')


def test_what_a_run_needs_is_measured_where_one_has_ended(tmp_path):
    runs = [resolve('smoke', (), {}, seed, 'test') for seed in (0, 1)]
    configs, folders = {run.id: run.config for run in runs}, {run.id: RunFolder(tmp_path / run.id) for run in runs}
    assert memory_needed(configs, folders) == ON_GENERATED_DATA > 10**8
    folder = folders[runs[0].id]
    folder.create(runs[0])
    folder.add_epoch(1, {'without_nms/AP': 0.1}, {}, 10.0, 0.0)
    folder.finish(runs[0].id, 'smoke', 0, {'memory': 7 * GIB})
    assert memory_needed(configs, folders) == 7 * GIB
    paper = resolve('paper', (), {}, 0, 'test')
    assert memory_needed({'a': paper.config}, {'a': RunFolder(tmp_path / 'a')}) == 0
    _, measured = sorted((machine.peak_memory(0), machine.peak_memory(1)))
    assert measured > 10**7


def settled(**variables):
    code = (
        'from experiments.machine import settle_temporary_folder as settle; import os, tempfile; '
        'print(settle(), tempfile.gettempdir(), os.environ.get("RAY_TMPDIR"))'
    )
    env = {**{key: value for key, value in os.environ.items() if key != 'RAY_TMPDIR'}, 'PYTHONPATH': str(ROOT)}
    done = subprocess.run([sys.executable, '-c', code], env={**env, **variables}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_temporary_folder_that_is_too_long_or_cannot_be_written_is_replaced(tmp_path):
    long = tmp_path / ('long' * 20)
    long.mkdir()
    assert settled(TMPDIR=str(long)) == ['/tmp', '/tmp', 'None']
    assert settled(TMPDIR='/proc/o2f') == ['/tmp', '/tmp', 'None']
    assert settled(TMPDIR='/var/tmp', RAY_TMPDIR=str(long)) == ['/var/tmp'] * 3


def test_no_temporary_folder_at_all(monkeypatch):
    monkeypatch.setattr(machine, 'can_be_written', lambda path: False)
    with pytest.raises(UserError, match='set TMPDIR to a folder that can be written, with a path of at most'):
        machine.settle_temporary_folder()
