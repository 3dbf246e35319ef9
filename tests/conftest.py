"""Lets the tests run from any folder and in any import mode, one thread per process; asks for programs by name.

On x86 all of them compute with the same instructions, whatever else the processor knows.
"""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Folders under tests/ carry the names of the packages they test, so the packages must be found first. What several of
# those folders share are plain modules in tests/.
sys.path[:0] = [str(ROOT), str(ROOT / 'tests')]
os.environ.setdefault('OMP_NUM_THREADS', '1')
if platform.machine() == 'x86_64':
    # Wider instructions round otherwise, and trainings that are compared drift apart by other amounts.
    os.environ.setdefault('ATEN_CPU_CAPABILITY', 'avx2')
    os.environ.setdefault('DNNL_MAX_CPU_ISA', 'AVX2')


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """What ``-n logical`` means: the cores that this process may use, quota and affinity counted."""
    from experiments.machine import cores

    return cores()


@pytest.fixture(autouse=True)
def one_thread():
    """Preparing data in this process takes all cores, and torch would keep that setting for every later test."""
    if 'torch' in sys.modules:
        sys.modules['torch'].set_num_threads(1)


@pytest.fixture(scope='session')
def unmet():
    """unmet(reason): skips the test; fails it where O2F_REQUIRE_PROGRAMS=1 says that all must be there, as in CI."""

    def unmet(reason):
        if os.environ.get('O2F_REQUIRE_PROGRAMS') == '1':
            pytest.fail(f'{reason}, and O2F_REQUIRE_PROGRAMS=1 requires it')
        pytest.skip(reason)

    return unmet


@pytest.fixture
def mount(unmet):
    """mount(folder, options): a file system in memory there, until mount.all_away() or the test's end."""
    mounted = []

    def mount(folder, options):
        folder.mkdir(parents=True, exist_ok=True)
        if os.geteuid() != 0:
            unmet('a file system is mounted by root only')
        done = subprocess.run(('mount', '-t', 'tmpfs', '-o', options, 'none', folder), capture_output=True, text=True)
        if done.returncode:
            unmet(f'no file system can be mounted here ({done.stderr.strip()})')
        mounted.append(folder)

    def unmount():
        while mounted:  # lazily: the last process of a Slurm job that was waited for may still have its log open
            subprocess.run(('umount', '--lazy', mounted.pop()), check=True)

    mount.all_away = unmount
    yield mount
    unmount()


@pytest.fixture(scope='session')
def gpu():
    """Skips the test on a machine without a GPU; CI has none, so no setting requires it."""
    torch = pytest.importorskip('torch')
    if not torch.cuda.is_available():
        pytest.skip('there is no GPU')
    return torch.device('cuda')


@pytest.fixture(scope='session')
def need(unmet):
    """need(program): skips or fails, as above, the test whose program is missing."""

    def need(program):
        # Daemons lie where the PATH of a user need not point.
        if not shutil.which(program, path=os.pathsep.join([os.environ.get('PATH', os.defpath), '/usr/sbin', '/sbin'])):
            unmet(f'{program} is not on PATH')

    return need
