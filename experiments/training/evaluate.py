"""Evaluates a checkpoint file as a cell of a table: on the validation data of its profile, without and with NMS."""

import contextlib
import io
import math
import tempfile
import warnings
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Sequence, Tuple

warnings.filterwarnings('ignore', message='.*pkg_resources is deprecated')
warnings.filterwarnings('ignore', message='.*torch.meshgrid')

import o2f  # isort: skip  # noqa: E402  (provides mmcv's compiled operations, so it precedes MMDetection)
import torch  # noqa: E402
from mmengine.config import Config  # noqa: E402
from mmengine.evaluator import BaseMetric  # noqa: E402
from mmengine.hooks import Hook  # noqa: E402
from mmengine.model import BaseModel  # noqa: E402
from mmengine.runner import Runner  # noqa: E402

from experiments.data.prepare import Progress, prepare  # noqa: E402
from experiments.spec.paths import data_paths, substitute_paths  # noqa: E402
from experiments.store.errors import UserError  # noqa: E402
from experiments.training.datasets import name_images  # noqa: E402
from o2f.errors import InputError, of_worker  # noqa: E402
from o2f.evaluation.metric import OF_CLASS, OF_ERROR, breakdown_table  # noqa: E402
from o2f.inference import Detector  # noqa: E402
from o2f.io.checkpoints import check_labels  # noqa: E402
from o2f.models.detectors import detect_with_second  # noqa: E402
from o2f.models.postprocess import SECOND_WITH_NMS, WITH_NMS, WITHOUT_NMS  # noqa: E402

_NAMES = {WITHOUT_NMS: 'without NMS', WITH_NMS: 'with NMS', SECOND_WITH_NMS: 'second branch with NMS'}


def load_detector(config: dict, checkpoint: Path) -> BaseModel:
    """The detector of a run with trained weights, in evaluation mode, on the GPU if there is one.

    The memory layout is that of training, so that sums round in the same way.

    Args:
        config (dict): the run's resolved config; it may still have ``${...}`` for folders.
        checkpoint (Path): see :func:`o2f.io.checkpoints.read_checkpoint`.

    Raises:
        UserError: the checkpoint cannot be read, is not safe to read, or does not fit the model of the config.
    """
    try:
        detector = Detector(checkpoint, Config(config, format_python_code=False))
    except InputError as error:
        raise UserError(str(error)) from error
    return detector.model.to(memory_format=torch.channels_last)


def evaluate(
    config: dict,
    checkpoint: Path,
    data: Path,
    progress: Progress,
    say: Callable[[str], None],
    image_groups: bool = False,
    breakdown: bool = False,
    classwise: bool = False,
    errors: bool = False,
) -> Tuple[Dict[str, float], BaseMetric]:
    """Evaluate a checkpoint.

    Args:
        config (dict): resolved config of a run with the checkpoint's model.
        checkpoint (Path): see :func:`load_detector`.
        data (Path): the data folder.
        progress (callable): called with the progress of generating data.
        say (callable): called with a line about the progress of the evaluation.
        image_groups (bool): also leave out each group of images.
        breakdown (bool): also break AP down by class and error. COCO's metric only, as the two below.
        classwise (bool): also give the AP of each class, for :func:`format_breakdown`.
        errors (bool): also give what each error costs, for :func:`format_breakdown`.

    Returns:
        tuple[dict, BaseMetric]: the metrics, named and scaled as in a run's ``result.json``, and the evaluator with its
            ``left_out`` and ``breakdown``.

    Raises:
        UserError: the checkpoint cannot be read, does not fit the model or has other labels for classes of the data, or
            data are missing or broken.
    """
    model = load_detector(config, checkpoint)
    try:
        # MMDetection and pycocotools print how they read annotations.
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            filled = Config(substitute_paths(config, data_paths(config, data)))
            name_images(filled)
            runner = _runner(model, filled, folder, say)
            needed = dict(config, train_dataloader=config['val_dataloader'])  # training data are not needed
            prepare([needed], data, progress, lambda function, *args: function(*args), backbone=False)
            check_labels(
                model.dataset_meta['classes'], runner.val_dataloader.dataset.metainfo.get('classes'), checkpoint
            )
            [metric] = runner.val_evaluator.metrics
            metric.leave_out = image_groups or breakdown
            if (classwise or errors or breakdown) and not isinstance(metric, o2f.TwoReadingsMetric):
                raise UserError("--classwise, --errors and --breakdown are for COCO's metric; a crowd has another one")
            metric.classwise, metric.errors = classwise, errors
            detect_with_second(model, getattr(metric, 'second', False))
            metrics = runner.val()
    except InputError as error:
        raise UserError(of_worker(error)) from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        # The registries wrap the error of a constructor. The original message names the wrong setting or file.
        raise UserError(f'{checkpoint} cannot be evaluated: {error}') from error
    return metrics, metric


def _runner(model: BaseModel, config: Config, folder: str, say: Callable[[str], None]) -> Runner:
    """A runner that only evaluates. It writes to ``folder``."""
    return Runner(
        model=model,
        work_dir=folder,
        val_dataloader=config.val_dataloader,
        val_cfg=config.val_cfg,
        val_evaluator=config.val_evaluator,
        env_cfg=config.env_cfg,
        default_scope=config.default_scope,
        custom_hooks=[_SayProgress(say)],
        log_level='ERROR',
        experiment_name=Path(folder).name,
    )


class _SayProgress(Hook):
    """Prints a line at every fifth of the images."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Optional[Sequence] = None,
    ) -> None:
        batches = len(runner.val_dataloader)
        if 5 * (batch_idx + 1) // batches != 5 * batch_idx // batches:
            self.say(f'evaluated {batch_idx + 1}/{batches} batches of images')


def format_metrics(metrics: Dict[str, float]) -> str:
    """A line without and a line with NMS, and one of a second branch if there is one. Values are in percent.

    '–' means that the data do not define the metric."""
    lines = []
    for reading, name in _NAMES.items():
        values = {key.partition('/')[2]: value for key, value in metrics.items() if key.startswith(f'{reading}/')}
        values = {key: value for key, value in values.items() if not key.endswith((OF_CLASS, OF_ERROR))}
        shown = [f'{key} {100 * value:.2f}' if math.isfinite(value) else f'{key} –' for key, value in values.items()]
        if shown:
            lines.append('  '.join([f'{name:11}', *shown]))
    return '\n'.join(lines)


def format_breakdown(part: str, metrics: Dict[str, float]) -> str:
    """A table without and with NMS, in percent.

    Args:
        part (str): 'classes' for the AP of each class, 'errors' for what each error costs.
        metrics (dict): what :func:`evaluate` returned, when it was asked for that part.
    """
    ending = {'classes': OF_CLASS, 'errors': OF_ERROR}[part]
    values = {
        reading: {
            key.removeprefix(f'{reading}/').removesuffix(ending): value
            for key, value in metrics.items()
            if key.startswith(f'{reading}/') and key.endswith(ending)
        }
        for reading in _NAMES
    }
    return breakdown_table(part, {reading: of_reading for reading, of_reading in values.items() if of_reading})
