"""The batch of a run: split over its processes, and with ``--accumulate`` over several steps.

``train_dataloader.batch_size`` is the batch of all processes together, so a run computes the same whatever their
number.

mmengine's ``accumulative_counts`` adds up gradients of losses that were each divided by their own part's number of
positives, which is another loss. Here one more forward pass first finds what the losses of the whole batch are divided
by. Then each part is trained on with that mean, just as several processes share a batch.
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
    """mmengine's loop over epochs, each step of which takes its batch in parts.

    Args:
        parts (int): how many parts; a batch with fewer images has as many as images.
        args, kwargs: the rest goes to ``EpochBasedTrainLoop``.
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
        model (nn.Module): the detector, or its wrapper over processes.
        optim (OptimWrapper): what steps.
        data (dict): a batch as the loader gives it.
        parts (int): how many parts, at most.
        divisors (Divisors): what losses are divided by.

    Returns:
        dict[str, Tensor]: losses of the whole batch; of counts that are only logged, the mean over the parts.
    """
    inner: Any = model.module if is_model_wrapper(model) else model
    pieces = split(inner.data_preprocessor(data, True), parts)
    with divisors.recorded() as recorded, _without_traces(inner), optim.optim_context(inner):
        for piece in pieces:
            recorded.append([])
            inner._run_forward(piece, mode='loss')
    logged: Dict[str, Tensor] = {}
    for number, piece in enumerate(pieces, 1):
        waits = number < len(pieces) and hasattr(model, 'no_sync')  # gradients meet once
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
    """Let a config train each batch in parts."""
    loop = {key: value for key, value in config.train_cfg.items() if key not in ('type', 'by_epoch')}
    config.train_cfg = dict(loop, type=AccumulatingTrainLoop.__name__, parts=parts)


def split(batch: dict, parts: int) -> List[dict]:
    """A batch as the data preprocessor gives it, padded as a whole, in at most ``parts`` of nearly equal size."""
    count = len(batch['data_samples'])
    parts = min(parts, count)
    ends = [count * number // parts for number in range(parts + 1)]
    return [
        dict(inputs=batch['inputs'][begin:end], data_samples=batch['data_samples'][begin:end])
        for begin, end in zip(ends, ends[1:])
    ]


@contextlib.contextmanager
def _without_traces(model: nn.Module) -> Iterator[None]:
    """No gradients; random numbers and running statistics are as before afterwards."""
    here = {parameter.device.index for parameter in model.parameters() if parameter.is_cuda}
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    before = [(buffer, buffer.clone()) for norm in norms if norm.training for buffer in norm.buffers()]
    with torch.no_grad(), torch.random.fork_rng(devices=sorted(here)):
        yield
    for buffer, value in before:
        buffer.copy_(value)


class Divisors:
    """Numbers that losses are divided by, all of which go through MMDetection's ``reduce_mean``.

    It takes the place of that function wherever a module has it by name, and does the same unless it is told otherwise.
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
        """Gives a list; what is to be averaged is added to its last element, and goes through as it is."""
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
        """What was recorded of all parts is answered as its mean over them, and over processes, in the same order."""
        count = max(map(len, parts))
        columns = [[part[number] for part in parts if number < len(part)] for number in range(count)]
        means = iter([self._mean(torch.stack(column).float().sum(0) / len(parts)) for column in columns])
        self._ours.answer = lambda value: next(means).to(value.dtype)
        try:
            yield
        finally:
            self._ours.answer = None


class _Reduce:
    """``reduce_mean``, or what ``answer`` gives."""

    def __init__(self, mean: Any) -> None:
        self.mean = mean
        self.answer: Optional[Callable[[Tensor], Tensor]] = None

    def __call__(self, value: Tensor) -> Tensor:
        return self.mean(value) if self.answer is None else self.answer(value)


@dataclass(frozen=True)
class BatchSplit:
    """A batch over processes.

    Attributes:
        batch (int): images in a batch, as the run has it.
        processes (int): how many share it.
        each (int): images of each, the nearest whole number and at least 1.
    """

    batch: int
    processes: int
    each: int

    @property
    def real(self) -> int:
        """Images in a batch as trained."""
        return self.each * self.processes

    def note(self) -> str:
        """A line where the batch does not divide; empty where it does."""
        if self.real == self.batch:
            return ''
        return (
            f'a batch of {self.batch} images does not divide over {self.processes} processes: {self.each} each make '
            f'{self.real}, and the learning rate is scaled by {self.real}/{self.batch}'
        )


def split_batch(config: dict, processes: int) -> BatchSplit:
    """How the batch of a config divides over processes."""
    batch = config['train_dataloader']['batch_size']
    return BatchSplit(batch, processes, max(round(batch / processes), 1))


def apply_batch_split(config: dict, processes: int) -> BatchSplit:
    """Give each process its images, as mmengine counts them, in a config that is changed.

    Where that makes another batch the learning rate is scaled linearly, as ``auto_scale_lr`` always does from 16 images
    where it is enabled.
    """
    found = split_batch(config, processes)
    config['train_dataloader']['batch_size'] = found.each
    scaled = config.get('auto_scale_lr') or {}
    if found.real != found.batch and not scaled.get('enable'):
        config['auto_scale_lr'] = dict(enable=True, base_batch_size=found.batch)
    return found
