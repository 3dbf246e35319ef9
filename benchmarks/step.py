"""Training step of the whole detector, ResNet-50 and FPN, beside MMDetection's FCOS on the same images.

Forward, loss, backward and the optimiser's step through mmengine's ``train_step``, in turns in one process. Both have
the paper's settings, the same backbone, neck and towers, the same frozen parts, and the same memory format. One-to-few
has three more convolutions (of 64 channels) before its centerness map. On a GPU, it is also measured in half precision,
as mmengine's ``AmpOptimWrapper`` trains, and with weights that are not channels-last.
"""

from typing import Callable, List, NamedTuple, Optional

import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

from benchmarks.detectors import DEVICE, SIZE, build, config_of, scenes
from benchmarks.rows import Row
from benchmarks.timing import in_turns, memory

IMAGES, INSTANCES = 2, 7  # per GPU as published, and COCO's mean per image


METHODS = {'Ours-1conv': 'o2f, 1 convolution', 'Ours-3convs': 'o2f, 3 convolutions', 'FCOS-NMS': 'FCOS'}


class Setting(NamedTuple):
    """How a step computes: the name of a half precision or None, and the memory format of the weights."""

    dtype: Optional[str] = None
    memory_format: torch.memory_format = torch.channels_last

    @property
    def words(self) -> str:
        """What is unlike the default, for a row's case."""
        words = [self.dtype] if self.dtype else []
        return ', '.join(words + ['not channels-last'] * (self.memory_format != torch.channels_last))


DEFAULT = Setting()
ON_GPU = (Setting('float16'), Setting('bfloat16'), Setting(memory_format=torch.contiguous_format))


def measure(quick: bool) -> List[Row]:
    """Time and peak memory of a step; on a CPU at half the side, as a step at full size takes most of a minute."""
    full = DEVICE.type == 'cuda'
    size = (64, 96) if quick else SIZE if full else (SIZE[0] // 2, SIZE[1] // 2)
    rows = []
    for setting in (DEFAULT, *(ON_GPU if full else ())):
        rows += _compare(setting, size, quick)
    return rows


def _compare(setting: Setting, size, quick: bool) -> List[Row]:
    """The rows of one setting."""
    on_gpu = DEVICE.type == 'cuda'
    steps = {method: step_of(config_of(method), size, setting) for method in METHODS}
    repeats = 1 if quick else 50 if on_gpu else 15
    times = in_turns(steps, repeats=repeats, least=1 if quick else 5, enough_s=30 if on_gpu else 400)
    peaks = {method: memory(step)[0] for method, step in steps.items()}
    rows = []
    for method, words in list(METHODS.items())[:-1]:
        case = ', '.join(filter(None, (words, setting.words, f'{IMAGES} images of {size[1]} x {size[0]}')))
        rows.append(Row(f'{case}: time', times[method], 's', times['FCOS-NMS'], 'FCOS', at_most=1.0))
        peak, of_fcos = (peaks[name] / 2**20 for name in (method, 'FCOS-NMS'))
        rows.append(Row(f'{case}: peak memory', peak, 'MB', of_fcos, 'FCOS', at_most=1.0))
    return rows


def step_of(config: Config, size, setting: Setting = DEFAULT) -> Callable[[], dict]:
    """One training step on a batch that is always the same."""
    if setting.dtype:
        config.optim_wrapper.update(type='AmpOptimWrapper', dtype=setting.dtype)
    model = build(config, setting.memory_format).train()
    optim = build_optim_wrapper(model, config.optim_wrapper)
    for group in optim.param_groups:
        group['lr'] = 0.0  # the weights stay, so every turn computes the same
    batch = scenes(IMAGES, size, INSTANCES)
    return lambda: model.train_step(batch, optim)
