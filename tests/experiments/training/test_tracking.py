"""--track: a run that was stopped and went on, in TensorBoard's and MLflow's own stores, read by their own readers."""

import importlib.util
import json
import time

import pytest

from experiments.store.errors import UserError
from experiments.training.tracking import prepare

CELL = ('table3', '--profile', 'smoke', '--only', 't_max=0.6', '--only', 't_min=0.2')
TRACKED = (*CELL, '--set', 'train_cfg.max_epochs=6')
AP = 'without_nms/AP'


def in_tensorboard(run):
    """AP by epoch."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.parent / 'tracking' / 'tensorboard' / run.name)).Reload()
    return {event.step: event.value for event in events.Scalars(AP)}


def in_mlflow(run):
    """AP by epoch."""
    from mlflow import MlflowClient

    client = MlflowClient(f'sqlite:///{run.parent / "tracking" / "mlflow.db"}')
    [experiment] = client.search_experiments(filter_string="name = 'o2f-smoke'")
    [record] = client.search_runs([experiment.experiment_id])  # one, though the run began twice
    assert record.info.run_name == run.name and record.info.status == 'FINISHED'
    assert record.data.params['train_cfg.max_epochs'] == '6'
    return {metric.step: metric.value for metric in client.get_metric_history(record.info.run_id, AP)}


#: How each store is read.
READERS = {'tensorboard': in_tensorboard, 'mlflow': in_mlflow}


@pytest.fixture
def run(suite, unmet, stores):
    """The folder of a run that was killed after an epoch, and ended by a second start."""
    for package in stores:
        if importlib.util.find_spec(package) is None:
            unmet(f'{package} is not installed')
    tracked = (*TRACKED, *(word for store in stores for word in ('--track', store)))
    process = suite.start(*tracked)
    deadline = time.monotonic() + 120
    while not list(suite.runs.glob('smoke/*/metrics.json')) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.communicate()
    suite.run(*tracked, check=0)
    [folder] = suite.folders()
    return folder


@pytest.mark.parametrize('stores', [['tensorboard'], pytest.param(list(READERS), marks=pytest.mark.slow)], ids='+'.join)
def test_every_epoch_is_in_every_store(run, stores):
    expected = {
        entry['epoch']: entry['metrics'][AP] for entry in json.loads((run / 'metrics.json').read_text())['epochs']
    }
    assert len(expected) == 6
    for store in stores:
        assert READERS[store](run) == pytest.approx(expected)


@pytest.mark.parametrize('name', ['a?b', 'a#b', 'a%41'])
def test_a_folder_that_mlflow_would_take_for_another(name, tmp_path):
    pytest.importorskip('mlflow')
    with pytest.raises(UserError, match='--track mlflow: .* have a meaning in an address: name another --runs'):
        prepare(['mlflow'], tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_package_that_is_missing_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(UserError, match=r"--track wandb needs wandb: pip install '.\[track\]'"):
        prepare(['wandb'], tmp_path)
