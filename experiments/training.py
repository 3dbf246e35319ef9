"""Run one cell: train it, resuming what is there, and leave its result in its folder."""

import errno
import logging
import math
import time
import warnings
from pathlib import Path
from typing import Dict, Optional

warnings.filterwarnings('ignore', message='.*pkg_resources is deprecated')

import mmengine.device.utils  # noqa: E402
import torch  # noqa: E402
from mmengine.config import Config  # noqa: E402
from mmengine.hooks import Hook  # noqa: E402
from mmengine.runner import Runner, set_random_seed  # noqa: E402

import o2f  # noqa: E402,F401  (registers the method)
from experiments.errors import UserError  # noqa: E402
from experiments.files import ASIDE, cannot_write  # noqa: E402
from experiments.kept_samples import keep_samples  # noqa: E402
from experiments.places import fill_in  # noqa: E402
from experiments.provenance import provenance  # noqa: E402
from experiments.runs import RunFolder  # noqa: E402
from experiments.tracking import visualizer  # noqa: E402


def train(folder: RunFolder, run_id: str, profile: str, places: Dict[str, str], threads: int) -> None:
    """Train the run whose config lies in ``folder`` to its end; the caller holds the folder's lock.

    Args:
        folder (RunFolder): the run, with its config.
        run_id (str): its id.
        profile (str): its profile.
        places (dict): folders of this machine for the config's ``${...}``.
        threads (int): CPU threads to compute with.

    Raises:
        UserError: a checkpoint, setting or file is broken, the disk is full, or training diverged.
    """
    if folder.result() is not None:
        return
    folder.clear_failure()
    folder.sweep()
    torch.set_num_threads(threads)
    # mmengine prints the config again and again; to lay that out nicely takes a second of each run.
    content = fill_in(Config.fromfile(folder.config, import_custom_modules=False).to_dict(), places)
    config = Config(content, format_python_code=False)
    origin = provenance()
    if len(folder.epochs()) < config.train_cfg.max_epochs or folder.checkpoint() is None:
        _train_epochs(folder, config)
    if not folder.epochs():
        raise UserError(
            f'{folder.config}: train_cfg.max_epochs is {config.train_cfg.max_epochs}, so nothing was trained'
        )
    folder.finish(run_id, profile, config.randomness.seed, origin)


_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}


def _train_epochs(folder: RunFolder, config: Config) -> None:
    checkpoint = folder.checkpoint()
    if checkpoint is not None:
        _check_checkpoint(checkpoint)
        config.load_from, config.resume = str(checkpoint), True
    config.work_dir = str(folder.path)
    config.default_hooks.checkpoint = None  # RunFolderHook saves: after the evaluation, and whole or not at all
    tracking = folder.tracking()
    config.visualizer = visualizer(tracking, folder.path, folder.path.name) if tracking else None
    keep_samples(config)
    config.log_level = 'WARNING'
    _quiet()
    if mmengine.device.utils.DEVICE == 'mps':  # Apple's GPU has no double precision, which the selection needs
        mmengine.device.utils.DEVICE = 'cpu'
    try:
        runner = Runner.from_cfg(config)
        runner.model.to(memory_format=torch.channels_last)
        runner.register_hook(RunFolderHook(folder), priority='VERY_LOW')
        runner.train()
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise cannot_write(folder.path, error) from error
        raise UserError(f'{folder.path}: {error}') from error
    except (ValueError, TypeError, KeyError) as error:
        # The registries wrap what a constructor raises; its own message says which setting is wrong.
        raise UserError(f'{folder.config}: {error}') from error


def _check_checkpoint(path: Path) -> None:
    try:
        torch.load(path, map_location='cpu')
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f'{path} is damaged ({reason}): delete it, and the run starts again from its first epoch'
        ) from error


def _quiet() -> None:
    """The terminal shows the runs' progress instead of every parameter's initialisation."""
    logging.getLogger('mmengine').setLevel(logging.WARNING)
    warnings.filterwarnings('ignore', message='.*torch.meshgrid')


class RunFolderHook(Hook):
    """Keeps a run's folder up to date and makes its epochs repeatable.

    Metrics are recorded before the checkpoint, so a checkpoint of epoch n never lies there without the metrics of the
    epochs up to n. All random generators are set anew for each epoch from the seed and the epoch's number, so a
    resumed run draws the same augmentations as one that was never stopped.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.begin: Optional[float] = None

    def before_train_epoch(self, runner: Runner) -> None:
        if self.begin is None:
            self.begin, self.first_epoch, self.shown = time.monotonic(), runner.epoch, 0.0
        self.epoch_begin = self.left_off = time.monotonic()
        self.loading = 0.0
        self.outputs: Dict[str, torch.Tensor] = {}
        set_random_seed(runner.seed * 1000 + runner.epoch)
        self._show_progress(runner, 0.0)

    def _before_iter(self, *_, **__) -> None:
        self.loading += time.monotonic() - self.left_off

    def _after_iter(self, *_, **__) -> None:
        self.left_off = time.monotonic()

    def before_val_epoch(self, runner: Runner) -> None:
        self.left_off = time.monotonic()
        for metric in runner.val_evaluator.metrics:
            metric.keep_matches = runner.epoch == runner.max_epochs

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs: Optional[dict] = None) -> None:
        for name, value in outputs.items():
            self.outputs[name] = self.outputs.get(name, 0) + value.detach()
        # Looking at a loss waits for a GPU, so there it is looked at less often.
        if runner.model.data_preprocessor.device.type == 'cpu' or batch_idx % 50 == 0:
            loss = outputs['loss'].item()
            if not math.isfinite(loss):
                raise UserError(
                    f'{self.folder.path}: training diverged: the loss was {loss} in epoch {runner.epoch + 1}, '
                    f'iteration {batch_idx + 1}. A smaller learning rate may help '
                    '(--set optim_wrapper.optimizer.lr=...)'
                )
        if time.monotonic() - self.shown > 1:
            self._show_progress(runner, (batch_idx + 1) / len(runner.train_dataloader))
        self.left_off = time.monotonic()

    def after_val_epoch(self, runner: Runner, metrics: Optional[Dict[str, float]] = None) -> None:
        batches = len(runner.train_dataloader)
        training = {name: total.item() / batches for name, total in self.outputs.items()}
        last = runner.epoch == runner.max_epochs
        if last:  # before its metrics: once these are there, nothing is evaluated again
            [metric] = runner.val_evaluator.metrics
            self.folder.add_matches(metric.matches)
        self.folder.add_epoch(runner.epoch, metrics, training, time.monotonic() - self.epoch_begin, self.loading)
        aside = f'{ASIDE}checkpoint'
        runner.save_checkpoint(
            str(self.folder.path),
            aside,
            save_optimizer=not last,
            save_param_scheduler=not last,
            meta=dict(epoch=runner.epoch, iter=runner.iter),
        )
        self.folder.add_checkpoint(self.folder.path / aside, runner.epoch)

    def _show_progress(self, runner: Runner, of_epoch: float) -> None:
        self.shown = time.monotonic()
        done = runner.epoch - self.first_epoch + of_epoch
        left = (runner.max_epochs - runner.epoch - of_epoch) * (self.shown - self.begin) / done if done else None
        self.folder.set_progress(runner.epoch + 1, runner.max_epochs, left)
