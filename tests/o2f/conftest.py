"""What the tests of ``o2f`` share: helper modules beside this file, and fresh interpreters."""

import copy
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import o2f  # before any of MMDetection, wherever mmcv has no compiled operations

HERE = Path(__file__).resolve().parent

sys.path.insert(0, str(HERE))  # reference, assignment_cases and tiny_detectors are plain modules


@pytest.fixture
def run_python(tmp_path):
    """Runs code in a fresh interpreter, away from the repository, and gives its output; a failure shows its errors."""

    def run(code: str, **environment: str) -> str:
        path = os.pathsep.join([str(HERE.parents[1]), *filter(None, [os.environ.get('PYTHONPATH')])])
        done = subprocess.run(
            [sys.executable, '-c', code],
            cwd=tmp_path,
            env={**os.environ, 'PYTHONPATH': path, **environment},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope='session')
def config():
    """The paper's default setting, as a user's config loads it."""
    from mmengine.config import Config

    return Config.fromfile(Path(o2f.__file__).parent / 'configs' / 'o2f_r50_fpn_1x_coco.py')


@pytest.fixture(scope='session')
def paper_model(config):
    """The R50 detector of that config, without its pre-trained weights; not to be changed."""
    from mmdet.registry import MODELS
    from mmengine.registry import init_default_scope

    init_default_scope(config.default_scope)
    settings = copy.deepcopy(config.model)
    settings.backbone.init_cfg = None
    return MODELS.build(settings)


@pytest.fixture(scope='session')
def runs(tmp_path_factory):
    """The same training three times: uninterrupted, stopped after two of its three epochs, and resumed from there.
    name -> ((epoch, T) of every iteration, final weights); 'folder' is where the stopped run's checkpoints are."""
    from tiny_detectors import train

    folder = tmp_path_factory.mktemp('runs')
    return dict(
        whole=train(folder / 'whole'),
        stopped=train(folder / 'stopped', stop_before=2),
        resumed=train(folder / 'stopped', resume=True),
        folder=folder / 'stopped',
    )


@pytest.fixture(scope='session')
def own(tmp_path_factory):
    """The example of docs/own-data.md, trained for an epoch and tested by MMDetection's Runner on a few small images:
    ``data``, ``checkpoint``, ``metrics``, and ``lively``, a checkpoint of it that finds something everywhere."""
    from own_data import enliven, train_and_test

    folder = tmp_path_factory.mktemp('own')
    checkpoint, metrics = train_and_test(folder)
    lively = enliven(checkpoint, folder / 'lively.pth')
    return SimpleNamespace(data=folder / 'bccd', checkpoint=checkpoint, metrics=metrics, lively=lively)
