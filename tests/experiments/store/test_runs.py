"""A run's folder tells its state, and nothing in it is half-written or counted twice."""

import json
import math
import subprocess
import sys

import pytest

from experiments.spec.config import resolve
from experiments.store.errors import UserError
from experiments.store.runs import DONE, FAILED, RUNNING, STOPPED, WAITING, Busy, RunFolder, Status, wall_seconds


@pytest.fixture
def folder(tmp_path):
    folder = RunFolder(tmp_path / 'abc')
    folder.create(resolve('smoke', (), {}, 0, 'test'))
    return folder


def test_settings_that_the_id_leaves_out(folder):
    """A run that is not done takes those of the newest command; one that is done keeps its own."""

    def created(level):
        folder.create(resolve('smoke', (), {'log_level': level}, 0, 'test'))
        return f"log_level = '{level}'" in folder.config.read_text()

    assert created('INFO') and created('DEBUG')
    folder.add_epoch(1, {'without_nms/AP': 0.25}, {}, 9.5, 0.5)
    folder.finish('abc', 'smoke', 0, dict(device='cpu'))
    assert not created('INFO')


def test_the_states_in_turn(folder):
    assert folder.status().state == WAITING
    with folder.lock():
        folder.set_progress(1, 12, 3.5)
        status = folder.status()
        assert (status.state, status.epoch, status.epochs, status.left_s) == (RUNNING, 1, 12, 3.5)
        folder.add_epoch(
            1, {'without_nms/AP': 0.25, 'without_nms/APl': math.nan}, {'loss': 1 / 3, 'certain_anchors': 1}, 9.5, 0.5
        )
    [entry] = folder.epochs()
    assert entry['losses'] == {'loss': 0.333333} and entry['positives'] == {'certain': 1}
    assert folder.status().state == STOPPED
    folder.fail('lack of trying')
    assert (folder.status().state, folder.status().message) == (FAILED, 'lack of trying')
    folder.finish('abc', 'smoke', 0, dict(device='cpu'))
    assert folder.status().state == DONE
    assert folder.result() == dict(
        schema=1,
        run='abc',
        profile='smoke',
        seed=0,
        epochs=1,
        metrics={'without_nms/AP': 0.25, 'without_nms/APl': None},
        provenance=dict(device='cpu', wall_s=9.5),
    )


def test_a_stalled_epoch_does_not_count():
    assert wall_seconds([10.0, 12.0, 6000.0, 11.0, 10.0]) == 55 and wall_seconds([]) == 0


def test_a_run_is_held_by_one_process_and_freed_by_its_death(folder):
    hold = (
        'import sys; from pathlib import Path; from experiments.store.runs import RunFolder\n'
        'with RunFolder(Path(sys.argv[1])).lock(): print("held", flush=True); sys.stdin.read()'
    )
    other = subprocess.Popen(
        [sys.executable, '-c', hold, str(folder.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == 'held\n'
    assert folder.status().state == RUNNING
    with pytest.raises(Busy), folder.lock(patience_s=0.1):
        pass
    other.kill()
    other.wait()
    with folder.lock():
        pass
    assert folder.status().state == WAITING
    other.stdin.close()
    other.stdout.close()


def test_epochs_after_a_resume_replace_what_was_recorded(folder):
    for epoch in (1, 2, 3, 2):
        folder.add_epoch(epoch, {'m': epoch}, {}, 1, 0)
    assert [entry['epoch'] for entry in folder.epochs()] == [1, 2]


def test_the_newest_checkpoint_by_number(folder):
    assert folder.checkpoint() is None
    for name in ('epoch_9.pth', 'epoch_10.pth', 'epoch_x.pth', 'epoch_11.pth.tmp'):
        (folder.path / name).write_bytes(b'')
    assert folder.checkpoint().name == 'epoch_10.pth'
    (folder.path / 'aside').write_bytes(b'new')
    folder.add_checkpoint(folder.path / 'aside', 11)
    assert sorted(path.name for path in folder.path.glob('epoch_*.pth')) == ['epoch_11.pth']


@pytest.mark.parametrize('content', ['', '[]', '{"schema": 2, "metrics": {}, "epochs": 1}', '{"schema": 1}'])
def test_a_damaged_result_is_named(folder, content):
    (folder.path / 'result.json').write_text(content)
    with pytest.raises(UserError, match='result.json .*delete it and run again') as raised:
        folder.result()
    assert folder.status() == Status(FAILED, message=str(raised.value))


@pytest.mark.parametrize('content', ['', '[]', '{"schema": 1}', '{"schema": 1, "epochs": 3}'])
def test_damaged_metrics_are_named(folder, content):
    (folder.path / 'metrics.json').write_text(content)
    with pytest.raises(UserError, match='metrics.json .*delete .* run again') as raised:
        folder.epochs()
    assert folder.status() == Status(FAILED, message=str(raised.value))


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='cannot make .*; choose another folder with --runs or --data'):
        RunFolder(tmp_path / 'file' / 'abc').create(resolve('smoke', (), {}, 0, 'test'))


def test_what_is_stored_is_json_that_any_reader_takes(folder):
    folder.add_epoch(1, {'m': math.nan}, {}, 1, 0)
    text = (folder.path / 'metrics.json').read_text()
    assert json.loads(text, parse_constant=pytest.fail)['epochs'][0]['metrics'] == {'m': None}
