"""COCO metrics of both readings (sections 4.1 to 4.3 and, of masks, 4.5)."""

from typing import Dict, List, Optional, Sequence

import numpy as np
from faster_coco_eval.core.mask import area
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from pycocotools import mask as rle
from torch import Tensor

from o2f.coco_evaluation import CocoEvaluation, Detections
from o2f.garbage import without_collection
from o2f.matches import Matches
from o2f.readings import FIELDS


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
        backend (str): what evaluates, 'faster_coco_eval' or 'pycocotools'; the values are the same.

    Attributes:
        keep_matches (bool): whether the next evaluation leaves its matches.
        matches (dict | None): those of the last evaluation, as :meth:`o2f.matches.Matches.arrays` has them; None
            where they were not wanted, and on all processes but the first.

    Raises:
        ValueError: there is no such backend.
    """

    #: What is measured, and where it is found on a data sample.
    fields = FIELDS

    def __init__(
        self,
        ann_file: str,
        collect_device: str = 'cpu',
        prefix: Optional[str] = None,
        masks: bool = False,
        backend: str = 'faster_coco_eval',
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.masks = masks
        self.evaluation = CocoEvaluation(ann_file, backend)
        self.keep_matches = False
        self.matches: Optional[Dict[str, np.ndarray]] = None

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Keep both readings of each image as (n, 6) rows x, y, width, height, score, label, and n encoded masks."""
        for sample in data_samples:
            found = {reading: sample[field] for reading, field in self.fields.items()}
            rows = {reading: _rows(detections) for reading, detections in found.items()}
            codes = {reading: _codes(detections['masks']) for reading, detections in found.items() if self.masks}
            self.results.append((sample['img_id'], rows, codes))

    @without_collection()
    def compute_metrics(self, results: List[tuple]) -> Dict[str, float]:
        """Evaluate each reading by itself; ``results`` are those of all processes.

        Raises:
            ValueError: an image is not in the annotation file.
        """
        metrics = {}
        image_ids = sorted({image_id for image_id, *_ in results})
        matches = Matches('coco', self.evaluation.ann_file, image_ids) if self.keep_matches else None
        for reading in self.fields:
            found = [(image_id, rows[reading], codes.get(reading)) for image_id, rows, codes in results]
            metrics.update(self._evaluate(f'{reading}/', found, matches))
        self.matches = matches.arrays() if matches else None
        logger = MMLogger.get_current_instance()
        logger.info('  '.join(f'{name} {100 * value:.2f}' for name, value in metrics.items()))
        return metrics

    def _evaluate(self, prefix: str, found: List[tuple], matches: Optional[Matches]) -> Dict[str, float]:
        """One reading's metrics; ``found`` are image id, rows and codes of each image."""
        image_ids = [image_id for image_id, *_ in found]
        category_ids = self.evaluation.category_ids((self.dataset_meta or {}).get('classes'))
        table = np.concatenate([rows for _, rows, _ in found])
        columns = (
            np.repeat(image_ids, [len(rows) for _, rows, _ in found]).tolist(),
            np.array(category_ids)[table[:, 5].astype(int)].tolist(),
            table[:, 4].tolist(),
        )
        kinds = {'': ('bbox', Detections(*columns, (table[:, 2] * table[:, 3]).tolist(), table[:, :4].tolist()))}
        if self.masks:
            codes = [code for *_, of_image in found for code in of_image]
            kinds['mask_'] = ('segm', Detections(*columns, np.asarray(area(codes)).tolist(), codes))
        metrics = {}
        for name, (kind, detections) in kinds.items():
            if matches is None:
                values = self.evaluation.metrics(kind, detections, image_ids, category_ids)
            else:
                asked = kind, detections, image_ids, category_ids
                values, outcomes = self.evaluation.metrics_and_outcomes(*asked)
                matches.add(f'{prefix}{name}', outcomes)
            metrics.update({f'{prefix}{name}{key}': value for key, value in values.items()})
        return metrics


def _rows(instances: dict) -> np.ndarray:
    """(n, 6) float64 rows x, y, width, height, score, label of one reading of one image."""
    x1, y1, x2, y2 = instances['bboxes'].cpu().double().numpy().T
    scores, labels = instances['scores'].cpu().double().numpy(), instances['labels'].cpu().numpy()
    rows = np.column_stack((x1, y1, x2 - x1, y2 - y1, scores, labels))
    rows[np.isnan(rows[:, :4]).any(axis=1), :4] = 0  # pycocotools would match them with whatever there is
    return rows


def _codes(masks: Tensor) -> List[dict]:
    """The run-length codes of (n, h, w) bool masks, as plain as JSON has them."""
    codes = rle.encode(np.asfortranarray(masks.cpu().numpy().astype(np.uint8).transpose(1, 2, 0)))
    return [dict(size=code['size'], counts=code['counts'].decode()) for code in codes]
