"""The batch of a run: split over its processes, and with ``--accumulate`` over several steps.

``train_dataloader.batch_size`` is the batch of all processes together. So the number of processes does not change what
a run computes.

mmengine's ``accumulative_counts`` sums the gradients of the parts. But each part's loss is normalised by that part's
own number of positives, which is another loss. Here an extra forward pass first computes the normalisers of the whole
batch. Then each part is trained with their mean, just as several processes share a batch.
"""

import contextlib
import sys
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterator, List, Optional

import mmdet.utils
import torch
from mmengine.config import Config
from mmengine.model import is_model_wrapper
from mmengine.registry import LOOPS
from mmengine.runner import EpochBasedTrainLoop
from torch import Tensor, nn


@LOOPS.register_module()
class AccumulatingTrainLoop(EpochBasedTrainLoop):
    """mmengine's loop over epochs. Each step computes its batch in parts.

    Args:
        parts (int): number of parts, at most the number of images in the batch.
        args, kwargs: passed on to ``EpochBasedTrainLoop``.
    """

    def __init__(self, *args: Any, parts: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.parts = parts
        self.divisors = Divisors()

    def run_iter(self, idx: int, data_batch: Any) -> None:
        """One step of the optimiser."""
        runner = self.runner
        runner.call_hook('before_train_iter', batch_idx=idx, data_batch=data_batch)
        outputs = step(runner.model, runner.optim_wrapper, data_batch, self.parts, self.divisors)
        runner.call_hook('after_train_iter', batch_idx=idx, data_batch=data_batch, outputs=outputs)
        self._iter += 1


def step(model: Any, optim: Any, data: dict, parts: int, divisors: 'Divisors') -> Dict[str, Tensor]:
    """Train one batch in parts.

    Args:
        model (nn.Module): the detector, or its distributed wrapper.
        optim (OptimWrapper): the optimiser.
        data (dict): a batch from the loader.
        parts (int): the largest number of parts.
        divisors (Divisors): the normalisers of the losses.

    Returns:
        dict[str, Tensor]: losses of the whole batch, and means over the parts of counts that are only logged.
    """
    inner: Any = model.module if is_model_wrapper(model) else model
    pieces = split(inner.data_preprocessor(data, True), parts)
    with divisors.recorded() as recorded, _without_traces(inner), optim.optim_context(inner):
        for piece in pieces:
            recorded.append([])
            inner._run_forward(piece, mode='loss')
    logged: Dict[str, Tensor] = {}
    for number, piece in enumerate(pieces, 1):
        waits = number < len(pieces) and hasattr(model, 'no_sync')  # gradients are averaged once
        with model.no_sync() if waits else contextlib.nullcontext():
            with divisors.replaced(recorded), optim.optim_context(inner):
                total, losses = inner.parse_losses(model._run_forward(piece, mode='loss'))
            optim.backward(total / len(pieces))
        for name, value in losses.items():
            logged[name] = logged.get(name, 0) + value.detach() / len(pieces)
    optim.step()
    optim.zero_grad()
    return logged


def take_in_parts(config: Config, parts: int) -> None:
    """Change a config so that each batch is trained in parts."""
    loop = {key: value for key, value in config.train_cfg.items() if key not in ('type', 'by_epoch')}
    config.train_cfg = dict(loop, type=AccumulatingTrainLoop.__name__, parts=parts)


def split(batch: dict, parts: int) -> List[dict]:
    """Split a preprocessed batch, padded as a whole, into at most ``parts`` parts of nearly equal size."""
    count = len(batch['data_samples'])
    parts = min(parts, count)
    ends = [count * number // parts for number in range(parts + 1)]
    return [
        dict(inputs=batch['inputs'][begin:end], data_samples=batch['data_samples'][begin:end])
        for begin, end in zip(ends, ends[1:])
    ]


@contextlib.contextmanager
def _without_traces(model: nn.Module) -> Iterator[None]:
    """Compute without gradients. Random states and running statistics are restored afterwards."""
    here = {parameter.device.index for parameter in model.parameters() if parameter.is_cuda}
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    before = [(buffer, buffer.clone()) for norm in norms if norm.training for buffer in norm.buffers()]
    with torch.no_grad(), torch.random.fork_rng(devices=sorted(here)):
        yield
    for buffer, value in before:
        buffer.copy_(value)


class Divisors:
    """Records and replaces the normalisers of losses, all of which go through MMDetection's ``reduce_mean``.

    It replaces that function in every module that imported it. Outside the contexts below it does the same.
    """

    def __init__(self) -> None:
        found = vars(mmdet.utils)['reduce_mean']
        self._ours = found if isinstance(found, _Reduce) else _Reduce(found)
        self._mean = self._ours.mean
        for module in list(sys.modules.values()):
            if vars(module).get('reduce_mean') is self._mean:
                vars(module)['reduce_mean'] = self._ours

    @contextlib.contextmanager
    def recorded(self) -> Iterator[List[List[Tensor]]]:
        """Yield a list of lists. Each value to be averaged is appended to the last of them and returned unchanged."""
        parts: List[List[Tensor]] = []

        def keep(value: Tensor) -> Tensor:
            parts[-1].append(value.detach().clone())
            return value

        self._ours.answer = keep
        try:
            yield parts
        finally:
            self._ours.answer = None

    @contextlib.contextmanager
    def replaced(self, parts: List[List[Tensor]]) -> Iterator[None]:
        """Answer with the recorded values, in order, averaged over parts and processes."""
        count = max(map(len, parts))
        columns = [[part[number] for part in parts if number < len(part)] for number in range(count)]
        means = iter([self._mean(torch.stack(column).float().sum(0) / len(parts)) for column in columns])
        self._ours.answer = lambda value: next(means).to(value.dtype)
        try:
            yield
        finally:
            self._ours.answer = None


class _Reduce:
    """``reduce_mean``, or the function ``answer`` if it is set."""

    def __init__(self, mean: Any) -> None:
        self.mean = mean
        self.answer: Optional[Callable[[Tensor], Tensor]] = None

    def __call__(self, value: Tensor) -> Tensor:
        return self.mean(value) if self.answer is None else self.answer(value)


@dataclass(frozen=True)
class BatchSplit:
    """How a batch is split over processes.

    Attributes:
        batch (int): images in a batch, from the run's config.
        processes (int): how many processes share it.
        each (int): images of each process, the nearest whole number and at least 1.
    """

    batch: int
    processes: int
    each: int

    @property
    def real(self) -> int:
        """Images in a batch as it is trained."""
        return self.each * self.processes

    def note(self) -> str:
        """A line if the batch does not divide evenly, else empty."""
        if self.real == self.batch:
            return ''
        return (
            f'a batch of {self.batch} images does not divide over {self.processes} processes: {self.each} each make '
            f'{self.real}, and the learning rate is scaled by {self.real}/{self.batch}'
        )


def split_batch(config: dict, processes: int) -> BatchSplit:
    """Split the batch of a config over processes."""
    batch = config['train_dataloader']['batch_size']
    return BatchSplit(batch, processes, max(round(batch / processes), 1))


def apply_batch_split(config: dict, processes: int) -> BatchSplit:
    """Set the batch size of each process in a config, in place.

    If this changes the total batch, the learning rate is scaled linearly. If ``auto_scale_lr`` is enabled, it always
    scales from 16 images.
    """
    found = split_batch(config, processes)
    config['train_dataloader']['batch_size'] = found.each
    scaled = config.get('auto_scale_lr') or {}
    if found.real != found.batch and not scaled.get('enable'):
        config['auto_scale_lr'] = dict(enable=True, base_batch_size=found.batch)
    return found
