"""COCO metrics of both readings, through pycocotools."""

import contextlib
import io
from typing import Dict, List, Optional, Sequence, Union

import numpy as np
import torch
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor

from o2f.readings import FIELDS

#: pycocotools' summary at its default settings (100 detections per image): name -> index in ``COCOeval.stats``.
STATS = {'AP': 0, 'AP50': 1, 'AP75': 2, 'APs': 3, 'APm': 4, 'APl': 5, 'AR': 8}


@METRICS.register_module()
class TwoReadingsMetric(BaseMetric):
    """AP, AP50, AP75, APs, APm, APl and AR of each reading, as ``without_nms/AP``, ``with_nms/AP`` and so on.

    Those of masks are ``without_nms/mask_AP`` and so on (Table 9); there a detection's size is its mask's area.

    Values are fractions from 0 to 1 and are not rounded, as the gap between the readings is often below 0.1 points
    (MMDetection's ``CocoMetric`` rounds to three decimals). A metric that is not defined on the data, such as APl
    without a large object, is NaN.

    Args:
        ann_file (str): annotations in COCO's format.
        collect_device (str): 'cpu' or 'gpu', where results of several processes are joined.
        prefix (str, optional): put before the names.
        masks (bool): measure the detections' ``masks`` too.
    """

    def __init__(
        self, ann_file: str, collect_device: str = 'cpu', prefix: Optional[str] = None, masks: bool = False
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.masks = masks
        with contextlib.redirect_stdout(io.StringIO()):
            self.truth = COCO(ann_file)

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Keep both readings of each image as (n, 6) rows x, y, width, height, score, label, and n encoded masks."""
        for sample in data_samples:
            found = {reading: sample[field] for reading, field in FIELDS.items()}
            rows = {reading: _rows(detections) for reading, detections in found.items()}
            codes = {reading: _codes(detections['masks']) for reading, detections in found.items() if self.masks}
            self.results.append((sample['img_id'], rows, codes))

    def compute_metrics(self, results: List[tuple]) -> Dict[str, float]:
        """Evaluate each reading by itself; ``results`` are those of all processes."""
        image_ids = [image_id for image_id, *_ in results]
        metrics = {}
        for reading in FIELDS:
            table = self._coco_rows([(image_id, rows[reading]) for image_id, rows, _ in results])
            values = self._evaluate('bbox', table, image_ids)
            if self.masks:
                detections = self._coco_masks(table, [code for _, _, codes in results for code in codes[reading]])
                of_masks = self._evaluate('segm', detections, image_ids)
                values.update({f'mask_{name}': value for name, value in of_masks.items()})
            metrics.update({f'{reading}/{name}': value for name, value in values.items()})
        logger = MMLogger.get_current_instance()
        logger.info('  '.join(f'{name} {100 * value:.2f}' for name, value in metrics.items()))
        return metrics

    def _evaluate(self, kind: str, detections: Union[np.ndarray, List[dict]], image_ids: List[int]) -> Dict[str, float]:
        """One reading's metrics of boxes ('bbox') or masks ('segm') over ``image_ids``; without a detection, 0."""
        if len(detections) == 0:
            # pycocotools reads an empty result as broken, so such a reading gets one detection that matches nothing.
            nothing = _codes(torch.zeros(1, 1, 1))[0]
            detections = [dict(image_id=image_ids[0], category_id=-1, score=0.0, segmentation=nothing)]
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation = COCOeval(self.truth, self.truth.loadRes(detections), kind)
            evaluation.params.imgIds = image_ids
            evaluation.params.catIds = self._category_ids()
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        return {name: float(evaluation.stats[i]) if evaluation.stats[i] >= 0 else np.nan for name, i in STATS.items()}

    def _coco_rows(self, detections: List[tuple]) -> np.ndarray:
        """(n, 7) rows as ``COCO.loadRes`` takes them: image id, x, y, width, height, score, category id."""
        categories = np.array(self._category_ids())
        tables = [
            np.column_stack((np.full(len(rows), image_id), rows[:, :5], categories[rows[:, 5].astype(int)]))
            for image_id, rows in detections
        ]
        return np.concatenate(tables).astype(np.float64)

    def _coco_masks(self, table: np.ndarray, codes: List[dict]) -> List[dict]:
        """The masks as ``COCO.loadRes`` takes them, in the order of the boxes' table."""
        return [
            dict(image_id=int(row[0]), category_id=int(row[6]), score=row[5], segmentation=code)
            for row, code in zip(table, codes)
        ]

    def _category_ids(self) -> List[int]:
        """Category ids in the order of the dataset's classes, which is the order of the model's labels."""
        classes = (self.dataset_meta or {}).get('classes')
        return (
            self.truth.getCatIds() if classes is None else [self.truth.getCatIds(catNms=[name])[0] for name in classes]
        )


def _rows(instances: dict) -> np.ndarray:
    """(n, 6) float64 rows x, y, width, height, score, label of one reading of one image."""
    x1, y1, x2, y2 = instances['bboxes'].cpu().double().numpy().T
    scores, labels = instances['scores'].cpu().double().numpy(), instances['labels'].cpu().numpy()
    return np.column_stack((x1, y1, x2 - x1, y2 - y1, scores, labels))


def _codes(masks: Tensor) -> List[dict]:
    """The run-length codes of (n, h, w) bool masks, as plain as JSON has them."""
    codes = rle.encode(np.asfortranarray(masks.cpu().numpy().astype(np.uint8).transpose(1, 2, 0)))
    return [dict(size=code['size'], counts=code['counts'].decode()) for code in codes]
