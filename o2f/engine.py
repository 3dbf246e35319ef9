"""The epoch hook."""

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner


@HOOKS.register_module()
class EpochHook(Hook):
    """Tells the head before each epoch which epoch it is, and how many there are (j and N of Eq. 3).

    The hook stores nothing and takes the epoch from the runner, so a resumed run continues with the right targets.
    Heads without ``set_epoch``, such as MMDetection's own, are left alone.
    """

    def before_train_epoch(self, runner: Runner) -> None:
        """Call ``bbox_head.set_epoch(epoch, max_epochs)``. Epochs count from 0.

        Args:
            runner (Runner): the runner that trains.
        """
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if hasattr(model.bbox_head, 'set_epoch'):
            model.bbox_head.set_epoch(runner.epoch, runner.max_epochs)
