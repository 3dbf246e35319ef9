"""Where a training step of the desk goes: one-to-few with three convolutions, one thread.

Samples were all seen before, as from a training's second epoch on. The time is that of the processor, which other work
on the machine disturbs least. Convolutions and norms are those of torch's profiler, forward and backward, as a share of
all that it sees.
"""

import contextlib
import io
import tempfile
import time
from pathlib import Path
from typing import Dict, Iterator, List, Tuple

import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch import nn

import o2f  # isort: skip  # noqa: F401  (answers for mmcv's compiled operations, so it comes before MMDetection)
from mmdet.registry import MODELS  # isort: skip

from benchmarks.rows import Row
from experiments.data.prepare import prepare
from experiments.spec.config import resolve
from experiments.spec.paths import data_paths, substitute_paths
from experiments.training.datasets import keep_samples

PARTS = ('loading', 'pre-processing', 'forward and loss', 'backward', 'optimiser')
#: What operations of convolutions and norms are called.
WORK = ('convolution', 'native_group_norm', 'native_batch_norm')


def measure(quick: bool) -> List[Row]:
    """Milliseconds of a step and the shares of its parts."""
    steps = 2 if quick else 60
    with tempfile.TemporaryDirectory() as folder:
        model, loader, optim = _training(Path(folder), images=32 if quick else 400)
        for _ in range(4):  # both sides of nearly every image
            for _ in loader:
                pass
        batches = _endless(loader)
        _step(model, optim, batches)
        totals = [sum(column) for column in zip(*(_step(model, optim, batches) for _ in range(steps)))]
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            for _ in range(2 if quick else 10):
                _step(model, optim, batches)
    whole = sum(totals)
    shares = dict(zip(PARTS, (100 * total / whole for total in totals)))
    rows = [Row(f'one step of {loader.batch_size} images', 1000 * whole / steps, 'ms')]
    fed = shares.pop('loading') + shares.pop('pre-processing')
    rows.append(Row('loading and pre-processing', fed, '%', below=2.0))
    rows += [Row(name, share, '%') for name, share in shares.items()]
    return [*rows, Row('outside convolutions and norms', 100 - _working(profile), '%', below=30.0)]


def _training(folder: Path, images: int) -> Tuple[nn.Module, torch.utils.data.DataLoader, object]:
    """Model, loader and optimiser of the desk's default cell, as a training has them, without pre-trained weights."""
    sizes = {'generate.scenes.train': images, 'generate.scenes.val': 1}
    resolved = resolve('desk', [], sizes, 0, 'desk-step').config
    prepare([resolved], folder, lambda *_: None, lambda function, *args: function(*args), backbone=False)
    config = Config(substitute_paths(resolved, data_paths(resolved, folder)))
    init_default_scope(config.default_scope)
    keep_samples(config)
    config.model.backbone.init_cfg = None
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools tells what it reads
        loader = Runner.build_dataloader(config.train_dataloader, seed=0)
    model = MODELS.build(config.model).to(memory_format=torch.channels_last).train()
    return model, loader, build_optim_wrapper(model, config.optim_wrapper)


def _endless(loader: torch.utils.data.DataLoader) -> Iterator[dict]:
    while True:
        yield from loader


def _step(model: nn.Module, optim: object, batches: Iterator[dict]) -> List[float]:
    """One training step; processor seconds of each of :data:`PARTS`."""
    times = [time.process_time()]

    def lap() -> None:
        times.append(time.process_time())

    batch = next(batches)
    lap()
    batch = model.data_preprocessor(batch, True)
    lap()
    loss, _ = model.parse_losses(model(**batch, mode='loss'))
    lap()
    optim.backward(loss)
    lap()
    optim.step()
    optim.zero_grad()
    lap()
    return [end - begin for begin, end in zip(times, times[1:])]


def _working(profile: torch.profiler.profile) -> float:
    """Per cent of the profiled time inside convolutions and norms."""
    times: Dict[str, float] = {event.key: event.self_cpu_time_total for event in profile.key_averages()}
    return 100 * sum(time for name, time in times.items() if any(work in name for work in WORK)) / sum(times.values())
