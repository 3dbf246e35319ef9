"""Where programs are missing, the tests that run them are skipped and name what is missing, and no test fails."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SLURM = re.compile(r'(slurm|munge|mariadb)|(sbatch|srun|squeue|sacct|scancel|scontrol|sinfo)$')


@pytest.fixture
def programs():
    """A folder of all programs on PATH but Slurm's. Every user may enter it, which is not so of ``tmp_path``."""
    with tempfile.TemporaryDirectory() as folder:
        programs = Path(folder)
        programs.chmod(0o755)
        for each in filter(os.path.isdir, os.environ['PATH'].split(os.pathsep)):
            for program in Path(each).iterdir():
                if not SLURM.match(program.name) and not (programs / program.name).exists():
                    (programs / program.name).symlink_to(program)
        yield programs


@pytest.mark.slow
def test_without_slurm_its_tests_are_skipped(programs, tmp_path):
    """All tests of tests/slurm, the slow ones too: without Slurm they take no time."""
    unset = ('O2F_REQUIRE_PROGRAMS', 'PYTEST_ADDOPTS', 'SLURM_CONF')
    env = {key: value for key, value in os.environ.items() if key not in unset}
    command = [sys.executable, '-m', 'pytest', 'tests/slurm', '-m', '', '-rs', '-p', 'no:cacheprovider']
    done = subprocess.run(
        [*command, '--basetemp', tmp_path / 'pytest'],
        cwd=ROOT,
        env={**env, 'PATH': str(programs)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    passed, skipped = map(int, re.search(r'(\d+) passed, (\d+) skipped', done.stdout).groups())
    reasons = re.findall(r'^SKIPPED .*: (.+)$', done.stdout, re.M)
    assert (
        passed
        and skipped
        and set(reasons)
        <= {
            'sbatch is not on PATH',
            'munged is not on PATH',
            'a Slurm cluster is started by root only',
        }
    )
