"""COCO with masks, whatever the pipeline says of them (section 4.5, Table 9)."""

from typing import Sequence

from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS


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
