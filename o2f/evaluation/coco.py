"""COCO's metrics without and with NMS, of boxes (sections 4.1 to 4.3) and of masks (4.5).

They are computed by faster-coco-eval or by pycocotools. Both give the same values.
"""

import contextlib
import io
import logging
from functools import partial
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np
import pycocotools.coco
import pycocotools.cocoeval
from faster_coco_eval.core.coco import COCO as FasterCOCO
from faster_coco_eval.core.faster_eval_api import COCOeval_faster
from faster_coco_eval.core.mask import area
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from pycocotools import mask as rle
from torch import Tensor

from o2f.evaluation.duplicates import ImageBoxes, duplicate_metrics
from o2f.evaluation.garbage import without_collection
from o2f.evaluation.leave_out import LeftOut, Outcomes, coco
from o2f.models.postprocess import FIELDS


@METRICS.register_module()
class TwoReadingsMetric(BaseMetric):
    """AP, AP50, AP75, APs, APm, APl and AR, each without and with NMS: ``without_nms/AP``, ``with_nms/AP`` and so on.

    The metrics of masks are ``without_nms/mask_AP`` and so on (Table 9). There, the size of a detection is the area of
    its mask. The metrics ``duplicates`` and ``score_margin`` are of the boxes (``o2f.evaluation.duplicates``).

    Values are fractions from 0 to 1, only ``duplicates`` may be more. They are not rounded, because the gap between AP
    without and with NMS is often below 0.1 points. (MMDetection's ``CocoMetric`` rounds to three decimals.) A metric
    that is undefined on the data, such as APl without any large object, is NaN.

    Args:
        ann_file (str): annotations in COCO's format.
        collect_device (str): 'cpu' or 'gpu', where the results of several processes are joined.
        prefix (str, optional): prefix of the metrics' names.
        masks (bool): also evaluate the detections' ``masks``.
        backend (str): 'faster_coco_eval' or 'pycocotools'. The values are the same.

    Attributes:
        leave_out (bool): whether the next evaluation also leaves out groups of images.
        left_out (LeftOut | None): AP, AP50, AP75 and AR of the last evaluation with each group left out. None if it
            left out none, and on all processes but the first.

    Raises:
        ValueError: the backend is unknown.
    """

    #: The names of the two results, and the fields of a data sample that hold them.
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
        self.objects = _objects(self.evaluation.truth.dataset['annotations'])
        self.leave_out = False
        self.left_out: Optional[LeftOut] = None

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Collect the detections of each image without and with NMS.

        They are kept as (n, 6) rows x, y, width, height, score, label, and n encoded masks.

        Args:
            data_batch (dict): unused; part of mmengine's interface.
            data_samples (sequence[dict]): samples with ``pred_instances``, ``pred_instances_nms`` and ``img_id``.
        """
        for sample in data_samples:
            found = {reading: sample[field] for reading, field in self.fields.items()}
            rows = {reading: _rows(detections) for reading, detections in found.items()}
            codes = {reading: _codes(detections['masks']) for reading, detections in found.items() if self.masks}
            self.results.append((sample['img_id'], rows, codes))

    @without_collection()
    def compute_metrics(self, results: List[tuple]) -> Dict[str, float]:
        """Compute the metrics without and with NMS.

        Args:
            results (list[tuple]): what ``process`` collected in all processes.

        Returns:
            dict[str, float]: the metrics by name.

        Raises:
            ValueError: an image is not in the annotation file.
        """
        metrics = {}
        image_ids = sorted({image_id for image_id, *_ in results})
        self.left_out = LeftOut(self.evaluation.ann_file, image_ids) if self.leave_out else None
        for reading in self.fields:
            found = [(image_id, rows[reading], codes.get(reading)) for image_id, rows, codes in results]
            metrics.update(self._evaluate(f'{reading}/', found))
        logger = MMLogger.get_current_instance()
        logger.info('  '.join(f'{name} {100 * value:.2f}' for name, value in metrics.items()))
        return metrics

    def _evaluate(self, prefix: str, found: List[tuple]) -> Dict[str, float]:
        """The metrics of one set of detections. ``found`` has the image id, the rows and the codes of each image."""
        image_ids = [image_id for image_id, *_ in found]
        category_ids = self.evaluation.category_ids((self.dataset_meta or {}).get('classes'))
        table = np.concatenate([rows for _, rows, _ in found])
        columns = (
            np.repeat(image_ids, [len(rows) for _, rows, _ in found]).tolist(),
            np.array(category_ids)[table[:, 5].astype(int)].tolist(),
            table[:, 4].tolist(),
        )
        kinds = {'': ('bbox', DetectionLists(*columns, (table[:, 2] * table[:, 3]).tolist(), table[:, :4].tolist()))}
        if self.masks:
            codes = [code for *_, of_image in found for code in of_image]
            kinds['mask_'] = ('segm', DetectionLists(*columns, np.asarray(area(codes)).tolist(), codes))
        metrics = {}
        for name, (kind, detections) in kinds.items():
            asked = kind, detections, image_ids, category_ids
            if self.left_out is None:
                values = self.evaluation.metrics(*asked)
            else:
                values, outcomes = self.evaluation.metrics_and_outcomes(*asked)
                left_out = coco(outcomes, self.left_out.groups)
                self.left_out.values |= {f'{prefix}{name}{key}': value for key, value in left_out.items()}
            metrics.update({f'{prefix}{name}{key}': value for key, value in values.items()})
        classes = np.array(category_ids)
        boxes = [ImageBoxes(rows[:, :4], classes[rows[:, 5].astype(int)], rows[:, 4]) for _, rows, _ in found]
        competing = duplicate_metrics(boxes, [self.objects.get(image_id, _NO_OBJECTS) for image_id in image_ids])
        return {**metrics, **{f'{prefix}{key}': value for key, value in competing.items()}}


_NO_OBJECTS = ImageBoxes(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0))


def _objects(annotations: Sequence[dict]) -> Dict[int, ImageBoxes]:
    """The objects of each image that has any; regions of a crowd are none."""
    rows: Dict[int, List[list]] = {}
    for entry in annotations:
        if not entry.get('iscrowd'):
            rows.setdefault(entry['image_id'], []).append([*entry['bbox'], entry['category_id']])
    tables = {image_id: np.array(of_image, float) for image_id, of_image in rows.items()}
    return {
        image_id: ImageBoxes(table[:, :4], table[:, 4].astype(int), np.ones(len(table)))
        for image_id, table in tables.items()
    }


def _rows(instances: dict) -> np.ndarray:
    """The detections of one image as (n, 6) float64 rows x, y, width, height, score, label."""
    x1, y1, x2, y2 = instances['bboxes'].cpu().double().numpy().T
    scores, labels = instances['scores'].cpu().double().numpy(), instances['labels'].cpu().numpy()
    rows = np.column_stack((x1, y1, x2 - x1, y2 - y1, scores, labels))
    rows[np.isnan(rows[:, :4]).any(axis=1), :4] = 0  # pycocotools would match NaN with anything
    return rows


def _codes(masks: Tensor) -> List[dict]:
    """The run-length codes of (n, h, w) bool masks, as JSON types."""
    codes = rle.encode(np.asfortranarray(masks.cpu().numpy().astype(np.uint8).transpose(1, 2, 0)))
    return [dict(size=code['size'], counts=code['counts'].decode()) for code in codes]


#: Name -> the reader of annotations and the evaluator. The faster evaluator would log its summary as INFO.
BACKENDS = {
    'faster_coco_eval': (
        FasterCOCO,
        partial(COCOeval_faster, print_function=logging.getLogger('faster_coco_eval').debug),
    ),
    'pycocotools': (pycocotools.coco.COCO, pycocotools.cocoeval.COCOeval),
}
#: Name -> index in ``COCOeval.stats`` of the summary with default settings (100 detections per image).
STATS = {'AP': 0, 'AP50': 1, 'AP75': 2, 'APs': 3, 'APm': 4, 'APl': 5, 'AR': 8}


class DetectionLists(NamedTuple):
    """Detections on several images, as columns of equal length.

    Attributes:
        image_ids (list[int]): the image of each detection.
        category_ids (list[int]): its category.
        scores (list[float]): its score.
        areas (list[float]): its area in pixels.
        shapes (list): its box (x, y, width, height), or its mask as a run-length code.
    """

    image_ids: List[int]
    category_ids: List[int]
    scores: List[float]
    areas: List[float]
    shapes: List[Union[List[float], dict]]


class CocoEvaluation:
    """COCO's evaluation of detections against an annotation file. The file is read once.

    Args:
        ann_file (str): annotations in COCO's format.
        backend (str): 'faster_coco_eval' or 'pycocotools'.

    Raises:
        ValueError: the backend is unknown.
    """

    def __init__(self, ann_file: str, backend: str = 'faster_coco_eval') -> None:
        if backend not in BACKENDS:
            raise ValueError(f"metric: backend must be 'faster_coco_eval' or 'pycocotools', not {backend!r}")
        self.ann_file = ann_file
        self._coco, self._evaluate = BACKENDS[backend]
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
            self.truth = self._coco(ann_file)

    def category_ids(self, classes: Optional[Sequence[str]]) -> List[int]:
        """The category ids of classes, in the same order.

        Args:
            classes (sequence[str], optional): names of the classes. With None, all categories of the file are taken.
        """
        if classes is None:
            return self.truth.getCatIds()
        return [self.truth.getCatIds(catNms=[name])[0] for name in classes]

    def metrics(
        self, kind: str, found: DetectionLists, image_ids: Sequence[int], category_ids: Sequence[int]
    ) -> Dict[str, float]:
        """Compute AP, AP50, AP75, APs, APm, APl and AR.

        Args:
            kind (str): 'bbox' or 'segm', the kind of the detections' shapes.
            found (Detections): the detections, which may be none.
            image_ids (sequence[int]): the images to evaluate on.
            category_ids (sequence[int]): the categories to evaluate on.

        Returns:
            dict[str, float]: the metrics by name, as fractions from 0 to 1. Metrics that are undefined on the data are
                NaN.

        Raises:
            ValueError: an image is not in the annotation file.
        """
        return _stats(self._evaluated(kind, found, image_ids, category_ids))

    def metrics_and_outcomes(
        self, kind: str, found: DetectionLists, image_ids: Sequence[int], category_ids: Sequence[int]
    ) -> Tuple[Dict[str, float], Outcomes]:
        """Compute [`CocoEvaluation.metrics`][] and the outcome of each detection. This takes longer.

        Args:
            kind (str): see [`CocoEvaluation.metrics`][].
            found (Detections): see [`CocoEvaluation.metrics`][].
            image_ids (sequence[int]): see [`CocoEvaluation.metrics`][].
            category_ids (sequence[int]): see [`CocoEvaluation.metrics`][].

        Returns:
            tuple[dict[str, float], Outcomes]: the metrics, and whether each detection is right at each IoU threshold.
                Images and categories are numbered in the order of their ids.

        Raises:
            ValueError: an image is not in the annotation file.
        """
        # The faster evaluator keeps its matches only if it is told to.
        settings = dict(separate_eval=True) if self._coco is FasterCOCO else {}
        evaluation = self._evaluated(kind, found, image_ids, category_ids, **settings)
        return _stats(evaluation), _outcomes(evaluation)

    def _evaluated(
        self,
        kind: str,
        found: DetectionLists,
        image_ids: Sequence[int],
        category_ids: Sequence[int],
        **settings: bool,
    ) -> pycocotools.cocoeval.COCOeval:
        unknown = sorted(set(image_ids) - self.truth.imgs.keys())
        if unknown:
            raise ValueError(f'{self.ann_file} has no image {unknown[0]!r}')
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation = self._evaluate(self.truth, self._results(kind, found), kind, **settings)
            evaluation.params.imgIds, evaluation.params.catIds = list(image_ids), list(category_ids)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        return evaluation

    def _results(self, kind: str, found: DetectionLists) -> Union[FasterCOCO, pycocotools.coco.COCO]:
        """The detections as ``COCO.loadRes`` would load them.

        ``loadRes`` itself fails without detections. It also draws each box as a polygon, which takes longer than the
        evaluation."""
        shape_of = {'bbox': 'bbox', 'segm': 'segmentation'}[kind]
        annotations = [
            {
                'id': number,
                'image_id': image_id,
                'category_id': category_id,
                'score': score,
                'area': area,
                'iscrowd': 0,
                shape_of: shape,
            }
            for number, (image_id, category_id, score, area, shape) in enumerate(zip(*found), 1)
        ]
        results = self._coco()
        results.dataset = dict(self.truth.dataset, annotations=annotations)
        results.createIndex()
        return results


def _stats(evaluation: pycocotools.cocoeval.COCOeval) -> Dict[str, float]:
    stats = evaluation.stats
    return {name: float(stats[i]) if stats[i] >= 0 else np.nan for name, i in STATS.items()}


def _outcomes(evaluation: pycocotools.cocoeval.COCOeval) -> Outcomes:
    """The outcome of each detection, with objects of any size."""
    params = evaluation.params
    objects = np.zeros((len(params.catIds), len(params.imgIds)), int)
    places, scores, matches, ignored = [], [], [], []
    for place, (scores_here, matches_here, ignored_here, objects_ignored) in _matched(evaluation):
        objects[place] = len(objects_ignored) - np.count_nonzero(objects_ignored)
        places += [place] * len(scores_here)
        scores += scores_here
        matches.append(np.reshape(matches_here, (len(params.iouThrs), -1)) != 0)  # id 0 means no match
        ignored.append(np.reshape(ignored_here, (len(params.iouThrs), -1)) != 0)
    categories, images = np.array(places, int).reshape(-1, 2).T
    nothing = np.zeros((len(params.iouThrs), 0), bool)
    matched, left_out = (np.concatenate([nothing, *columns], axis=1) for columns in (matches, ignored))
    return Outcomes(categories, images, np.array(scores, float), matched & ~left_out, left_out, objects)


def _matched(evaluation: pycocotools.cocoeval.COCOeval) -> Iterator[tuple]:
    """Yield the stored matches of each category and image that has objects or detections.

    Yields:
        tuple: the indices of category and image; then the detections' scores, matches and ignored flags, best first,
            and the objects' ignored flags.
    """
    params = evaluation.params
    images, sizes = len(params.imgIds), len(params.areaRng)
    faster = isinstance(evaluation, COCOeval_faster)
    stored = evaluation._evalImgs_cpp if faster else evaluation.evalImgs
    for category, image in np.ndindex(len(params.catIds), images):
        entry = stored[category * sizes * images + image]  # the first size range is any size
        if faster:  # a C++ object, which shows its content only when pickled
            matches, _, scores, objects_ignored, ignored, _ = entry.__getstate__()
        elif entry is None:
            continue
        else:
            scores, matches = entry['dtScores'], entry['dtMatches']
            objects_ignored, ignored = entry['gtIgnore'], entry['dtIgnore']
        if len(scores) or len(objects_ignored):
            yield (category, image), (scores, matches, ignored, objects_ignored)
