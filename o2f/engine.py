"""The epoch hook."""

from typing import Any, List

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn


@HOOKS.register_module()
class EpochHook(Hook):
    """Tells the head before each epoch which epoch it is, and how many there are (j and N of Eq. 3).

    The hook stores nothing and takes the epoch from the runner, so a resumed run continues with the right targets.
    Heads without ``set_epoch``, such as MMDetection's own, are left alone. Detectors within others hear of it as well.
    """

    def before_train_epoch(self, runner: Runner) -> None:
        """Call ``set_epoch(epoch, max_epochs)`` of each head. Epochs count from 0.

        Args:
            runner (Runner): the runner that trains.
        """
        for head in heads_with_epochs(runner.model):
            head.set_epoch(runner.epoch, runner.max_epochs)


def heads_with_epochs(model: nn.Module) -> List[Any]:
    """The heads of a model, and of models within it, that must learn which epoch it is."""
    return [part for name, part in model.named_modules() if name.endswith('bbox_head') and hasattr(part, 'set_epoch')]
