"""Measures briefly how many images per second this machine trains and evaluates with a run's config."""

import contextlib
import io
import itertools
import logging
import os
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Dict, Optional

from experiments.commands.estimate.counts import has_own_files
from experiments.spec.paths import data_paths, generated, makes_data, substitute_paths
from experiments.store.errors import UserError

#: Minimum number of training images. They are repeated.
_IMAGES = 64
#: Batch size on a CPU for images of COCO's size.
_ON_CPU = 2
_TRAINING = 0.7  # share of the time for training


def probe(
    configs: Dict[str, dict],
    seconds: float,
    processes: int,
    threads: int,
    device: Optional[str],
    data: Path,
    report: Callable,
) -> None:
    """Measure each config in this process.

    ``report`` is called with each config's key, training images per second, evaluated images per second (network,
    detections without and with NMS, metrics), images per step, and CPU share. The CPU share is that of its cores which
    the process had while training on a CPU without loader workers, else 1. No weights are read and nothing is stored.
    Scores below the threshold count as detections, because an untrained detector has no others.

    Args:
        configs (dict): resolved configs by any key.
        seconds (float): total duration; each config has at least two steps.
        processes (int): number of processes that share a batch in the run.
        threads (int): CPU threads to compute with.
        device (str, optional): the GPU to use, as CUDA_VISIBLE_DEVICES has it.
        data (Path): the data folder.
        report (callable): see above.

    Raises:
        UserError: annotations of the user's own are missing, or COCO has a folder of its own, where nothing is drawn.
    """
    if device is not None:
        os.environ['CUDA_VISIBLE_DEVICES'] = device
    import torch

    import o2f  # noqa: F401  (registers the method)

    logging.getLogger('mmengine').setLevel(logging.ERROR)
    warnings.simplefilter('ignore')
    torch.set_num_threads(threads)
    for key, config in configs.items():
        share = max(round(config['train_dataloader']['batch_size'] / processes), 1)
        if not config.get('generate') and not torch.cuda.is_available():
            share = min(share, _ON_CPU)
        with tempfile.TemporaryDirectory(prefix='o2f-probe-') as folder, contextlib.redirect_stdout(io.StringIO()):
            ready = _config(config, Path(folder), data)
            while True:
                try:
                    rates = _measure(ready, share, seconds / len(configs), folder)
                    break
                except torch.cuda.OutOfMemoryError:
                    if share == 1:
                        raise
                    share //= 2
        report(key, *rates)


def _config(config: dict, folder: Path, data: Path) -> Any:
    """The run's config on some of the user's own images or on synthetic ones, without pre-trained weights."""
    from mmengine.config import Config

    where = dict(DATA=str(folder))
    made = generated(config)
    own = not makes_data(config) and has_own_files(config, data)
    if makes_data(config):
        from experiments.data.synthetic.coco import write_coco
        from experiments.data.synthetic.crowd import write_crowd

        makers: Dict[str, Callable] = dict(SCENES=write_coco, CROWD=write_crowd)
        for name in makers.keys() & made.keys():
            makers[name](replace(made[name][1], train=_IMAGES, val=_IMAGES), folder / name)
            where[name] = str(folder / name)
    elif own:
        where = data_paths(config, data)
    else:
        _write_pictures(config['train_dataloader']['dataset'], folder)
    ready = Config(substitute_paths(config, where), format_python_code=False)
    if own:
        ready.train_dataloader.dataset.indices, ready.val_dataloader.dataset.indices = _IMAGES, _IMAGES // 4
    ready.model.backbone.init_cfg = None
    ready.model.test_cfg.score_thr = 0.0
    return ready


def _write_pictures(dataset: dict, folder: Path) -> None:
    from mmdet.registry import DATASETS

    from experiments.commands.estimate.pictures import write_coco, write_crowdhuman

    root = str(dataset.get('data_root'))
    if '${DATA}' not in root:
        raise UserError(f'--probe draws no images in {root}: begin data_root with ${{DATA}}, and give --data')
    place = Path(substitute_paths(root, dict(DATA=str(folder))))
    if dataset['type'] == 'CrowdHumanDataset':
        return write_crowdhuman(place, _IMAGES, _IMAGES // 4)
    classes = dataset.get('metainfo', {}).get('classes') or DATASETS.get(dataset['type']).METAINFO['classes']
    return write_coco(place, classes, _IMAGES, _IMAGES // 4)


def _measure(config: Any, share: int, seconds: float, folder: str) -> tuple:
    """The values that :func:`probe` reports for one config."""
    import torch
    from mmengine.runner import Runner

    from experiments.training.datasets import keep_samples

    config.train_dataloader.batch_size = share
    config.work_dir, config.default_hooks, config.log_level = folder, {}, 'ERROR'
    config.visualizer, config.experiment_name = None, Path(folder).name
    keep_samples(config)
    runner = Runner.from_cfg(config)
    runner.model.to(memory_format=torch.channels_last)
    wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    if hasattr(runner.model.bbox_head, 'set_epoch'):
        runner.model.bbox_head.set_epoch(0, config.train_cfg.max_epochs)
    loader = runner.build_dataloader(config.train_dataloader)
    runner.model.train()
    steps = (
        runner.model.train_step(batch, wrapper) for batch in itertools.chain.from_iterable(itertools.repeat(loader))
    )
    # The first pass fills caches: cached samples, the allocator's memory, the GPU's choice of algorithms.
    _timed(steps, len(loader), 0.3 * _TRAINING * seconds)
    worked = time.process_time()
    count, took = _timed(steps, None, 0.7 * _TRAINING * seconds)
    worked = time.process_time() - worked
    alone = not torch.cuda.is_available() and config.train_dataloader.num_workers == 0
    had = min(worked / (took * torch.get_num_threads()), 1.0) if alone else 1.0
    del steps, loader
    return share * count / took, _evaluate(runner, (1 - _TRAINING) * seconds), share, had


def _timed(steps: Any, most: Optional[int], seconds: float) -> tuple:
    """Run at least one step, and more until the time or the number ``most`` is reached. Returns count and seconds."""
    begin, count = _now(), 0
    for _ in steps:
        count += 1
        if count == most or time.perf_counter() - begin > seconds:
            break
    return count, _now() - begin


def _evaluate(runner: Any, seconds: float) -> float:
    import torch

    loader = runner.build_dataloader(runner._val_dataloader)
    evaluator = runner.build_evaluator(runner._val_evaluator)
    evaluator.dataset_meta = loader.dataset.metainfo
    runner.model.eval()
    with torch.no_grad():
        runner.model.val_step(next(iter(loader)))  # fills caches
        begin, seen = _now(), 0
        for batch in loader:
            outputs = runner.model.val_step(batch)
            evaluator.process(data_samples=outputs, data_batch=batch)
            seen += len(outputs)
            if time.perf_counter() - begin > seconds:
                break
        evaluator.evaluate(len(loader.dataset))
    return seen / (_now() - begin)


def _now() -> float:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
