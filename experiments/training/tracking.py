"""``--track``: a run also logs to TensorBoard, MLflow or Weights & Biases, through mmengine's backends.

========================  ==========================================================================
``tensorboard``           ``tensorboard --logdir runs/<profile>/tracking/tensorboard``
``mlflow``                ``mlflow ui --backend-store-uri sqlite:///runs/<profile>/tracking/mlflow.db``,
                          or the server that MLFLOW_TRACKING_URI names
``wandb``                 project ``o2f-<profile>``; offline files where there is no account
========================  ==========================================================================

mmengine's LoggerHook writes losses every 50 iterations and metrics every epoch. Tracking does not change what a run
computes, so it is not part of the config. A resumed run continues its old record.
"""

import importlib.util
import os
from pathlib import Path
from typing import Any, Dict, List

from experiments.store.errors import UserError

#: The package that each backend needs.
PACKAGES = {'tensorboard': 'tensorboard', 'mlflow': 'mlflow', 'wandb': 'wandb'}


def prepare(names: List[str], runs: Path) -> None:
    """Check before training that the backends can be used. Create what parallel runs would otherwise create at once.

    Args:
        names (list[str]): backends, keys of ``PACKAGES``.
        runs (Path): folder of the profile's runs.

    Raises:
        UserError: a package is not installed, or a server does not answer.
    """
    for name in names:
        if importlib.util.find_spec(PACKAGES[name]) is None:
            raise UserError(f"--track {name} needs {PACKAGES[name]}: pip install '.[track]'")
    if 'mlflow' in names:
        import mlflow

        if set('?#%') & set(str(runs.resolve())):
            raise UserError(f'--track mlflow: ? # and % in {runs} have a meaning in an address: name another --runs')
        try:
            _open_store(runs)
        except (mlflow.MlflowException, OSError) as error:
            raise UserError(f'--track mlflow: {str(error).splitlines()[0]}') from error


def visualizer(names: List[str], run: Path, run_id: str) -> Dict[str, Any]:
    """Config of mmengine's visualizer for a run.

    Args:
        names (list[str]): backends, keys of ``PACKAGES``.
        run (Path): the run's folder; the records lie beside it.
        run_id (str): the run's id, its name in every backend.
    """
    runs = run.parent
    root = runs / 'tracking'
    backends = {
        'tensorboard': lambda: dict(type='TensorboardVisBackend', save_dir=str(root / 'tensorboard' / run_id)),
        'mlflow': lambda: _mlflow(runs, run_id),
        'wandb': lambda: dict(
            type='WandbVisBackend',
            save_dir=str(root),
            init_kwargs=dict(project=f'o2f-{runs.name}', name=run_id, id=run_id, resume='allow'),
        ),
    }
    return dict(type='Visualizer', vis_backends=[backends[name]() for name in names])


def _open_store(runs: Path) -> str:
    """Create MLflow's store and the profile's experiment in it if missing, and return the store's address."""
    import mlflow

    root = runs.resolve() / 'tracking'
    root.mkdir(parents=True, exist_ok=True)
    server = os.environ.get('MLFLOW_TRACKING_URI')
    store = server or f'sqlite:///{root / "mlflow.db"}'
    mlflow.set_tracking_uri(store)
    if mlflow.get_experiment_by_name(f'o2f-{runs.name}') is None:
        mlflow.create_experiment(f'o2f-{runs.name}', artifact_location=None if server else (root / 'mlflow').as_uri())
    return store


def _mlflow(runs: Path, run_id: str) -> Dict[str, Any]:
    import mlflow

    store = _open_store(runs)
    named = f"tags.mlflow.runName = '{run_id}'"
    before = mlflow.search_runs(experiment_names=[f'o2f-{runs.name}'], filter_string=named, output_format='list')
    if before:
        os.environ['MLFLOW_RUN_ID'] = before[0].info.run_id  # MLflow continues this record
    return dict(
        type='MLflowVisBackend',
        save_dir=str(runs / 'tracking'),
        exp_name=f'o2f-{runs.name}',
        run_name=run_id,
        tracking_uri=store,
        tracked_config_keys=dict.fromkeys(('model', 'train_cfg', 'optim_wrapper', 'randomness')),
        artifact_suffix=('config.py',),
    )
