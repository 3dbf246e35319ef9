"""A home folder that is missing or cannot be written. Tests may run as root, so no rights are taken away: the folder
lies below /proc or below a file, where nobody can make one."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
MATPLOTLIB = (
    'from experiments.store.files import settle_home; settle_home(); import os, matplotlib.font_manager; '
    'print(os.environ.get("MPLCONFIGDIR"), matplotlib.get_configdir(), matplotlib.get_cachedir())'
)
#: What matplotlib says on a slow machine, wherever its folder is.
SLOW = 'Matplotlib is building the font cache; this may take a moment.\n'


def environment(**variables):
    unset = ('MPLCONFIGDIR', 'XDG_CONFIG_HOME', 'XDG_CACHE_HOME')
    env = {key: value for key, value in os.environ.items() if key not in unset}
    return {**env, 'PYTHONPATH': str(ROOT), **variables}


def folders_of_matplotlib(**variables):
    command = [sys.executable, '-W', 'ignore', '-c', MATPLOTLIB]
    done = subprocess.run(command, env=environment(**variables), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stderr in ('', SLOW), done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    'variables',
    [
        dict(HOME='/proc/nowhere'),
        pytest.param(dict(HOME='/dev/null/home'), marks=pytest.mark.slow),
        pytest.param(dict(MPLCONFIGDIR='/proc/nowhere'), marks=pytest.mark.slow),
        pytest.param(dict(XDG_CACHE_HOME='/dev/null/cache'), marks=pytest.mark.slow),
    ],
    ids=lambda variables: '='.join(*variables.items()),
)
def test_matplotlib_has_a_folder_for_as_long_as_the_command_takes(variables, tmp_path):
    named, *used = folders_of_matplotlib(**{'HOME': str(tmp_path), **variables})
    assert used == [named, named] and not os.path.exists(named)


def test_a_home_that_can_be_written_is_used(tmp_path):
    assert folders_of_matplotlib(HOME=str(tmp_path)) == [
        'None',
        f'{tmp_path}/.config/matplotlib',
        f'{tmp_path}/.cache/matplotlib',
    ]


ONE = ('table3', '--only', 't_max=0.6', '--only', 't_min=0.2', '--profile', 'smoke')


@pytest.mark.slow
def test_a_run_trains_without_a_home(suite):
    done = suite.run(*ONE, env=environment(HOME='/dev/null/home'), check=0)
    assert all(re.match(r'\[ *\d+:\d\d\] ', line) for line in done.stderr.splitlines()), done.stderr
    [folder] = suite.folders()
    assert (folder / 'result.json').exists() and 'atplotlib' not in (folder / 'worker.log').read_text()


@pytest.mark.slow
def test_a_run_trains_for_a_user_without_a_name(suite, need, unmet):
    """As in a container that gives each user a number alone, and no HOME."""
    need('unshare')
    as_user = ('unshare', '--user', '--map-user=54321', '--map-group=54321', 'env', '-u', 'HOME')
    if subprocess.run((*as_user, 'true'), capture_output=True).returncode:
        unmet('user namespaces cannot be made here')
    done = subprocess.run((*as_user, *suite.command(*ONE)), env=environment(), capture_output=True, text=True)
    assert done.returncode == 0 and 'Traceback' not in done.stderr, done.stderr
    [folder] = suite.folders()
    assert (folder / 'result.json').exists()
