"""A clock that is set back and forth during a training, as a time server does: nothing waits or measures by it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

GRID = ('table3', '--only', 't_max=0.6', '--only', 't_min=0.2', '--set', 'train_cfg.max_epochs=3', '--profile', 'smoke')


@pytest.fixture
def jumping(tmp_path, need):
    """The environment of a process whose clock jumps."""
    need('cc')
    library = tmp_path / 'clock.so'
    source = Path(__file__).with_name('jumping_clock.c')
    subprocess.run(('cc', '-shared', '-fPIC', '-o', library, source, '-ldl'), check=True, timeout=60)
    env = {**os.environ, 'LD_PRELOAD': str(library)}
    code = 'import time; first = time.time(); time.sleep(1); print(abs(time.time() - first) > 86400)'
    assert subprocess.run([sys.executable, '-c', code], env=env, capture_output=True).stdout == b'True\n'
    return env


@pytest.mark.slow
@pytest.mark.parametrize('processes', [1, 2])
def test_a_clock_that_jumps_changes_nothing(suite_at, jumping, tmp_path, processes):
    epochs = []
    for name, env in ('calm', dict(os.environ)), ('jumps', jumping):
        suite = suite_at(tmp_path / name)
        suite.run(*GRID, '--processes-per-run', processes, env=env, check=0, timeout=300)
        [folder] = suite.folders()
        assert (folder / 'result.json').exists()
        epochs.append(json.loads((folder / 'metrics.json').read_text())['epochs'])
    calm, jumps = epochs
    assert [entry['metrics'] for entry in jumps] == [entry['metrics'] for entry in calm]
    assert all(0 < entry['seconds'] < 300 for entry in jumps)
