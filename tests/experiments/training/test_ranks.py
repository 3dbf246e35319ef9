"""A run in two processes: what one process makes of it, and an end for both whatever happens to either."""

import json
import multiprocessing
import os
import resource
import shutil
import signal
from pathlib import Path

import pytest
import torch

import o2f  # noqa: F401  (lets torch read mmengine's checkpoints)
from experiments.data.prepare import prepare
from experiments.launchers.local import LocalLauncher
from experiments.spec.config import resolve
from experiments.spec.paths import data_paths
from experiments.store.runs import FAILED, RunFolder
from experiments.training import worker
from experiments.training.distributed import ranks_here

#: Four steps of four images in an epoch. Ranks draw flips of their own, so there are none.
SMALL = {'train_cfg.max_epochs': 5, 'train_dataloader.batch_size': 4, 'train_dataloader.dataset.pipeline.2.prob': 0.0}
CELL = (
    *('table3', '--profile', 'smoke', '--only', 't_max=0.6', '--only', 't_min=0.2'),
    *(word for key, value in SMALL.items() for word in ('--set', f'{key}={value}')),
)


def metrics(folder):
    """Of every epoch. Duplicates and score margins of so few objects jump with a detection that is almost a tie."""
    jumping = ('duplicates', 'score_margin')
    return [
        {key: value for key, value in entry['metrics'].items() if not key.endswith(jumping)}
        for entry in folder.epochs()
    ]


@pytest.fixture(scope='module')
def run(data):
    """A run, with the data that it needs."""
    run = resolve('smoke', (), SMALL, 0, 'test')
    prepare([run.config], data, lambda *_: None, lambda function, *args: function(*args))
    return run


@pytest.fixture(scope='module')
def train(run, data):
    """train(path, processes, show): trains the run on this machine; its folder and state at the end."""

    def train(path, processes, show=lambda states: None):
        folder = RunFolder(path)
        folder.create(run)
        return folder, LocalLauncher(processes=processes).run([run], {run.id: folder}, data, show)[run.id]

    return train


@pytest.fixture(scope='module')
def trained(train, tmp_path_factory):
    """The run's folder by how many processes trained it, undisturbed."""
    path = tmp_path_factory.mktemp('trained')
    return {processes: train(path / str(processes), processes)[0] for processes in (1, 2)}


def difference(folder, other):
    """How far the weights of each tensor are from the other run's, relative to their norm; ascending."""
    weights, others = (torch.load(each.checkpoint())['state_dict'] for each in (folder, other))
    assert set(weights) == set(others)
    found = [(weights[name].float() - others[name]).norm() / others[name].float().norm() for name in others]
    return sorted(torch.stack(found).nan_to_num().tolist())


def test_two_processes_end_with_the_metrics_of_one(trained):
    """But for rounding, which a choice of anchors that is almost a tie can make more of. A learning rate that is a
    tenth smaller makes the median difference of the weights 0.003 and the greatest 1.2."""
    alone, pair = trained[1], trained[2]
    values = [[value for entry in metrics(each) for value in entry.values()] for each in (alone, pair)]
    assert len(values[0]) == 5 * 14 and max(filter(None, values[0])) > 0.04
    assert values[1] == pytest.approx(values[0], abs=0.005)
    of_tensors = difference(pair, alone)
    assert of_tensors[len(of_tensors) // 2] < 1e-4 and of_tensors[-1] < 0.1


def test_what_two_processes_leave_behind(trained):
    alone, pair = trained[1], trained[2]
    origins = [each.result()['provenance'] for each in (alone, pair)]
    assert [(origin['processes'], origin['batch']) for origin in origins] == [(1, 4), (2, 4)]
    assert origins[1]['device'].startswith('2 × ')
    names = [{path.name for path in each.path.iterdir() if not path.name[0].isdigit()} for each in (alone, pair)]
    assert names[1] - names[0] == {'worker.log.1'} and names[0] < names[1]


def process_of_rank(folder, rank):
    """The id of the process whose output goes to that rank's log."""
    log = str(folder.log_of(rank))
    for link in Path('/proc').glob('[0-9]*/fd/1'):
        try:
            if os.readlink(link) == log:
                return int(link.parts[2])
        except OSError:  # it has ended meanwhile
            continue


@pytest.mark.parametrize('rank', [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_killed_rank_ends_the_run_which_resumes_exactly(trained, train, tmp_path, rank):
    folder, killed = RunFolder(tmp_path), []

    def kill(states):
        if folder.epochs() and not killed:
            killed.extend(process_of_rank(folder, each) for each in (rank, 1 - rank))
            os.kill(killed[0], signal.SIGKILL)

    _, end = train(tmp_path, 2, kill)
    assert end.state == FAILED and 1 <= len(folder.epochs()) < 5
    assert end.message.startswith(f'the process of rank {rank} ended without a word (signal SIGKILL')
    assert not Path(f'/proc/{killed[1]}').exists()
    train(tmp_path, 2)
    assert metrics(folder) == metrics(trained[2]) and difference(folder, trained[2])[-1] == 0


def exit_codes(path, run, places_):
    """Exit statuses of two processes that train a run together."""
    context = multiprocessing.get_context('forkserver')
    processes = [
        context.Process(target=worker.work, args=(str(path), run.id, run.profile, places_, 1, None, ranks))
        for ranks in ranks_here(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        process.kill()
    return [process.exitcode for process in processes]


def test_a_failure_of_one_rank_is_told_and_ends_all(run, data, tmp_path):
    """An image that rank 1 alone reads in the first epoch is gone."""
    here = data_paths(run.config, data)
    shutil.copytree(here['SCENES'], tmp_path / 'scenes')
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0)).tolist()
    images = json.loads((tmp_path / 'scenes' / 'annotations' / 'instances_train2017.json').read_text())['images']
    lost = tmp_path / 'scenes' / 'train2017' / images[order[5]]['file_name']  # the third image of rank 1
    lost.unlink()
    folder = RunFolder(tmp_path / 'run')
    folder.create(run)
    assert exit_codes(folder.path, run, {**here, 'SCENES': str(tmp_path / 'scenes')}) == [worker.FAILED] * 2
    status = folder.status()
    assert status.state == FAILED and status.message == f'{lost} cannot be read: No such file or directory'
    assert str(lost) in folder.log_of(1).read_text()


def test_all_leave_a_run_that_another_process_trains(run, data, tmp_path):
    folder = RunFolder(tmp_path)
    folder.create(run)
    with folder.lock():
        assert exit_codes(folder.path, run, data_paths(run.config, data)) == [worker.BUSY] * 2
    assert not folder.log.exists() and not folder.log_of(1).exists()


def test_all_leave_a_run_that_is_done(run, data, trained):
    before = trained[2].result()
    assert exit_codes(trained[2].path, run, data_paths(run.config, data)) == [worker.DONE] * 2
    assert trained[2].result() == before


@pytest.mark.slow
def test_a_full_disk_ends_all(run, suite):
    """A limit on file size stands for the full disk, on which rank 0 alone writes. Before, a line says that three
    processes train with another batch."""
    limit = (1_000_000, 1_000_000)
    done = suite.run(
        *CELL, '--processes-per-run', 3, check=1, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    )
    assert 'File too large. Free some space' in done.stderr and 'Traceback' not in done.stderr
    assert done.stderr.count('a batch of 4 images does not divide over 3 processes: 1 each make 3') == 1


def test_bad_numbers_of_processes_get_one_line(suite):
    done = suite.run(*CELL, '--processes-per-run', 0, check=2)
    assert "argument --processes-per-run: '0' must be a whole number, 1 or more" in done.stderr
    done = suite.run(*CELL, '--processes-per-run', 2, check=2, env={**os.environ, 'CUDA_VISIBLE_DEVICES': '0'})
    assert done.stderr == 'run.py: --processes-per-run 2: each takes a GPU, and there are 1 here\n'
