"""What all scripts of analysis share: how tables and profiles are named, and what cannot be printed or read."""

import os
import subprocess
import sys

import pytest
from stored_files import ROOT
from stored_studies import write_study

from analysis.results import command


def script(name, *arguments, **options):
    """Run a script of analysis as a user does."""
    words = [sys.executable, str(ROOT / 'analysis' / f'{name}.py'), *map(str, arguments)]
    options = {'stdout': subprocess.PIPE, **options}
    return subprocess.run(words, stderr=subprocess.PIPE, encoding='utf-8', cwd='/', timeout=300, **options)


@pytest.mark.parametrize('words', [('make_tables',), ('check_claims',), ('make_figures', '--list')])
def test_a_full_disk_behind_standard_output_is_one_line(full, words):
    with open('/dev/full', 'w') as disk:
        done = script(*words, '--runs', full.runs, stdout=disk)
    assert done.returncode == 2
    assert done.stderr == f'{words[0]}.py: standard output: No space left on device\n'


@pytest.mark.parametrize('words', [('make_tables',), ('make_figures', '--list')])
def test_a_closed_pipe_is_quiet(full, words):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = script(*words, '--runs', full.runs, stdout=writing)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, '')


def test_a_profile_and_a_table_may_be_given_by_their_files(full, tmp_path):
    """As to run.py. The profile's own file need not be there any more."""
    full.plan('radius')
    by_name = script('make_tables', 'radius', '--runs', full.runs)
    by_path = script('make_tables', 'docs/examples/radius.yaml', '--profile', 'x/desk.py', '--runs', full.runs)
    assert by_name.returncode == by_path.returncode == 0 and by_path.stdout == by_name.stdout != ''
    script('make_tables', 'docs/examples/radius.yaml', '--runs', full.runs, '--out', tmp_path / 'out')
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['radius.md']
    missing = script('make_tables', 'docs/examples/other.yaml', '--runs', full.runs)
    path = full.runs / 'desk' / 'tables' / 'other.json'
    assert missing.returncode == 2 and missing.stderr.startswith(f'make_tables.py: no plan {path} (there are ')
    assert 'run python experiments/run.py docs/examples/other.yaml --runs' in missing.stderr


def test_a_profile_with_too_long_a_name_is_one_line(full):
    done = script('make_tables', '--profile', 'a' * 400, '--runs', full.runs)
    assert done.returncode == 2 and done.stderr.count('\n') == 1 and 'File name too long' in done.stderr


def test_commands_name_files_of_ones_own(store):
    """A table by its path, whose folder is not stored, and a profile by its file or, if that is gone, by its path."""
    assert command(store.runs, 'desk', 'radius').startswith('python experiments/run.py PATH/radius.yaml --runs')
    assert 'run.py scaling --profile smoke' in command(store.runs, 'smoke', 'scaling')
    gone = command(store.runs, 'mine', 'table1', into='again')
    assert gone == 'python experiments/run.py table1 --profile PATH/mine.py --data DIR --runs again'
    store.write('mine-subset0.1/mine.py', "base = 'smoke'\n")
    kept = command(store.runs, 'mine-subset0.1', 'table1')
    file = store.runs / 'mine-subset0.1' / 'mine.py'
    assert f' table1 --profile {file} --data DIR --subset 0.1 --runs {store.runs}' in kept


def test_a_note_that_is_not_utf_8_is_named(full, tmp_path):
    (full.runs / 'notes').mkdir()
    (full.runs / 'notes' / 'head.md').write_bytes('Maße'.encode('latin-1'))
    done = script('make_results', '--runs', full.runs, '--out', tmp_path)
    assert done.returncode == 2 and done.stderr.count('head.md: it is not UTF-8 (') == 1
    assert 'Traceback' not in done.stderr and done.stderr.splitlines()[-1].endswith('save it as UTF-8')


@pytest.mark.parametrize('name, option', [('make_results', '--out'), ('publish', '--to')])
def test_any_locale_will_do(full, tmp_path, name, option):
    """Both print what the locale lacks: a table of values, and the name of a folder or a table."""
    env = {**os.environ, 'PYTHONIOENCODING': 'ascii'}
    full.plan('größe')
    done = script(name, '--runs', full.runs, option, tmp_path / 'Maße', env=env)
    assert done.returncode == 0 and 'Traceback' not in done.stderr and 'ß' in done.stdout


def test_a_profile_that_has_only_studies_is_told_so(store, tmp_path):
    write_study(store, 'paper-text', (0,), lambda at, seed: (0.3, 0.4))
    done = script('make_results', '--runs', store.runs, '--out', tmp_path)
    assert done.returncode == 2 and done.stderr.count('\n') == 1
    assert f'{store.runs}/desk/tables has only studies or tables with --set (paper-text)' in done.stderr
    assert not list(tmp_path.glob('*.md'))
