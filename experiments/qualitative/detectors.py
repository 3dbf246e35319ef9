"""Trained detectors, ready to be asked about single images."""

import contextlib
import io
import logging
import warnings
from pathlib import Path
from typing import Any

warnings.filterwarnings('ignore', message='.*pkg_resources is deprecated')
warnings.filterwarnings('ignore', message='.*torch.meshgrid')

import torch  # noqa: E402
from mmdet.registry import DATASETS, MODELS  # noqa: E402
from mmdet.structures import DetDataSample  # noqa: E402
from mmengine.config import Config  # noqa: E402
from mmengine.dataset import pseudo_collate  # noqa: E402
from mmengine.model import BaseModel  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402

import o2f  # noqa: E402,F401  (registers the method)
from experiments.data.prepare import Progress, prepare  # noqa: E402
from experiments.spec.paths import data_paths, substitute_paths  # noqa: E402
from experiments.store.errors import UserError  # noqa: E402
from experiments.training.evaluate import load_strictly, read_weights  # noqa: E402


def validation_data(config: dict, data: Path, progress: Progress) -> Any:
    """The dataset that a run is validated on; generated data are made first.

    Raises:
        UserError: the data are missing or broken.
    """
    # The training data need not be there.
    needed = dict(config, train_dataloader=config['val_dataloader'])
    filled = Config(substitute_paths(config, data_paths(config, data)))
    with _quiet(filled):
        prepare([needed], data, progress, lambda function, *args: function(*args))
        try:
            return DATASETS.build(filled.val_dataloader.dataset)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UserError(f'the validation data cannot be read: {error}') from error


def detector(config: dict, checkpoint: Path, data: Path) -> BaseModel:
    """A run's detector with its weights, in evaluation mode, on the GPU where there is one.

    Args:
        config (dict): the run's resolved config.
        checkpoint (Path): see :func:`experiments.training.evaluate.read_weights`.
        data (Path): the data folder.

    Raises:
        UserError: the checkpoint cannot be read or does not fit.
    """
    weights = read_weights(checkpoint)
    filled = Config(substitute_paths(config, data_paths(config, data)))
    with _quiet(filled):
        model = MODELS.build(filled.model)
    load_strictly(model, weights, checkpoint)
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    # Memory is laid out as in training and evaluation, so that the sums round in the same way.
    return model.to(device, memory_format=torch.channels_last).eval()


@torch.no_grad()
def predict(model: BaseModel, sample: dict) -> DetDataSample:
    """Both readings of a sample of the validation data, in pixels of its file, on the CPU."""
    return model.val_step(pseudo_collate([sample]))[0].cpu()


@contextlib.contextmanager
def _quiet(config: Config) -> Any:
    """Build in the config's scope, without what MMDetection and pycocotools print on the way."""
    init_default_scope(config.default_scope)
    logging.getLogger('mmengine').setLevel(logging.WARNING)
    with contextlib.redirect_stdout(io.StringIO()):
        yield
