"""The validation data of a run, and the detections of a trained detector on one image of it."""

import contextlib
import io
import logging
import warnings
from pathlib import Path
from typing import Any

warnings.filterwarnings('ignore', message='.*pkg_resources is deprecated')
warnings.filterwarnings('ignore', message='.*torch.meshgrid')

import o2f  # isort: skip  # noqa: E402,F401  (provides mmcv's compiled operations, so it precedes MMDetection)
import torch  # noqa: E402
from mmdet.registry import DATASETS  # noqa: E402
from mmdet.structures import DetDataSample  # noqa: E402
from mmengine.config import Config  # noqa: E402
from mmengine.dataset import pseudo_collate  # noqa: E402
from mmengine.model import BaseModel  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402

from experiments.data.prepare import Progress, prepare  # noqa: E402
from experiments.spec.paths import data_paths, substitute_paths  # noqa: E402
from experiments.store.errors import UserError  # noqa: E402


def validation_data(config: dict, data: Path, progress: Progress) -> Any:
    """The validation dataset of a run. Generated data are made first.

    Raises:
        UserError: the data are missing or broken.
    """
    # The training data need not exist.
    needed = dict(config, train_dataloader=config['val_dataloader'])
    filled = Config(substitute_paths(config, data_paths(config, data)))
    init_default_scope(filled.default_scope)
    logging.getLogger('mmengine').setLevel(logging.WARNING)
    with contextlib.redirect_stdout(io.StringIO()):  # MMDetection and pycocotools print how they read annotations
        prepare([needed], data, progress, lambda function, *args: function(*args))
        try:
            return DATASETS.build(filled.val_dataloader.dataset)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UserError(f'the validation data cannot be read: {error}') from error


@torch.no_grad()
def predict(model: BaseModel, sample: dict) -> DetDataSample:
    """Detections without and with NMS on a sample of the validation data, in pixels of its file, on the CPU."""
    return model.val_step(pseudo_collate([sample]))[0].cpu()
