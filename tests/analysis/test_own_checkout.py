"""The scripts take the packages of the folder that they lie in, whatever other checkout is on the path."""

import os
import subprocess
import sys

import pytest
from stored_files import ROOT

SCRIPTS = sorted(path.name for path in (ROOT / 'analysis').glob('*.py') if '__main__' in path.read_text())


@pytest.mark.parametrize('script', SCRIPTS)
def test_a_script_takes_its_own_packages(script, tmp_path):
    for package in ('analysis', 'experiments', 'o2f'):
        (tmp_path / package).mkdir()
        (tmp_path / package / '__init__.py').write_text("raise RuntimeError('of another checkout')\n")
    done = subprocess.run(
        [sys.executable, str(ROOT / 'analysis' / script), '--help'],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0 and 'usage: ' in done.stdout, done.stderr


def test_there_are_six():
    assert len(SCRIPTS) == 6
