"""Estimates the disk usage of runs: checkpoints from the number of parameters, other files from measured sizes."""

import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterable

from experiments.commands.estimate.cost_key import cost_key
from experiments.commands.estimate.counts import counts

#: Number of tensors that an optimiser keeps for each trained parameter.
_STATES = dict(SGD=1, Adam=2, AdamW=2)
#: Bytes of image_groups.json; of mmengine's history of losses in a checkpoint per iteration; and of all other files of
#: a run per epoch. Measured on the desk's runs.
_IMAGE_GROUPS, _PER_ITERATION, _PER_EPOCH = 5000, 160, 4000


@dataclass(frozen=True)
class DiskUsage:
    """Bytes of one run on the disk: when it is done, and the peak while it trains."""

    done: int
    peak: int


def disk_usage(config: dict, data: Path, parameters: int, trained: int) -> DiskUsage:
    """The disk usage of a run.

    While the newest checkpoint is being written, the previous one still exists. Both have the optimiser's state.

    Args:
        config (dict): its resolved config.
        data (Path): the data folder.
        parameters, trained (int): numbers in the parameters and buffers of its model, and how many of them are trained.
    """
    states = _STATES.get(config['optim_wrapper']['optimizer'].get('type'), 2)
    seen = counts(config, data)
    history = rest = 0
    if seen is not None:
        rest = _IMAGE_GROUPS + _PER_EPOCH * seen.epochs
        history = _PER_ITERATION * seen.epochs * seen.train // config['train_dataloader']['batch_size']
    return DiskUsage(4 * parameters + history + rest, 2 * (4 * (parameters + states * trained) + history) + rest)


def needed(usages: Iterable[DiskUsage], at_once: int) -> int:
    """Bytes for all of these runs: their final files, and the additional need of those that train at once."""
    usages = list(usages)
    more = sorted((max(one.peak - one.done, 0) for one in usages), reverse=True)
    return sum(one.done for one in usages) + sum(more[:at_once])


def disk_usages(configs: Dict[str, dict], data: Path) -> Dict[str, DiskUsage]:
    """:class:`DiskUsage` of each run by its id. One model of each kind is built, without values."""
    by_kind: Dict[str, tuple] = {}
    found = {}
    for run_id, config in configs.items():
        kind = cost_key(config)
        if kind not in by_kind:
            by_kind[kind] = _size(config)
        found[run_id] = disk_usage(config, data, *by_kind[kind])
    return found


def _size(config: dict) -> tuple:
    """The count of numbers in a model's parameters and buffers, and how many of them are trained."""
    import torch
    from mmdet.registry import MODELS
    from mmengine.config import ConfigDict
    from mmengine.registry import init_default_scope

    import o2f  # noqa: F401  (registers the method)

    logging.getLogger('mmengine').setLevel(logging.WARNING)
    init_default_scope('mmdet')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        try:
            with torch.device('meta'):
                model = MODELS.build(ConfigDict(config['model']))
        except RuntimeError:  # Swin needs values while it is built
            model = MODELS.build(ConfigDict(config['model']))
    if hasattr(model.backbone, '_freeze_stages'):
        model.backbone._freeze_stages()
    tensors = [*model.parameters(), *model.buffers()]
    return sum(one.numel() for one in tensors), sum(p.numel() for p in model.parameters() if p.requires_grad)
