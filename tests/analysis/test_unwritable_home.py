"""Figures and the report where the home folder cannot be written: nothing is said, and nothing is left."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from stored_files import ROOT

#: What matplotlib says on a slow machine, wherever its folder is.
SLOW = 'Matplotlib is building the font cache; this may take a moment.\n'


@pytest.mark.parametrize('script', ['make_figures.py', 'make_report.py'])
def test_nothing_is_said(store, tmp_path, script):
    store.fig5()
    names = ['fig5'] if script == 'make_figures.py' else []
    command = [sys.executable, str(ROOT / 'analysis' / script), *names, '--out', str(tmp_path / 'out')]
    env = {'PATH': os.environ['PATH'], 'HOME': '/dev/null/home', 'TMPDIR': tempfile.mkdtemp(dir=tmp_path)}
    done = subprocess.run(
        [*command, '--runs', str(store.runs)], env=env, capture_output=True, encoding='utf-8', timeout=120
    )
    assert done.returncode == 0 and done.stderr in ('', SLOW), done.stderr
    assert 'wrote ' in done.stdout and not any(Path(env['TMPDIR']).iterdir())
