"""A wheel holds all that is needed: installed, it trains and shows a table from an empty folder."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    """installed(module, *args): runs a module of the installed wheel from an empty folder."""
    folder = tmp_path_factory.mktemp('wheel')
    source = folder / 'source'  # setuptools leaves its own files beside what it builds
    for name in ('o2f', 'experiments', 'analysis'):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns('__pycache__'))
    for name in ('pyproject.toml', 'README.md', 'LICENSE'):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, '-m', 'uv', 'pip', 'install', '--quiet', '--offline', '--no-deps', '--no-build-isolation']
    subprocess.run([*pip, '--python', sys.executable, '--target', folder / 'site', source], check=True)
    empty = folder / 'empty'
    empty.mkdir()

    def run(module, *args):
        environment = dict(os.environ, PYTHONPATH=str(folder / 'site'))
        command = [sys.executable, '-m', module, *args]
        return subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True)

    run.folder, run.site = empty, folder / 'site'
    return run


@pytest.mark.slow
def test_a_table_is_trained_and_shown(installed):
    cell = ('table3', '--profile', 'smoke', '--only', 't_max=0.6', '--only', 't_min=0.2')
    trained = installed('experiments.run', *cell)
    assert trained.returncode == 0, trained.stderr
    assert sorted(path.name for path in installed.folder.iterdir()) == ['data', 'runs']
    shown = installed('analysis.make_tables', 'table3', '--profile', 'smoke')
    assert shown.returncode == 0 and shown.stdout.strip() == trained.stdout.strip()


def test_all_tables_and_figures_are_there(installed):
    listed = installed('experiments.run', '--list')
    files = [*(ROOT / 'experiments/tables').iterdir(), *(ROOT / 'experiments/studies').iterdir()]
    headings = 2  # of the studies and of the profiles
    assert listed.returncode == 0 and listed.stdout.count('\n') == len(files) + headings
    drawn = installed('analysis.make_figures', 'schedule', '--profile', 'smoke', '--format', 'svg', '--out', 'figures')
    assert drawn.returncode == 0, drawn.stderr
    resolved = installed('experiments.run', 'all', '--dry-run', '--profile', 'paper')
    assert resolved.returncode == 0, resolved.stderr


def test_it_is_the_wheel_that_runs(installed):
    names = ('o2f', 'experiments', 'analysis')
    code = f'from importlib.util import find_spec; print(*(find_spec(name).origin for name in {names}))'
    environment = dict(os.environ, PYTHONPATH=str(installed.site))
    command = [sys.executable, '-c', code]
    done = subprocess.run(command, cwd=installed.folder, env=environment, capture_output=True, text=True)
    assert done.stdout.count(str(installed.site)) == 3
