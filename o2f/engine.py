"""What mmengine and MMDetection call around the detectors: the epoch hook and a dataset that always loads masks."""

from typing import Sequence

from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS, HOOKS
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


@DATASETS.register_module()
class CocoWithMasks(CocoDataset):
    """MMDetection's COCO dataset, except that its pipeline loads masks, as bitmaps, wherever it loads annotations.

    So a config keeps the masks when another one replaces its whole pipeline, as mmengine replaces lists. Bitmaps hold
    what COCO writes as polygons and what it writes run-length coded.

    Args:
        pipeline (sequence[dict]): configs of the steps.
        args, kwargs: the rest goes to ``CocoDataset``.
    """

    def __init__(self, *args, pipeline: Sequence[dict] = (), **kwargs) -> None:
        masks = dict(with_mask=True, poly2mask=True)
        steps = [dict(step, **masks) if step['type'] == 'LoadAnnotations' else step for step in pipeline]
        super().__init__(*args, pipeline=steps, **kwargs)
