"""The epoch schedules of the method as an mmengine hook."""

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner


@HOOKS.register_module()
class EpochHook(Hook):
    """Tell the head, before each epoch, which epoch it is and of how many (j and N of Eq. 3).

    The epoch is asked of the runner each time and kept nowhere, so a resumed run goes on with the right targets. A head
    without ``set_epoch``, such as MMDetection's own, trains by targets that do not change.
    """

    def before_train_epoch(self, runner: Runner) -> None:
        """Call ``bbox_head.set_epoch(epoch, max_epochs)``, the epoch counted from 0."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if hasattr(model.bbox_head, 'set_epoch'):
            model.bbox_head.set_epoch(runner.epoch, runner.max_epochs)
