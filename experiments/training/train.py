"""Trains one run, from its newest checkpoint if there is one, and writes the result into its folder."""

import copy
import errno
import logging
import time
import warnings
from typing import Any, Dict, Optional

warnings.filterwarnings('ignore', message='.*pkg_resources is deprecated')

import mmengine.dist  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from mmengine.config import Config  # noqa: E402
from mmengine.hooks import Hook  # noqa: E402
from mmengine.model import is_model_wrapper  # noqa: E402
from mmengine.runner import Runner, set_random_seed  # noqa: E402
from torch import nn  # noqa: E402

import o2f  # noqa: E402,F401  (registers the method)
from experiments.machine import peak_memory  # noqa: E402
from experiments.spec.paths import substitute_paths  # noqa: E402
from experiments.store.errors import UserError  # noqa: E402
from experiments.store.files import ASIDE, NO_ROOM, cannot_write  # noqa: E402
from experiments.store.provenance import provenance  # noqa: E402
from experiments.store.runs import RunFolder  # noqa: E402
from experiments.training.batch import (  # noqa: E402
    BatchSplit,
    apply_batch_split,
    take_in_parts,  # noqa: E402
)
from experiments.training.datasets import (  # noqa: E402  # noqa: E402
    SeededSamples,
    first_images,
    fit_workers,
    keep_samples,  # noqa: E402
    name_images,
    seed_samples,
    take_subset,  # noqa: E402
)
from experiments.training.distributed import SingleProcess  # noqa: E402
from experiments.training.tracking import visualizer  # noqa: E402
from o2f.errors import InputError, of_worker  # noqa: E402
from o2f.models.detectors import detect_with_second  # noqa: E402
from o2f.safeguards import FiniteLossHook  # noqa: E402


def train(
    folder: RunFolder,
    run_id: str,
    profile: str,
    paths: Dict[str, str],
    threads: int,
    group: Optional[SingleProcess] = None,
) -> None:
    """Train the run whose config lies in ``folder`` to its end. The caller, or rank 0, holds the folder's lock.

    Args:
        folder (RunFolder): the run, with its config.
        run_id (str): its id.
        profile (str): its profile.
        paths (dict): folders of this machine for the config's ``${...}``.
        threads (int): cores that this process may use: CPU threads to compute with, and workers that load images.
        group (Group, optional): the processes that train the run together. Each of them calls this function.

    Raises:
        UserError: a checkpoint, setting or file is broken, the disk is full, or training diverged.
    """
    group = group or SingleProcess(folder)
    if group.agree(lambda: folder.result() is not None):
        return
    if group.leads:
        folder.clear_failure()
        folder.sweep()
    torch.set_num_threads(threads)
    # mmengine prints the config repeatedly. Formatting it would cost each run a second.
    content = substitute_paths(Config.fromfile(folder.config, import_custom_modules=False).to_dict(), paths)
    config = Config(content, format_python_code=False)
    fit_workers(config, threads)
    split_batch = apply_batch_split(config, group.size)
    origin = _origin(split_batch, folder.parts()) if group.leads else {}
    if group.agree(lambda: not _is_trained(folder, config.train_cfg.max_epochs)):
        _train_epochs(folder, config, split_batch, group)
    if group.leads:
        workers = [config[f'{name}_dataloader'].num_workers for name in ('train', 'val')]
        origin['memory'] = peak_memory(max(workers))
        folder.finish(run_id, profile, config.randomness.seed, origin)


def _is_trained(folder: RunFolder, epochs: int) -> bool:
    """Whether the metrics and the checkpoint of the last epoch exist."""
    checkpoint = folder.checkpoint()
    return len(folder.epochs()) == epochs and checkpoint is not None and checkpoint.name == f'epoch_{epochs}.pth'


def _origin(split_batch: BatchSplit, parts: int) -> dict:
    """The provenance of the result, with the actual batch, which may depend on the number of processes."""
    origin = provenance()
    if split_batch.processes > 1:
        origin['device'] = f'{split_batch.processes} × {origin["device"]}'
    accumulated = dict(parts=parts) if parts > 1 else {}
    return dict(origin, processes=split_batch.processes, batch=split_batch.real, **accumulated)


def _train_epochs(folder: RunFolder, config: Config, split_batch: BatchSplit, group: SingleProcess) -> None:
    checkpoint = group.agree(lambda: _newest_checkpoint(folder, split_batch))
    if checkpoint is not None:
        config.load_from, config.resume = checkpoint, True
    plain = copy.deepcopy(config)
    config.work_dir = str(folder.path)
    config.default_hooks.checkpoint = None  # RunFolderHook saves after the evaluation, whole or not at all
    config.default_hooks.pop('dataset_check', None)  # run.py has looked at the data
    config.default_hooks.loss_check = dict(
        type=FiniteLossHook.__name__,
        where=f'{folder.path}: ',
        advice='A smaller learning rate may help (--set optim_wrapper.optimizer.lr=...)',
    )
    tracking = folder.tracking() if group.leads else []
    config.visualizer = visualizer(tracking, folder.path, folder.path.name) if tracking else None
    parts = group.agree(folder.parts)
    if parts > 1:
        take_in_parts(config, parts)
    name_images(config)
    take_subset(config)
    early = first_images(config)
    keep_samples(config, early)
    seed_samples(config)
    config.log_level = 'WARNING'
    _quiet()
    try:
        if group.size > 1:
            group.start()
            _spread(config)
        runner = _Runner.from_cfg(config)
        runner.cfg = plain  # what checkpoints have: o2f reads it, and knows nothing of the suite's own modules
        if early is not None:
            runner.register_hook(EarlyEvaluationHook(early))
        runner.register_hook(RunFolderHook(folder, split_batch), priority='VERY_LOW')
        runner.train()
    except InputError as error:
        raise UserError(of_worker(error)) from error
    except torch.cuda.OutOfMemoryError as error:
        raise UserError(
            f'{folder.path}: the GPU has too little memory for {split_batch.each} images in {parts} part(s): take more '
            f'parts (--accumulate {2 * parts}, the same run in more time) or more GPUs for a run'
        ) from error
    except OSError as error:
        if error.errno in NO_ROOM | {errno.EROFS}:
            raise cannot_write(folder.path, error) from error
        raise UserError(f'{folder.path}: {error}') from error
    except (ValueError, TypeError, KeyError) as error:
        # The registries wrap the error of a constructor. The original message names the wrong setting.
        raise UserError(f'{folder.config}: {error}') from error


class _Runner(Runner):
    def wrap_model(self, model_wrapper_cfg: Optional[dict], model: nn.Module) -> nn.Module:
        """Use the channels-last layout, which convolutions prefer, before the distributed wrapper sees the weights."""
        return super().wrap_model(model_wrapper_cfg, model.to(memory_format=torch.channels_last))


def _spread(config: Config) -> None:
    """Set what mmengine needs to train in several processes. The process group exists already."""
    config.launcher = 'pytorch'
    config.model_wrapper_cfg = dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=config.get('find_unused_parameters', False),
    )
    if not torch.cuda.is_available():
        config.model_wrapper_cfg.device_ids = None
    # Metrics are collected through the group. A shared folder would have to be in sync on all nodes.
    config.val_evaluator.collect_device = 'gpu'


def _newest_checkpoint(folder: RunFolder, split_batch: BatchSplit) -> Optional[str]:
    """The checkpoint to resume from, or None.

    Raises:
        UserError: it is damaged, or from a training with another batch, or metrics of its epochs are missing.
    """
    path = folder.checkpoint()
    if path is None:
        return None
    try:
        meta = torch.load(path, map_location='cpu')['meta']
    except Exception as error:
        # Only the first sentence: the rest of torch's advice does not apply here.
        reason = str(error).splitlines()[0].split('. ')[0] if str(error) else type(error).__name__
        raise UserError(
            f'{path} is damaged ({reason}): delete it, and the run starts again from its first epoch'
        ) from error
    if len(folder.epochs()) < meta['epoch']:
        raise UserError(
            f'{folder.path} lacks metrics of the epochs before {path.name}: delete the folder and run again'
        )
    if meta.get('batch', split_batch.real) != split_batch.real:
        raise UserError(
            f'{path} was trained with {meta["batch"]} images in a batch, and {split_batch.processes} process(es) have '
            f'{split_batch.real}: go on with as many processes as before, or delete it to start again'
        )
    return str(path)


def _quiet() -> None:
    """Silence the log of every parameter's initialisation. The terminal shows the progress of runs."""
    logging.getLogger('mmengine').setLevel(logging.WARNING)
    warnings.filterwarnings('ignore', message='.*torch.meshgrid')


class EarlyEvaluationHook(Hook):
    """Evaluates all epochs but the last on other images, which are fewer.

    Args:
        loader (dict): config of the loader of those images.
    """

    def __init__(self, loader: dict) -> None:
        self.loaders = {False: loader}

    def before_val_epoch(self, runner: Runner) -> None:
        """Put the loader of this epoch into the loop, which is about to read it."""
        if True not in self.loaders:
            self.loaders = {True: runner.val_loop.dataloader, False: runner.build_dataloader(self.loaders[False])}
        runner.val_loop.dataloader = self.loaders[runner.epoch == runner.max_epochs]


class RunFolderHook(Hook):
    """Keeps a run's folder up to date and makes its epochs repeatable.

    Metrics are recorded before the checkpoint. So a checkpoint of epoch n never exists without the metrics of the
    epochs up to n. Each epoch seeds all random generators from the seed, the epoch's number and the rank. So a resumed
    run draws the same augmentations as an uninterrupted one. Of several ranks, only rank 0 writes.
    """

    def __init__(self, folder: RunFolder, split_batch: BatchSplit) -> None:
        self.folder = folder
        self.split_batch = split_batch
        self.writes = mmengine.dist.is_main_process()
        self.begin: Optional[float] = None

    def before_train(self, runner: Runner) -> None:
        # What cannot be evaluated at the end fails now.
        metrics = runner.val_evaluator.metrics
        if len(metrics) != 1 or not hasattr(metrics[0], 'leave_out'):
            found = ', '.join(type(metric).__name__ for metric in metrics)
            raise InputError(f'val_evaluator is {found}, and results need one TwoReadingsMetric or one derived from it')
        _detect_with_second(runner)

    def before_train_epoch(self, runner: Runner) -> None:
        if self.begin is None:
            self.begin, self.first_epoch, self.shown = time.monotonic(), runner.epoch, 0.0
        self.epoch_begin = self.left_off = time.monotonic()
        self.loading = 0.0
        self.outputs: Dict[str, torch.Tensor] = {}
        set_random_seed(_epoch_seed(runner))
        if isinstance(runner.train_dataloader.dataset, SeededSamples):
            runner.train_dataloader.dataset.set_epoch(runner.epoch)
            # A loader draws a seed for its workers when they start: in epoch 1, or after a resume. Drawn from the
            # process's own random numbers, it would shift what the model draws.
            runner.train_dataloader.generator = torch.Generator()
        self._show_progress(runner, 0.0)

    def _before_iter(self, *_, **__) -> None:
        self.loading += time.monotonic() - self.left_off

    def _after_iter(self, *_, **__) -> None:
        self.left_off = time.monotonic()

    def before_val_epoch(self, runner: Runner) -> None:
        # The running statistics of batch norm differ between ranks, as each sees its own images. All ranks evaluate
        # with those of rank 0, which it also saves.
        for buffer in runner.model.buffers():
            mmengine.dist.broadcast(buffer)
        self.left_off = time.monotonic()
        last = runner.epoch == runner.max_epochs
        for metric in runner.val_evaluator.metrics:
            metric.leave_out = last
        _detect_with_second(runner, last)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any, outputs: Dict[str, torch.Tensor]
    ) -> None:
        for name, value in outputs.items():
            self.outputs[name] = self.outputs.get(name, 0) + value.detach()
        if time.monotonic() - self.shown > 1:
            self._show_progress(runner, (batch_idx + 1) / len(runner.train_dataloader))
        self.left_off = time.monotonic()

    def after_val_epoch(self, runner: Runner, metrics: Dict[str, float]) -> None:
        batches = len(runner.train_dataloader)
        training = {name: total / batches for name, total in self.outputs.items()}
        mmengine.dist.all_reduce_dict(training, 'mean')
        if not self.writes:
            return
        last = runner.epoch == runner.max_epochs
        if last:  # before the metrics: once these exist, nothing is evaluated again
            [metric] = runner.val_evaluator.metrics
            self.folder.add_image_groups(metric.left_out.record)
            if isinstance(metric, o2f.TwoReadingsMetric):
                self.folder.add_breakdown(metric.breakdown)
        means = {name: value.item() for name, value in training.items()}
        self.folder.add_epoch(runner.epoch, metrics, means, time.monotonic() - self.epoch_begin, self.loading)
        aside = f'{ASIDE}checkpoint'
        runner.save_checkpoint(
            str(self.folder.path),
            aside,
            save_optimizer=not last,
            save_param_scheduler=not last,
            meta=dict(epoch=runner.epoch, iter=runner.iter, batch=self.split_batch.real),
        )
        self.folder.add_checkpoint(self.folder.path / aside, runner.epoch)

    def _show_progress(self, runner: Runner, of_epoch: float) -> None:
        self.shown = time.monotonic()
        if not self.writes:
            return
        assert self.begin is not None  # an epoch has begun
        done = runner.epoch - self.first_epoch + of_epoch
        left = (runner.max_epochs - runner.epoch - of_epoch) * (self.shown - self.begin) / done if done else None
        self.folder.set_progress(runner.epoch + 1, runner.max_epochs, left)


def _detect_with_second(runner: Runner, last: bool = True) -> None:
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    [metric] = runner.val_evaluator.metrics
    detect_with_second(model, last and getattr(metric, 'second', False))


def _epoch_seed(runner: Runner) -> int:
    seed = runner.seed * 1000 + runner.epoch
    return int(np.random.SeedSequence((seed, runner.rank)).generate_state(1)[0]) if runner.rank else seed
