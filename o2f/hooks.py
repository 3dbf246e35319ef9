"""The epoch schedule of Eq. 3 as an mmengine hook."""

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner


@HOOKS.register_module()
class DegreesHook(Hook):
    """Tell the head's degrees, before each epoch, which epoch it is and of how many.

    The epoch is asked of the runner each time and kept nowhere, so a resumed run goes on with the right degrees.
    """

    def before_train_epoch(self, runner: Runner) -> None:
        """Set T^j for the epoch that starts."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        model.bbox_head.degrees.set_epoch(runner.epoch, runner.max_epochs)
