"""The epoch hook, and a COCO dataset that always loads masks."""

from typing import Sequence

from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS, HOOKS
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


@DATASETS.register_module()
class CocoWithMasks(CocoDataset):
    """MMDetection's COCO dataset, except that its pipeline always loads masks with the annotations.

    mmengine replaces lists as a whole, so a config that replaces the pipeline would lose the masks. This dataset keeps
    them. Masks are bitmaps, which can hold both COCO's polygons and its run-length codes.

    Args:
        *args (Any): arguments of MMDetection's ``CocoDataset``.
        pipeline (sequence[dict]): configs of the transforms.
        **kwargs (Any): arguments of MMDetection's ``CocoDataset``.
    """

    def __init__(self, *args, pipeline: Sequence[dict] = (), **kwargs) -> None:
        masks = dict(with_mask=True, poly2mask=True)
        steps = [dict(step, **masks) if step['type'] == 'LoadAnnotations' else step for step in pipeline]
        super().__init__(*args, pipeline=steps, **kwargs)
