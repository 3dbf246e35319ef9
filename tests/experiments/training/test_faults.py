"""Disks that are full, folders that are read-only, broken files, divergence: each fails its run, and no other."""

import re
from pathlib import Path

import pytest

FAULTS = Path(__file__).with_name('faults.yaml')
GRID = (FAULTS, '--profile', 'smoke', '--jobs', 2)
#: What the terminal says of each run that fails, on one line.
SAYS = {
    'full-at-once': r'cannot write \S+: No space left on device. Free some space or choose another folder',
    'full-later': r'cannot write \S+: No space left on device. Free some space or choose another folder',
    'read-only': r'cannot write \S+: it is read-only. Make it writable or choose another folder',
    'damaged': r'epoch_1.pth is damaged \(.+\): delete it, and the run starts again from its first epoch',
    'half-a-result': r'result.json cannot be read .*: delete it and run again',
    'half-of-metrics': r'metrics.json cannot be read .*: delete the folder and run again',
    'diverges': r'training diverged: the loss was (nan|inf) in epoch \d, iteration \d+. A smaller learning rate',
}


@pytest.fixture
def folders(suite):
    """Folder of each run by its fate."""
    shown = suite.run(*GRID, '--dry-run', check=0).stdout
    return {fate: suite.runs / 'smoke' / run for run, fate in re.findall(r'^(\w+)  faults fate=(\S+)', shown, re.M)}


@pytest.mark.slow
def test_a_run_fails_alone_and_says_why(suite, folders, mount):
    mount(folders['full-at-once'], 'size=12k')  # room for the config; not even for the failure
    mount(folders['full-later'], 'size=200k')  # room for all but a checkpoint
    mount(folders['read-only'], 'ro')
    folders['damaged'].mkdir()
    (folders['damaged'] / 'epoch_1.pth').write_bytes(b'half of a check')
    halves = [folders['half-a-result'] / 'result.json', folders['half-of-metrics'] / 'metrics.json']
    for half in halves:
        half.parent.mkdir()
        half.write_text('{"schema": 1, ')
    shown = suite.run(*GRID, '--dry-run', check=0).stdout  # a look stops at none of them either
    assert len(re.findall(r'fate=half-\S+ +failed\b', shown)) == 2

    done = suite.run(*GRID, check=1)
    assert 'Traceback' not in done.stderr and '1 of 8 runs' in done.stdout
    for fate, says in SAYS.items():
        lines = [line for line in done.stderr.splitlines() if 'run(s) failed' in line and folders[fate].name in line]
        assert len(lines) == 1 and re.search(says, lines[0]), done.stderr
    assert [fate for fate, folder in folders.items() if (folder / 'result.json').exists()] == ['half-a-result', 'calm']

    log = folders['diverges'] / 'worker.log'
    assert log.read_text().count('errors.UserError: ') == 1
    status = suite.run(*GRID, '--status', check=0).stdout
    assert re.search(rf'fate=diverges  failed.*\n  {folders["diverges"]}: {SAYS["diverges"]}.*\n(  \| .*\n)+', status)

    # Put right, they are trained; what diverges is tried once more, and no oftener.
    mount.all_away()
    for file in (folders['damaged'] / 'epoch_1.pth', *halves):
        file.unlink()
    done = suite.run(*GRID, check=1)
    assert '1 run(s) failed' in done.stderr.splitlines()[-1] and '7 of 8 runs' in done.stdout
    assert log.read_text().count('errors.UserError: ') == 2


def test_runs_in_a_read_only_folder_get_one_line(suite, mount):
    mount(suite.runs, 'ro')
    done = suite.run(*GRID, check=2)
    [line] = done.stderr.splitlines()
    assert line.startswith('run.py: cannot make ') and 'choose another folder with --runs' in line
