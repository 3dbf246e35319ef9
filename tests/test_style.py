"""The whole repository is laid out, linted and typed as pyproject.toml asks, and imports only where it may."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize('tool', ['ruff check', 'ruff format --check', pytest.param('mypy', marks=pytest.mark.slow)])
def test_repository_passes(tool, unmet):
    program, *words = tool.split()
    if importlib.util.find_spec(program) is None:
        unmet(f'{program} is not installed in this environment')
    done = subprocess.run([sys.executable, '-m', program, *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_imports_keep_the_rules(unmet):
    """The contracts in pyproject.toml: what each package may import, and no circles."""
    if importlib.util.find_spec('importlinter') is None:
        unmet('import-linter is not installed in this environment')
    code = 'from importlinter.cli import lint_imports_command; lint_imports_command()'
    done = subprocess.run([sys.executable, '-c', code, '--no-cache'], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize('folder', ['o2f', 'experiments', 'analysis'])
def test_a_folder_can_be_read_at_a_glance(folder):
    assert len(list((ROOT / folder).glob('*.py'))) <= 14
