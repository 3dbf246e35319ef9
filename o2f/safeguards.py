"""Safeguards of the trainings, as hooks that every inheriting config has."""

import contextlib
import os
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Set

import mmengine.dist
import mmengine.hooks
import torch
from mmdet.datasets import CocoDataset as MMDetectionCocoDataset
from mmdet.evaluation import CocoMetric
from mmdet.registry import HOOKS
from mmengine.fileio import LocalBackend, load
from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import EpochBasedTrainLoop, Runner

from o2f.engine import EpochHook, heads_with_epochs
from o2f.errors import InputError
from o2f.io.checkpoints import check_labels, check_weights
from o2f.io.coco_file import check_classes
from o2f.io.dataset_check import CHANGED, REFUSED, inspect_config, other_file, refusal
from o2f.models.detectors import TwoReadingsCondInst, TwoReadingsFCOS
from o2f.models.postprocess import check_nms, settings_of

#: The paper's learning rate, and the images of a batch that it is for (section 4.1).
RATE, BATCH = 0.01, 16
#: How messages name a checkpoint: mmengine does not say which file it has loaded.
_CHECKPOINT = 'the checkpoint'


@HOOKS.register_module()
class DatasetCheckHook(Hook):
    """Looks at the datasets before the first epoch ([`o2f.io.dataset_check`][]), so that it cannot be forgotten.

    ``default_hooks = dict(dataset_check=dict(enabled=False))`` in a config turns it off.

    Args:
        all_images (bool): decode all images instead of a sample.
        enabled (bool): look at all.
    """

    def __init__(self, all_images: bool = False, enabled: bool = True) -> None:
        self.all_images, self.enabled = all_images, enabled

    def before_train(self, runner: Runner) -> None:
        """Log what is changed or worth knowing.

        Raises:
            InputError: a dataset would be trained on wrongly, or not at all.
        """
        if not self.enabled:
            return
        refused: List[Any] = [None]
        if mmengine.dist.is_main_process():
            refused = [self._look(runner)]
        mmengine.dist.broadcast_object_list(refused)
        if refused[0] is not None:
            raise InputError(refused[0])

    def _look(self, runner: Runner) -> Optional[str]:
        reports, both = inspect_config(runner.cfg, self.all_images)
        findings = [*(finding for report in reports for finding in report.findings), *both]
        for finding in findings:
            if finding.kind != REFUSED:
                kind = 'changed' if finding.kind == CHANGED else 'note'
                runner.logger.warning(f'{finding.file}: {kind}: {finding.says}')
        return refusal(findings)


@HOOKS.register_module()
class SettingsCheckHook(Hook):
    """Refuses settings that would train or test wrongly without a word, and warns of a warm-up that is too long."""

    def __init__(self) -> None:
        self._checked: Set[int] = set()  # datasets whose files were read, once before all epochs
        self._trained: Any = None  # classes of the checkpoint
        self._misfit: Optional[InputError] = None  # how the checkpoint differs from the model

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare the checkpoint with the model. The runner itself would load what fits, and only log the rest."""
        meta = checkpoint.get('meta') or {}
        self._trained = (meta.get('dataset_meta') or {}).get('classes')
        weights = checkpoint.get('state_dict', checkpoint)
        self._misfit = None
        try:
            check_weights(_inner(runner), {name.removeprefix('module.'): w for name, w in weights.items()}, _CHECKPOINT)
        except InputError as error:
            self._misfit = error

    def before_train(self, runner: Runner) -> None:
        """Check classes, NMS, epochs, learning rate and warm-up.

        Raises:
            InputError: ``num_classes`` or labels do not fit ``classes``, the evaluation would lack its NMS or
                its number of detections, the head would not learn which epoch it is, the learning rate would be
                scaled twice, or a training goes on from a checkpoint of another model or with other labels.
        """
        self._check_classes(runner, runner.train_dataloader.dataset)
        try:
            self._check_checkpoint(runner.train_dataloader.dataset)
        except InputError as error:
            if runner._resume:
                raise
            if self._misfit is None:  # otherwise mmengine has logged what it did not load
                runner.logger.warning(f'training begins from weights for other labels: {error}')
        if runner.val_loop is not None and isinstance(_inner(runner), (TwoReadingsFCOS, TwoReadingsCondInst)):
            nms, _ = settings_of(_inner(runner).test_cfg, with_nms=True)
            check_nms(nms)
        _check_epochs(runner)
        _check_rate(runner)
        _check_warm_up(runner)

    def before_val(self, runner: Runner) -> None:
        """Check the classes, and have MMDetection's metric take categories by name as well.

        Raises:
            InputError: ``num_classes`` and ``classes`` differ.
        """
        self._check_classes(runner, runner.val_dataloader.dataset)
        _order_categories(runner.val_evaluator.metrics)

    def before_test(self, runner: Runner) -> None:
        """The same before a test.

        Raises:
            InputError: as above, the checkpoint does not fit the model or has other labels for its classes, the
                evaluator reads another annotation file, or the model is tested with augmentation (``--tta``).
        """
        if isinstance(_inner(runner), BaseTTAModel):
            raise InputError(
                '--tta merges the views of an image by NMS, and only of the detections without NMS: leave it out'
            )
        self._check_classes(runner, runner.test_dataloader.dataset)
        self._check_checkpoint(runner.test_dataloader.dataset)
        other = other_file(runner.cfg.get('test_dataloader') or {}, runner.cfg.get('test_evaluator'))
        if other:
            raise InputError(other)
        _order_categories(runner.test_evaluator.metrics)

    def _check_checkpoint(self, dataset: Any) -> None:
        if self._misfit is not None:
            raise self._misfit
        check_labels(self._trained, getattr(dataset, 'metainfo', {}).get('classes'), _CHECKPOINT)

    def _check_classes(self, runner: Runner, dataset: Any) -> None:
        _check_number_of_classes(runner, dataset)
        if id(dataset) not in self._checked:
            _check_labels(dataset)
            self._checked.add(id(dataset))


def _inner(runner: Runner) -> Any:
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def _check_number_of_classes(runner: Runner, dataset: Any) -> None:
    """Compare ``num_classes`` of all modules with ``classes``, as MMDetection's ``NumClassCheckHook`` does."""
    classes = getattr(dataset, 'metainfo', {}).get('classes')
    if classes is None:
        return
    number = len(check_classes(classes))
    for name, module in _inner(runner).named_modules():
        if name.endswith(('bbox_head', 'mask_head')) and getattr(module, 'num_classes', number) != number:
            raise InputError(
                f'model.{name}.num_classes is {module.num_classes}, and the dataset has {number} classes: set it to '
                f'{number}, or correct classes'
            )


def _check_epochs(runner: Runner) -> None:
    """Refuse a training in which the degrees of Eq. 3 would not fall."""
    if not heads_with_epochs(runner.model):
        return
    if not any(isinstance(hook, EpochHook) for hook in runner.hooks):
        raise InputError(
            "custom_hooks has no EpochHook, so the head would stay in its first epoch: add dict(type='EpochHook') (a "
            'list replaces the one it inherits)'
        )
    if not isinstance(runner.train_loop, EpochBasedTrainLoop):
        raise InputError(
            'train_cfg counts iterations, and o2f trains by epochs: its head would stay in the first one. Set '
            'by_epoch=True and max_epochs'
        )


def _check_rate(runner: Runner) -> None:
    """Refuse to scale a rate that was scaled by hand already."""
    scaling, loader = runner.auto_scale_lr or {}, runner.cfg.get('train_dataloader') or {}
    rate = (runner.cfg.get('optim_wrapper') or {}).get('optimizer', {}).get('lr')
    if not scaling.get('enable') or not isinstance(rate, float):
        return
    images = loader.get('batch_size', 0) * mmengine.dist.get_world_size()
    base = scaling.get('base_batch_size')
    if images != base == BATCH and abs(rate - RATE * images / BATCH) < 1e-9:
        raise InputError(
            f'auto_scale_lr would scale the learning rate {rate:g} again, which is for {images} images already: set '
            f'auto_scale_lr.base_batch_size={images}, or optim_wrapper.optimizer.lr={RATE}'
        )


def _check_warm_up(runner: Runner) -> None:
    """Warn if the warm-up takes more than half of the training."""
    schedulers = runner.cfg.get('param_scheduler') or []
    schedulers = [schedulers] if isinstance(schedulers, dict) else schedulers
    total = runner.max_iters
    for place, scheduler in enumerate(schedulers):
        end = scheduler.get('end')
        if scheduler.get('type') == 'LinearLR' and not scheduler.get('by_epoch', True) and end and 2 * end > total:
            runner.logger.warning(
                f'the warm-up takes {end} iterations, and the training has {total}: shorten '
                f'param_scheduler[{place}].end to about {max(total // 12, 1)}, or train longer'
            )


def _check_labels(dataset: Any) -> None:
    """Refuse a dataset that labels by the order of its file's categories where that is not the order of ``classes``.

    Subclasses of MMDetection's ``CocoDataset`` do, and the metrics read labels by ``classes``.
    """
    for part in getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]:
        if part is not None:
            _check_labels(part)
    if getattr(type(dataset), 'load_data_list', None) is not MMDetectionCocoDataset.load_data_list:
        return
    content = load(dataset.ann_file, file_format='json', backend_args=dataset.backend_args)
    names = {entry['id']: entry['name'] for entry in content['categories']}
    labels = {names[category]: label for category, label in dataset.cat2label.items()}
    expected = {name: label for label, name in enumerate(dataset.metainfo['classes'])}
    wrong = [name for name, label in labels.items() if expected.get(name) != label]
    if wrong:
        raise InputError(
            f'{type(dataset).__name__} gives {wrong[0]!r} of {dataset.ann_file} the label {labels[wrong[0]]}, by the '
            f"order of the file, and it is {expected.get(wrong[0])} by classes: derive it from o2f's CocoDataset"
        )


def _order_categories(metrics: List[Any]) -> None:
    """Have MMDetection's own metric take the categories in the order of ``classes``, as the dataset does."""
    for metric in metrics:
        if isinstance(metric, CocoMetric) and metric._coco_api is not None:
            classes = metric.dataset_meta['classes']
            by_name = {entry['name']: entry['id'] for entry in metric._coco_api.dataset['categories']}
            metric.cat_ids = [by_name[name] for name in classes if name in by_name]


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stops a training whose loss is not finite, and saves no checkpoint of it.

    Args:
        where (str): beginning of the message.
        advice (str): end of the message.
        interval (int): on a GPU, losses are looked at this often and at the end of each epoch, as reading one waits for
            the GPU. On a CPU, every loss is. Before a checkpoint is saved, all losses and the weights are looked at.
    """

    priority = 'NORMAL'

    def __init__(
        self,
        where: str = '',
        advice: str = 'A smaller learning rate may help (optim_wrapper.optimizer.lr)',
        interval: int = 50,
    ) -> None:
        self.where, self.advice, self.interval = where, advice, interval
        self.total: Any = 0.0
        self.epoch = self.iteration = 0

    def before_train_epoch(self, runner: Runner) -> None:
        """Forget the losses of the epoch before."""
        self.total = 0.0

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Optional[Dict[str, Any]] = None
    ) -> None:
        """Look at a loss.

        Raises:
            InputError: it is not finite.
        """
        loss = (outputs or {}).get('loss')
        if not isinstance(loss, torch.Tensor):
            return
        self.total = self.total + loss.detach()
        self.epoch, self.iteration = runner.epoch + 1, batch_idx + 1
        if not loss.is_cuda or batch_idx % self.interval == 0:
            self._check(loss)

    def after_train_epoch(self, runner: Runner) -> None:
        """Look at the sum of all losses.

        Raises:
            InputError: it is not finite.
        """
        self._check(self.total)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Look at the sum of all losses, and at the weights, which the losses of other processes changed too.

        Raises:
            InputError: they are not finite.
        """
        self._check(self.total)
        if not all(torch.isfinite(weight).all() for weight in checkpoint['state_dict'].values()):
            self._stop('weights are not finite')

    def _check(self, loss: Any) -> None:
        if isinstance(loss, torch.Tensor) and not torch.isfinite(loss):
            self._stop(f'the loss was {loss.item()}')

    def _stop(self, what: str) -> None:
        raise InputError(
            f'{self.where}training diverged: {what} in epoch {self.epoch}, iteration {self.iteration}. {self.advice}'
        )


#: The beginning of the names of files that are being written.
_ASIDE = '.aside.'


@HOOKS.register_module()
class CheckpointHook(mmengine.hooks.CheckpointHook):
    """mmengine's hook, except that a checkpoint is whole before an older one goes, and that it knows our metrics.

    A file is written under another name and renamed. So whenever the process is killed, there is a checkpoint to resume
    from. ``save_best='auto'`` is ``without_nms/AP``. MMDetection's names, such as ``coco/bbox_mAP``, mean the metrics
    without NMS. Within MMDetection's scope it stands in for mmengine's hook.

    The arguments are those of mmengine's ``CheckpointHook``.
    """

    _default_greater_keys = [*mmengine.hooks.CheckpointHook._default_greater_keys, 'AP', 'AR', 'recall', 'JI']
    #: Metrics for which lower is better, by the last part of the name.
    lower_is_better = ('duplicates', 'score_margin', 'mMR')
    _saved: Optional[List[str]] = None
    file_backend: Any

    def _init_rule(self, rules: List[Optional[str]], key_indicators: List[str]) -> None:
        rules = rules * len(key_indicators) if len(rules) == 1 else rules
        super()._init_rule(
            [
                'less' if rule is None and key.rpartition('/')[2] in self.lower_is_better else rule
                for rule, key in zip(rules, key_indicators)
            ],
            key_indicators,
        )

    def before_train(self, runner: Runner) -> None:
        """Remove what a killed process left half-written, and look up the names of ``save_best``.

        Raises:
            InputError: the evaluation gives no such metric.
        """
        if self.save_best is not None and runner.val_loop is not None:
            self._translate([getattr(metric, 'names', None) for metric in runner.val_evaluator.metrics])
        super().before_train(runner)  # a resumed training looks up the best checkpoint of each name
        if mmengine.dist.is_main_process() and isinstance(self.file_backend, LocalBackend):
            for path in Path(self.out_dir).glob(f'{_ASIDE}*.pth'):
                path.unlink()

    def _translate(self, names_of: List[Any]) -> None:
        if not names_of or not all(names_of):
            return  # another metric, whose names are not known before it has been computed
        known = [name for names in names_of for name in names()]
        for place, key in enumerate(list(self.key_indicators)):
            if key == 'auto' or key in known or key.endswith('_precision'):
                continue
            other = _our_name(key, known)
            if other is None:
                raise InputError(f'save_best: there is no metric {key!r}, but {", ".join(known)}')
            self.key_indicators[place] = other
            self.is_better_than[other] = self.is_better_than.pop(key)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        with self._whole(runner):
            super()._save_checkpoint_with_step(runner, step, meta)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        if self.save_best:  # without it, this is called even where nothing is trained
            with self._whole(runner):
                super()._save_best_checkpoint(runner, metrics)

    @contextlib.contextmanager
    def _whole(self, runner: Runner) -> Iterator[None]:
        """Write files whole, and remove others only at the end."""
        if self._saved is not None or not isinstance(self.file_backend, LocalBackend):
            yield
            return
        save, backend = runner.save_checkpoint, self.file_backend
        saved: List[str] = []
        self._saved = saved

        def save_whole(out_dir: str, filename: str, *args: Any, **kwargs: Any) -> None:
            save(out_dir, f'{_ASIDE}{filename}', *args, **kwargs)
            if mmengine.dist.is_main_process():
                saved.append(os.path.join(out_dir, filename))
                _rename(Path(out_dir, f'{_ASIDE}{filename}'), Path(out_dir, filename))

        runner.save_checkpoint = save_whole
        self.file_backend = later = _RemovesLater(backend)
        try:
            yield
            later.remove_all(saved)
        finally:
            runner.save_checkpoint = save
            self.file_backend, self._saved = backend, None


def _our_name(key: str, known: List[str]) -> Optional[str]:
    """The metric that MMDetection calls ``key``, such as coco/bbox_mAP_50, as it is called here."""
    from o2f.evaluation.metric import MMDETECTION_NAMES

    kind, _, name = key.rpartition('/')[2].partition('_')
    ours = MMDETECTION_NAMES.get(name)
    if ours is None or kind not in ('bbox', 'segm'):
        return None
    ending = f'without_nms/{"mask_" if kind == "segm" else ""}{ours}'
    return next((other for other in known if other.endswith(ending)), None)


def _rename(aside: Path, path: Path) -> None:
    if aside.is_file():
        with open(aside, 'rb+') as file:
            os.fsync(file.fileno())
    os.replace(aside, path)


class _RemovesLater:
    """A file backend that remembers what to remove."""

    def __init__(self, backend: LocalBackend) -> None:
        self._backend = backend
        self._later: List[tuple] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def remove(self, path: str) -> None:
        self._later.append((self._backend.remove, path))

    def rmtree(self, path: str) -> None:
        self._later.append((self._backend.rmtree, path))

    def remove_all(self, kept: List[str]) -> None:
        for remove, path in self._later:
            if os.path.abspath(path) not in map(os.path.abspath, kept):
                remove(path)
