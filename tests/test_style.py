"""The whole repository is laid out, linted and typed as pyproject.toml asks."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize('tool', ['ruff check', 'ruff format --check', 'mypy'])
def test_repository_passes(tool, unmet):
    program, *words = tool.split()
    if importlib.util.find_spec(program) is None:
        unmet(f'{program} is not installed in this environment')
    done = subprocess.run([sys.executable, '-m', program, *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
