"""What runs write: their checkpoints by the number of parameters, and what else they leave by measured sizes."""

import logging
import warnings
from dataclasses import dataclass
from typing import Dict, Iterable

from experiments.commands.estimate.cost_key import cost_key
from experiments.commands.estimate.counts import counts

#: Tensors that an optimiser keeps beside each parameter that it trains.
_STATES = dict(SGD=1, Adam=2, AdamW=2)
#: Bytes of matches.npz for each detection that an evaluation may keep, both readings together; of mmengine's history of
#: losses in a checkpoint for each iteration; and of all other files of a run for each epoch. From the desk's runs.
_PER_DETECTION, _PER_ITERATION, _PER_EPOCH = 2, 160, 4000


@dataclass(frozen=True)
class DiskUsage:
    """Bytes of one run on the disk: when it is done, and at most while it trains."""

    done: int
    peak: int


def disk_usage(config: dict, parameters: int, trained: int) -> DiskUsage:
    """What a run writes.

    While the newest checkpoint is written aside the one before it is still there, both with the optimiser's state.

    Args:
        config (dict): its resolved config.
        parameters, trained (int): parameters and buffers of its model, and those that are trained.
    """
    states = _STATES.get(config['optim_wrapper']['optimizer']['type'], 2)
    seen = counts(config)
    history = rest = 0
    if seen is not None:
        detections = seen.val * config['model'].get('test_cfg', {}).get('max_per_img', 100)
        rest = _PER_DETECTION * detections + _PER_EPOCH * seen.epochs
        history = _PER_ITERATION * seen.epochs * seen.train // config['train_dataloader']['batch_size']
    return DiskUsage(4 * parameters + history + rest, 2 * (4 * (parameters + states * trained) + history) + rest)


def needed(usages: Iterable[DiskUsage], at_once: int) -> int:
    """Bytes for all of these runs: their final files, and beyond that what those that train at once need."""
    usages = list(usages)
    more = sorted((max(one.peak - one.done, 0) for one in usages), reverse=True)
    return sum(one.done for one in usages) + sum(more[:at_once])


def disk_usages(configs: Dict[str, dict]) -> Dict[str, DiskUsage]:
    """:class:`DiskUsage` of each run by its id; models are built, one for each kind, without their values."""
    by_kind: Dict[str, tuple] = {}
    found = {}
    for run_id, config in configs.items():
        kind = cost_key(config)
        if kind not in by_kind:
            by_kind[kind] = _size(config)
        found[run_id] = disk_usage(config, *by_kind[kind])
    return found


def _size(config: dict) -> tuple:
    """Numbers in a model, and how many of them are trained."""
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
        except RuntimeError:  # a Swin asks for values while it is built
            model = MODELS.build(ConfigDict(config['model']))
    if hasattr(model.backbone, '_freeze_stages'):
        model.backbone._freeze_stages()
    tensors = [*model.parameters(), *model.buffers()]
    return sum(one.numel() for one in tensors), sum(p.numel() for p in model.parameters() if p.requires_grad)
