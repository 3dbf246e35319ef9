"""The metric of a training: COCO's metrics without and with NMS, of boxes (sections 4.1 to 4.3) and of masks (4.5)."""

import io
import json
import logging
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Union

import numpy as np
from faster_coco_eval.core.mask import area
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from pycocotools import mask as rle
from rich.console import Console
from rich.table import Table
from torch import Tensor

from o2f.errors import InputError
from o2f.evaluation.coco import MAX_DETS, STATS, CocoEvaluation, DetectionLists
from o2f.evaluation.duplicates import ImageBoxes, duplicate_metrics
from o2f.evaluation.errors import error_metrics
from o2f.evaluation.garbage import without_collection
from o2f.evaluation.leave_out import LeftOut, coco
from o2f.io.coco_file import read_coco
from o2f.models.postprocess import FIELDS, SECOND_FIELD, SECOND_WITH_NMS, WITHOUT_NMS

#: MMDetection's names of metrics and ours.
MMDETECTION_NAMES = {
    'mAP': 'AP',
    'mAP_50': 'AP50',
    'mAP_75': 'AP75',
    'mAP_s': 'APs',
    'mAP_m': 'APm',
    'mAP_l': 'APl',
}


@METRICS.register_module()
class TwoReadingsMetric(BaseMetric):
    """AP, AP50, AP75, APs, APm, APl and AR, each without and with NMS: ``without_nms/AP``, ``with_nms/AP`` and so on.

    The metrics of masks are ``without_nms/mask_AP`` and so on (Table 9). There, the size of a detection is the area of
    its mask. The metrics ``duplicates`` and ``score_margin`` are of the boxes (``o2f.evaluation.duplicates``).

    Values are fractions from 0 to 1, only ``duplicates`` may be more. They are not rounded, because the gap between AP
    without and with NMS is often below 0.1 points. (MMDetection's ``CocoMetric`` rounds to three decimals.) A metric
    that is undefined on the data, such as APl without any large object, is NaN.

    Labels are indices into the dataset's ``classes``. Their categories are found by name, in whatever order the file
    has them. Ids of images, categories and annotations may be any numbers or texts.

    Args:
        ann_file (str): annotations in COCO's format, see [`read_coco`][o2f.io.coco_file.read_coco].
        metric (str | list[str]): 'bbox', 'segm' or both, as in MMDetection. Boxes are always evaluated.
        classwise (bool): also give the AP of each class, as a table in the log and as ``without_nms/NAME_precision``.
        errors (bool): also give what each kind of error costs, as a table in the log and as
            ``without_nms/duplicate_error`` and so on (``o2f.evaluation.errors``).
        proposal_nums (sequence[int], optional): numbers of detections per class and image, such as (100, 300, 1000).
            Recall at each of them is given as ``AR@100`` and so on. All other metrics count the largest number.
        iou_thrs (float | sequence[float], optional): IoU thresholds, by default 0.5, 0.55, ..., 0.95.
        metric_items (sequence[str], optional): the metrics to give, by the names here or MMDetection's (mAP_50). With
            None, all are given.
        format_only (bool): write the detections, and evaluate nothing. The annotation file need not have annotations.
        outfile_prefix (str, optional): where to write the detections in COCO's result format: PREFIX.bbox.json without
            NMS, PREFIX.with_nms.bbox.json with NMS, and the same with ``segm``.
        backend_args (dict, optional): mmengine's arguments for annotations that are not local.
        collect_device (str): 'cpu' or 'gpu', where the results of several processes are joined.
        prefix (str, optional): prefix of the metrics' names.
        masks (bool): also evaluate the detections' ``masks``, like the metric 'segm'.
        backend (str): 'faster_coco_eval' or 'pycocotools'. The values are the same.
        max_dets (int, optional): how many detections count of each class in each image, by default 100 as in COCO.
        second (bool): the last evaluation of a training, and ``run.py evaluate``, also give the metrics of what the
            second branch detects with NMS, as ``second_with_nms/AP`` and so on.

    Attributes:
        leave_out (bool): whether the next evaluation also leaves out groups of images, and breaks AP down.
        left_out (LeftOut | None): AP, AP50, AP75 and AR of the last evaluation with each group left out. None if it
            left out none, and on all processes but the first.
        breakdown (dict): of the last evaluation, as fractions: ``classes`` and, if it was asked for, ``errors`` ->
            without_nms, with_nms -> name of a class or an error -> its AP or what it costs.

    Raises:
        ValueError: the backend is unknown.
        InputError: the annotations cannot be read, or an argument is none of those above.
    """

    #: The names of the two results, and the fields of a data sample that hold them.
    fields = FIELDS

    def __init__(
        self,
        ann_file: str,
        metric: Union[str, Sequence[str]] = 'bbox',
        classwise: bool = False,
        proposal_nums: Optional[Sequence[int]] = None,
        iou_thrs: Union[float, Sequence[float], None] = None,
        metric_items: Optional[Sequence[str]] = None,
        format_only: bool = False,
        outfile_prefix: Optional[str] = None,
        backend_args: Optional[dict] = None,
        collect_device: str = 'cpu',
        prefix: Optional[str] = None,
        masks: bool = False,
        backend: str = 'faster_coco_eval',
        max_dets: Optional[int] = None,
        errors: bool = False,
        second: bool = False,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        kinds = [metric] if isinstance(metric, str) else list(metric)
        if not set(kinds) <= {'bbox', 'segm'}:
            raise InputError(f"metric: {kinds} must be 'bbox' or 'segm', or a list of them")
        if format_only and outfile_prefix is None:
            raise InputError('metric: format_only needs outfile_prefix, the beginning of the paths to write')
        self.masks = masks or 'segm' in kinds
        self.classwise, self.errors, self.second = classwise, errors, second
        self.format_only, self.outfile_prefix = format_only, outfile_prefix
        recalls = sorted(proposal_nums or ())
        file = read_coco(ann_file, backend_args=backend_args, need_annotations=not format_only)
        self.evaluation = CocoEvaluation(
            ann_file, backend, iou_thrs, max_dets or max(recalls, default=MAX_DETS), recalls, file
        )
        self.metric_items = self._items(metric_items)
        self._take_objects()
        self.leave_out = False
        self.left_out: Optional[LeftOut] = None
        self.breakdown: Dict[str, Dict[str, Dict[str, float]]] = {}

    def _items(self, asked: Optional[Sequence[str]]) -> List[str]:
        """The names of the metrics to give."""
        known = [*STATS, *(f'AR@{number}' for number in self.evaluation.recalls), *COMPETING]
        if asked is None:
            return known
        names = [MMDETECTION_NAMES.get(name, name) for name in ([asked] if isinstance(asked, str) else asked)]
        for name in names:
            if name not in known:
                raise InputError(f'metric: metric_items has {name!r}, and there are {", ".join(known)}')
        return names

    @property
    def dataset_meta(self) -> Optional[dict]:
        """The dataset's ``classes`` and ``palette``. The annotation file must have each class.

        Raises:
            InputError: when it is set, and the file lacks a class or has it twice, or masks are evaluated and an object
                of a class has none.
        """
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, meta: Optional[dict]) -> None:
        self._dataset_meta = meta
        self._take_objects()
        if self.masks and not self.format_only and (meta or {}).get('classes'):
            self.evaluation.require_masks(self._category_ids())

    def _take_objects(self) -> None:
        """Keep the objects and crowds of the classes. The file may have more."""
        numbers = {self.evaluation.categories[id_] for id_ in self._category_ids()}
        entries = [entry for entry in self.evaluation.truth.dataset['annotations'] if entry['category_id'] in numbers]
        self.objects, self.crowds = (_objects(entries, crowd) for crowd in (False, True))

    def names(self) -> List[str]:
        """The names of all metrics of an evaluation, classes left out."""
        kinds = ('', 'mask_') if self.masks else ('',)
        names = [f'{kind}{name}' for kind in kinds for name in self.metric_items if not kind or name not in COMPETING]
        before = f'{self.prefix}/' if self.prefix else ''
        return [f'{before}{reading}/{name}' for reading in self.fields for name in names]

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Collect the detections of each image without and with NMS.

        They are kept as (n, 6) rows x, y, width, height, score, label, and n encoded masks.

        Args:
            data_batch (dict): unused; part of mmengine's interface.
            data_samples (sequence[dict]): samples with ``pred_instances``, ``pred_instances_nms`` and ``img_id``.
        """
        for sample in data_samples:
            fields = {**self.fields, SECOND_WITH_NMS: SECOND_FIELD} if SECOND_FIELD in sample else self.fields
            found = {reading: sample[field] for reading, field in fields.items()}
            rows = {reading: _rows(detections) for reading, detections in found.items()}
            codes = {reading: _codes(detections['masks']) for reading, detections in found.items() if self.masks}
            self.results.append((sample['img_id'], rows, codes))

    @without_collection()
    def compute_metrics(self, results: List[tuple]) -> Dict[str, float]:
        """Compute the metrics without and with NMS.

        Args:
            results (list[tuple]): what ``process`` collected in all processes.

        Returns:
            dict[str, float]: the metrics by name. It is empty with ``format_only``.

        Raises:
            ValueError: an image is not in the annotation file.
            InputError: the detections cannot be written.
        """
        metrics = {}
        logger = MMLogger.get_current_instance()
        readings = list(results[0][1]) if results else list(self.fields)
        image_ids = self.evaluation.in_order({image_id for image_id, *_ in results})
        found = {
            reading: [(image_id, rows[reading], codes.get(reading)) for image_id, rows, codes in results]
            for reading in readings
        }
        if self.outfile_prefix is not None:
            for reading in readings:
                self._write(reading, found[reading])
            logger.info(f'detections are written to {self.outfile_prefix}*.json')
        if self.format_only:
            return {}
        if self.masks and not (self.dataset_meta or {}).get('classes'):
            self.evaluation.require_masks(self._category_ids())
        self.left_out = LeftOut(self.evaluation.ann_file, image_ids) if self.leave_out else None
        self.breakdown = dict(classes={}, errors={})
        for reading in readings:
            metrics.update(self._evaluate(reading, found[reading]))
        logger.info('  '.join(f'{name} {100 * value:.2f}' for name, value in metrics.items()))
        self._warn_of_cuts(found[WITHOUT_NMS], logger)
        for asked, part, ending in ((self.classwise, 'classes', OF_CLASS), (self.errors, 'errors', OF_ERROR)):
            if asked:
                logger.info('\n' + breakdown_table(part, self.breakdown[part]))
                for reading, values in self.breakdown[part].items():
                    metrics.update({f'{reading}/{name}{ending}': value for name, value in values.items()})
        return metrics

    def _evaluate(self, reading: str, found: List[tuple]) -> Dict[str, float]:
        """The metrics of one set of detections. They are also broken down.

        ``found`` has the image id, the rows and the codes of each image."""
        prefix = f'{reading}/'
        image_ids = [image_id for image_id, *_ in found]
        category_ids = self._category_ids()
        table = np.concatenate([rows for _, rows, _ in found])
        columns = (
            [image_id for image_id, rows, _ in found for _ in rows],
            [category_ids[label] for label in table[:, 5].astype(int)],
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
            metrics.update({f'{prefix}{name}{key}': values[key] for key in values if key in self.metric_items})
            if not name:
                precision = self.evaluation.class_precision(category_ids)
                self.breakdown['classes'][reading] = dict(zip(self._class_names(), precision))
        numbers = np.array([self.evaluation.categories[id_] for id_ in category_ids], int)
        boxes = [ImageBoxes(rows[:, :4], numbers[rows[:, 5].astype(int)], rows[:, 4]) for _, rows, _ in found]
        objects, crowds = (
            [each.get(self.evaluation.images[image_id], _NO_OBJECTS) for image_id in image_ids]
            for each in (self.objects, self.crowds)
        )
        competing = duplicate_metrics(boxes, objects)
        metrics.update({f'{prefix}{key}': value for key, value in competing.items() if key in self.metric_items})
        if self.errors or self.leave_out:
            self.breakdown['errors'][reading] = error_metrics(boxes, objects, crowds)
        return metrics

    def _category_ids(self) -> List[Any]:
        return self.evaluation.category_ids((self.dataset_meta or {}).get('classes'))

    def _class_names(self) -> List[str]:
        classes = (self.dataset_meta or {}).get('classes')
        return list(classes or (entry['name'] for entry in self.evaluation.file.categories))

    def _write(self, reading: str, found: List[tuple]) -> None:
        """Write one set of detections in COCO's result format. The ids are those of the annotation file."""
        category_ids = self._category_ids()
        between = '' if reading == WITHOUT_NMS else f'.{reading}'
        boxes: List[dict] = []
        masks: List[dict] = []
        for image_id, rows, codes in found:
            for place, (*box, score, label) in enumerate(rows.tolist()):
                result = dict(image_id=image_id, category_id=category_ids[int(label)], bbox=box, score=score)
                boxes.append(result)
                if codes is not None:
                    masks.append(dict(result, segmentation=codes[place]))
        for kind, results in dict(bbox=boxes, **(dict(segm=masks) if self.masks else {})).items():
            path = Path(f'{self.outfile_prefix}{between}.{kind}.json')
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(results), encoding='utf-8')
            except OSError as error:
                raise InputError(f'{path} cannot be written: {error.strerror}: change outfile_prefix') from error

    def _warn_of_cuts(self, found: List[tuple], logger: logging.Logger) -> None:
        """Say if an image has more detections of a class than count."""
        most = self.evaluation.max_dets
        crowded = [rows for _, rows, _ in found if len(rows) > most]
        cut = [number for rows in crowded if (number := np.bincount(rows[:, 5].astype(int)).max()) > most]
        if cut:
            logger.warning(
                f'on {len(cut)} image(s) there are up to {max(cut)} detections of one class, and only the best {most} '
                f'of each class count: set max_dets={max(cut)} in the evaluator to count all'
            )


#: The ends of the names of a class's AP, as in MMDetection, and of what an error costs.
OF_CLASS, OF_ERROR = '_precision', '_error'
#: Metrics of the boxes alone (``o2f.evaluation.duplicates``).
COMPETING = ('duplicates', 'score_margin')


def breakdown_table(part: str, values: Dict[str, Dict[str, float]]) -> str:
    """A part of a breakdown in percent, a column for each way of postprocessing. '–' stands for an undefined value.

    Args:
        part (str): 'classes' or 'errors'.
        values (dict): without_nms, with_nms -> name of a class or an error -> a fraction.
    """
    first, column = {'classes': ('class', 'AP'), 'errors': ('error', 'AP50 it costs,')}[part]
    table = Table(first, *(f'{column} {reading.replace("_nms", " NMS")}' for reading in values))
    for name in next(iter(values.values())):
        of_name = [of_reading[name] for of_reading in values.values()]
        table.add_row(name, *(f'{100 * value:.2f}' if value == value else '–' for value in of_name))
    text = io.StringIO()
    Console(file=text, width=120, markup=False, emoji=False).print(table)
    return text.getvalue().rstrip('\n')


_NO_OBJECTS = ImageBoxes(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0))


def _objects(annotations: Sequence[dict], crowd: bool) -> Dict[int, ImageBoxes]:
    """The objects, or the regions of a crowd, of each image that has any."""
    rows: Dict[int, List[list]] = {}
    for entry in annotations:
        if bool(entry.get('iscrowd')) == crowd:
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
