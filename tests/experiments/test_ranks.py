"""A run in two processes: what one process makes of it, and an end for both whatever happens to either."""

import json
import multiprocessing
import os
import re
import resource
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch

from experiments import worker
from experiments.places import places
from experiments.prepare import prepare
from experiments.ranks import ranks_here
from experiments.resolve import resolve
from experiments.runs import RunFolder

#: Four steps of four images in an epoch. Ranks draw flips of their own, so there are none.
SMALL = {'train_cfg.max_epochs': 8, 'train_dataloader.batch_size': 4, 'train_dataloader.dataset.pipeline.2.prob': 0.0}
CELL = (
    *('table3', '--profile', 'smoke', '--only', 't_max=0.6', '--only', 't_min=0.2'),
    *(word for key, value in SMALL.items() for word in ('--set', f'{key}={value}')),
)


def folder_of(suite):
    [path] = suite.folders()
    return RunFolder(path)


def metrics(folder):
    return [entry['metrics'] for entry in folder.epochs()]


@pytest.fixture(scope='module')
def trained(data, tmp_path_factory):
    """The run by so many processes, undisturbed: its folder and what the command said."""
    from conftest import Suite

    found = {}
    for processes in (1, 2):
        suite = Suite(tmp_path_factory.mktemp('trained') / 'runs', data)
        said = suite.run(*CELL, '--processes-per-run', processes, check=0)
        found[processes] = folder_of(suite), said
    return found


def test_two_processes_end_with_the_metrics_of_one(trained):
    (alone, _), (pair, said) = trained[1], trained[2]
    assert alone.path.name == pair.path.name and len(metrics(pair)) == 8
    values = [[value for entry in metrics(each) for value in entry.values()] for each in (alone, pair)]
    assert max(value for value in values[0] if value is not None) > 0.01
    assert values[1] == pytest.approx(values[0], abs=1e-3)
    ours, theirs = (torch.load(each.checkpoint())['state_dict'] for each in (pair, alone))
    assert set(ours) == set(theirs)
    assert 'divide' not in said.stderr


def test_what_two_processes_leave_behind(trained):
    alone, pair = trained[1][0], trained[2][0]
    origins = [each.result()['provenance'] for each in (alone, pair)]
    assert [(origin['processes'], origin['batch']) for origin in origins] == [(1, 4), (2, 4)]
    assert origins[1]['device'].startswith('2 × ')
    names = {path.name for path in pair.path.iterdir()} - {path.name for path in alone.path.iterdir()}
    assert {name for name in names if not re.fullmatch(r'\d{8}_\d{6}', name)} == {'worker.log.1'}


def process_of_rank(folder, rank):
    """The id of the process whose output goes to that rank's log."""
    log = str(folder.log_of(rank))
    for link in Path('/proc').glob('[0-9]*/fd/1'):
        try:
            if os.readlink(link) == log:
                return int(link.parts[2])
        except OSError:  # it has ended meanwhile
            continue


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, 'waited in vain'
        time.sleep(0.02)
    return found


@pytest.mark.parametrize('rank', [0, 1])
def test_a_killed_rank_ends_the_run_which_resumes_exactly(trained, suite, rank):
    process = suite.start(*CELL, '--processes-per-run', 2)
    until(lambda: suite.folders() and folder_of(suite).epochs())
    folder = folder_of(suite)
    victim, other = process_of_rank(folder, rank), process_of_rank(folder, 1 - rank)
    os.kill(victim, signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1 and f'the process of rank {rank} ended without a word (signal SIGKILL' in said
    assert not Path(f'/proc/{other}').exists() and 1 <= len(folder.epochs()) < 8
    suite.run(*CELL, '--processes-per-run', 2, check=0)
    assert metrics(folder) == metrics(trained[2][0])


def test_a_full_disk_ends_both(suite, trained):
    """A limit on file size stands for the full disk, on which rank 0 alone writes."""
    limit = (1_000_000, 1_000_000)
    done = suite.run(
        *CELL, '--processes-per-run', 2, check=1, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    )
    assert 'File too large. Free some space' in done.stderr and 'Traceback' not in done.stderr


@pytest.fixture(scope='module')
def here(data, trained):
    run = resolve('smoke', (), {**SMALL, 'train_cfg.max_epochs': 2}, 0, 'test')
    prepare([run.config], data, lambda *_: None, lambda function, *args: function(*args))
    return run, places(run.config, data)


def exit_codes(path, run, places_, size=2):
    """Exit statuses of the processes that train a run together, as a launcher starts them."""
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['experiments.training'])
    processes = [
        context.Process(target=worker.work, args=(str(path), run.id, run.profile, places_, 1, None, ranks))
        for ranks in ranks_here(size)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        process.kill()
    return [process.exitcode for process in processes]


def test_a_failure_of_one_rank_is_told_and_ends_all(here, tmp_path):
    """An image that rank 1 alone reads in the first epoch is gone."""
    run, places_ = here
    shutil.copytree(places_['SCENES'], tmp_path / 'scenes')
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0)).tolist()
    images = json.loads((tmp_path / 'scenes' / 'annotations' / 'instances_train2017.json').read_text())['images']
    lost = tmp_path / 'scenes' / 'train2017' / images[order[3]]['file_name']  # the second image of rank 1
    lost.unlink()
    folder = RunFolder(tmp_path / 'run')
    folder.create(run)
    assert exit_codes(folder.path, run, {**places_, 'SCENES': str(tmp_path / 'scenes')}) == [worker.FAILED] * 2
    assert folder.status().state == 'failed' and f"No such file or directory: '{lost}'" in folder.status().message
    assert 'Traceback' in folder.log_of(1).read_text()
    assert 'one of its processes failed' in folder.log.read_text() or 'Traceback' in folder.log.read_text()


def test_all_leave_a_run_that_another_process_trains(here, tmp_path):
    run, places_ = here
    folder = RunFolder(tmp_path / 'run')
    folder.create(run)
    with folder.lock():
        assert exit_codes(folder.path, run, places_) == [worker.BUSY] * 2
    assert not folder.log.exists() and not folder.log_of(1).exists()


def test_all_leave_a_run_that_is_done(here, trained):
    run, places_ = here
    folder = trained[2][0]
    before = folder.result()
    assert exit_codes(folder.path, run, places_) == [worker.DONE] * 2 and folder.result() == before


def test_bad_numbers_of_processes_get_one_line(suite):
    done = suite.run(*CELL, '--processes-per-run', 0, check=2)
    assert '--processes-per-run must be 1 or more' in done.stderr
    environment = {**os.environ, 'CUDA_VISIBLE_DEVICES': '0'}
    done = suite.run(*CELL, '--processes-per-run', 2, check=2, env=environment)
    assert done.stderr == 'run.py: --processes-per-run 2: each takes a GPU, and there are 1 here\n'


def test_a_batch_that_does_not_divide_is_said_in_a_line(suite):
    said = suite.run(*CELL, '--set', 'train_cfg.max_epochs=1', '--processes-per-run', 3, check=0).stderr
    assert said.count('a batch of 4 images does not divide over 3 processes: 1 each make 3') == 1
    assert folder_of(suite).result()['provenance']['batch'] == 3
