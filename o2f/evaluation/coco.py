"""COCO's metrics without and with NMS, of boxes (sections 4.1 to 4.3) and of masks (4.5).

They are computed by faster-coco-eval or by pycocotools. Both give the same values.
"""

import contextlib
import io
import json
import logging
from functools import partial
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

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
from rich.console import Console
from rich.table import Table
from torch import Tensor

from o2f.errors import InputError
from o2f.evaluation.duplicates import ImageBoxes, duplicate_metrics
from o2f.evaluation.garbage import without_collection
from o2f.evaluation.leave_out import LeftOut, Outcomes, coco
from o2f.io.coco_file import CocoFile, read_coco
from o2f.models.postprocess import FIELDS, WITHOUT_NMS

#: MMDetection's names of metrics and ours.
MMDETECTION_NAMES = {
    'mAP': 'AP',
    'mAP_50': 'AP50',
    'mAP_75': 'AP75',
    'mAP_s': 'APs',
    'mAP_m': 'APm',
    'mAP_l': 'APl',
}
#: COCO's number of detections that count, of each class in each image.
MAX_DETS = 100


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

    Attributes:
        leave_out (bool): whether the next evaluation also leaves out groups of images.
        left_out (LeftOut | None): AP, AP50, AP75 and AR of the last evaluation with each group left out. None if it
            left out none, and on all processes but the first.
        class_ap (dict): AP of each class in the last evaluation, as fractions: without_nms, with_nms -> name -> AP.

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
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        kinds = [metric] if isinstance(metric, str) else list(metric)
        if not set(kinds) <= {'bbox', 'segm'}:
            raise InputError(f"metric: {kinds} must be 'bbox' or 'segm', or a list of them")
        if format_only and outfile_prefix is None:
            raise InputError('metric: format_only needs outfile_prefix, the beginning of the paths to write')
        self.masks = masks or 'segm' in kinds
        self.classwise, self.format_only, self.outfile_prefix = classwise, format_only, outfile_prefix
        recalls = sorted(proposal_nums or ())
        file = read_coco(ann_file, backend_args=backend_args, need_annotations=not format_only)
        self.evaluation = CocoEvaluation(
            ann_file, backend, iou_thrs, max_dets or max(recalls, default=MAX_DETS), recalls, file
        )
        if self.masks and not format_only:
            self.evaluation.require_masks()
        self.metric_items = self._items(metric_items)
        self.objects = _objects(self.evaluation.truth.dataset['annotations'])
        self.leave_out = False
        self.left_out: Optional[LeftOut] = None
        self.class_ap: Dict[str, Dict[str, float]] = {}

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
            InputError: when it is set, and the file lacks a class or has it twice.
        """
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, meta: Optional[dict]) -> None:
        self._dataset_meta = meta
        self.evaluation.category_ids((meta or {}).get('classes'))

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
            dict[str, float]: the metrics by name. It is empty with ``format_only``.

        Raises:
            ValueError: an image is not in the annotation file.
            InputError: the detections cannot be written.
        """
        metrics = {}
        logger = MMLogger.get_current_instance()
        image_ids = self.evaluation.in_order({image_id for image_id, *_ in results})
        found = {
            reading: [(image_id, rows[reading], codes.get(reading)) for image_id, rows, codes in results]
            for reading in self.fields
        }
        if self.outfile_prefix is not None:
            for reading in self.fields:
                self._write(reading, found[reading])
            logger.info(f'detections are written to {self.outfile_prefix}*.json')
        if self.format_only:
            return {}
        self.left_out = LeftOut(self.evaluation.ann_file, image_ids) if self.leave_out else None
        self.class_ap = {}
        for reading in self.fields:
            values, self.class_ap[reading] = self._evaluate(f'{reading}/', found[reading])
            metrics.update(values)
        logger.info('  '.join(f'{name} {100 * value:.2f}' for name, value in metrics.items()))
        self._warn_of_cuts(found[WITHOUT_NMS], logger)
        if self.classwise:
            logger.info('\n' + class_table(self.class_ap))
            for reading, values in self.class_ap.items():
                metrics.update({f'{reading}/{name}{OF_CLASS}': value for name, value in values.items()})
        return metrics

    def _evaluate(self, prefix: str, found: List[tuple]) -> Tuple[dict, dict]:
        """The metrics of one set of detections, and the AP of each class.

        ``found`` has the image id, the rows and the codes of each image."""
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
        metrics, by_class = {}, {}
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
                by_class = dict(zip(self._class_names(), self.evaluation.class_precision(category_ids)))
        numbers = np.array([self.evaluation.categories[id_] for id_ in category_ids], int)
        boxes = [ImageBoxes(rows[:, :4], numbers[rows[:, 5].astype(int)], rows[:, 4]) for _, rows, _ in found]
        there = [self.objects.get(self.evaluation.images[image_id], _NO_OBJECTS) for image_id in image_ids]
        competing = duplicate_metrics(boxes, there)
        metrics.update({f'{prefix}{key}': value for key, value in competing.items() if key in self.metric_items})
        return metrics, by_class

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


#: The end of the name of a class's AP, as in MMDetection.
OF_CLASS = '_precision'
#: Metrics of the boxes alone (``o2f.evaluation.duplicates``).
COMPETING = ('duplicates', 'score_margin')


def class_table(by_class: Dict[str, Dict[str, float]]) -> str:
    """The AP of each class in percent, a column for each way of postprocessing. '–' stands for an undefined value.

    Args:
        by_class (dict): without_nms, with_nms -> name of the class -> AP as a fraction.
    """
    table = Table('class', *(f'AP {reading.replace("_nms", " NMS")}' for reading in by_class))
    for name in next(iter(by_class.values())):
        values = [of_reading[name] for of_reading in by_class.values()]
        table.add_row(name, *(f'{100 * value:.2f}' if value == value else '–' for value in values))
    text = io.StringIO()
    Console(file=text, width=120, markup=False, emoji=False).print(table)
    return text.getvalue().rstrip('\n')


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
#: Name -> IoU threshold (None: the mean over all), and size of the objects (0: any, then small, medium, large).
STATS: Dict[str, Tuple[Optional[float], int]] = {
    'AP': (None, 0),
    'AP50': (0.5, 0),
    'AP75': (0.75, 0),
    'APs': (None, 1),
    'APm': (None, 2),
    'APl': (None, 3),
    'AR': (None, 0),
}


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

    Inside, images, categories and objects are numbered from 1 in the order of their ids, texts after numbers. So ids
    may be anything. (The evaluators take an object with id 0 for none.)

    Args:
        ann_file (str): annotations in COCO's format.
        backend (str): 'faster_coco_eval' or 'pycocotools'.
        iou_thrs (float | sequence[float], optional): IoU thresholds, by default COCO's ten.
        max_dets (int): how many detections count of each class in each image.
        recalls (sequence[int]): smaller numbers, at which recall is given besides.
        file (CocoFile, optional): the content of ``ann_file`` if it is read already.

    Attributes:
        images (dict): id of an image -> its number.
        categories (dict): id of a category -> its number.

    Raises:
        ValueError: the backend is unknown.
        InputError: the file cannot be used, or the thresholds or numbers are none.
    """

    def __init__(
        self,
        ann_file: str,
        backend: str = 'faster_coco_eval',
        iou_thrs: Union[float, Sequence[float], None] = None,
        max_dets: int = MAX_DETS,
        recalls: Sequence[int] = (),
        file: Optional[CocoFile] = None,
    ) -> None:
        if backend not in BACKENDS:
            raise ValueError(f"metric: backend must be 'faster_coco_eval' or 'pycocotools', not {backend!r}")
        self.ann_file = ann_file
        self.iou_thrs = None if iou_thrs is None else np.unique(np.asarray(iou_thrs, float))
        if self.iou_thrs is not None and not (
            self.iou_thrs.size and ((0 < self.iou_thrs) & (self.iou_thrs <= 1)).all()
        ):
            raise InputError(f'metric: iou_thrs {iou_thrs} must be numbers above 0, at most 1')
        self.max_dets, self.recalls = max_dets, list(recalls)
        if not all(isinstance(number, int) and 0 < number <= max_dets for number in (max_dets, *recalls)):
            raise InputError(
                f'metric: max_dets {max_dets} and proposal_nums {self.recalls} must be whole numbers above 0, and '
                'max_dets the largest'
            )
        self._coco, self._evaluate = BACKENDS[backend]
        self.file = (file or read_coco(ann_file)).require()
        self.images = _numbers(entry['id'] for entry in self.file.images)
        self.categories = _numbers(entry['id'] for entry in self.file.categories)
        self.truth = self._indexed(
            [
                dict(entry, image_id=self.images[entry['image_id']], category_id=self.categories[entry['category_id']])
                for entry in _without_ignored(self.file.annotations)
            ]
        )

    def category_ids(self, classes: Optional[Sequence[str]]) -> List[Any]:
        """The category ids of classes, in the same order.

        Args:
            classes (sequence[str], optional): names of the classes. With None, all categories of the file are taken.

        Raises:
            InputError: the file does not have each class once.
        """
        return self.file.category_ids(classes)

    def in_order(self, image_ids: Iterable[Any]) -> List[Any]:
        """Image ids in the order of their numbers.

        Raises:
            ValueError: an image is not in the annotation file.
        """
        wanted = list(image_ids)
        unknown = [image_id for image_id in wanted if image_id not in self.images]
        if unknown:
            raise ValueError(f'{self.ann_file} has no image {unknown[0]!r}')
        return sorted(wanted, key=self.images.__getitem__)

    def require_masks(self) -> None:
        """Check that masks can be evaluated.

        Raises:
            InputError: an object has no segmentation, or an image no size.
        """
        for entry in self.file.annotations:
            if not entry.get('segmentation'):
                raise InputError(
                    f'{self.ann_file}: an object of image {entry["image_id"]!r} has no segmentation, bbox '
                    f'{entry["bbox"]}: add it, or evaluate boxes alone'
                )
        for entry in self.file.images:
            if 'width' not in entry or 'height' not in entry:
                raise InputError(f'{self.ann_file}: image {entry["id"]!r} has no width and height, which masks need')

    def class_precision(self, category_ids: Sequence[Any]) -> List[float]:
        """AP of each category in the last evaluation. NaN where there is no object of it."""
        evaluation = self._last
        place = {number: index for index, number in enumerate(evaluation.params.catIds)}
        return [_mean(evaluation.eval['precision'][:, :, place[self.categories[id_]], 0, -1]) for id_ in category_ids]

    def _stats(self, evaluation: pycocotools.cocoeval.COCOeval) -> Dict[str, float]:
        """COCO's summaries. ``AR@n`` is recall with the n best detections."""
        precision, recall = evaluation.eval['precision'], evaluation.eval['recall']
        thresholds, numbers = np.asarray(evaluation.params.iouThrs), evaluation.params.maxDets
        stats = {}
        for name, (threshold, size) in STATS.items():
            rows = slice(None) if threshold is None else np.flatnonzero(np.isclose(thresholds, threshold))
            stats[name] = _mean(recall[:, :, 0, -1] if name == 'AR' else precision[rows, :, :, size, -1])
        at_numbers = {f'AR@{number}': _mean(recall[:, :, 0, numbers.index(number)]) for number in self.recalls}
        return {**stats, **at_numbers}

    def _indexed(self, annotations: List[dict]) -> Union[FasterCOCO, pycocotools.coco.COCO]:
        images = [dict(entry, id=self.images[entry['id']]) for entry in self.file.images]
        categories = [dict(entry, id=self.categories[entry['id']]) for entry in self.file.categories]
        content = self._coco()
        content.dataset = dict(images=images, categories=categories, annotations=annotations)
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
            content.createIndex()
        return content

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
        return self._stats(self._evaluated(kind, found, image_ids, category_ids))

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
        return self._stats(evaluation), _outcomes(evaluation)

    def _evaluated(
        self,
        kind: str,
        found: DetectionLists,
        image_ids: Sequence[int],
        category_ids: Sequence[int],
        **settings: bool,
    ) -> pycocotools.cocoeval.COCOeval:
        self.in_order(image_ids)
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation = self._evaluate(self.truth, self._results(kind, found), kind, **settings)
            params = evaluation.params
            params.imgIds = [self.images[image_id] for image_id in image_ids]
            params.catIds = [self.categories[category_id] for category_id in category_ids]
            params.maxDets = sorted({*self.recalls, self.max_dets})
            if self.iou_thrs is not None:
                params.iouThrs = self.iou_thrs
            evaluation.evaluate()
            evaluation.accumulate()
        self._last = evaluation
        return evaluation

    def _results(self, kind: str, found: DetectionLists) -> Union[FasterCOCO, pycocotools.coco.COCO]:
        """The detections as ``COCO.loadRes`` would load them.

        ``loadRes`` itself fails without detections. It also draws each box as a polygon, which takes longer than the
        evaluation."""
        shape_of = {'bbox': 'bbox', 'segm': 'segmentation'}[kind]
        annotations = [
            {
                'id': number,
                'image_id': self.images[image_id],
                'category_id': self.categories[category_id],
                'score': score,
                'area': area,
                'iscrowd': 0,
                shape_of: shape,
            }
            for number, (image_id, category_id, score, area, shape) in enumerate(zip(*found), 1)
        ]
        return self._indexed(annotations)


def _numbers(ids: Iterable[Any]) -> Dict[Any, int]:
    """Numbers from 1 in the order of the ids: numbers first, then texts."""
    ordered = sorted(ids, key=lambda id_: (isinstance(id_, str), id_))
    return {id_: number for number, id_ in enumerate(ordered, 1)}


def _without_ignored(annotations: Sequence[dict]) -> Iterator[dict]:
    """Objects marked ``ignore`` as crowds. The loader leaves them out: finding them is neither right nor wrong."""
    for entry in annotations:
        yield dict(entry, iscrowd=1) if entry.get('ignore') else entry


def _mean(values: np.ndarray) -> float:
    """The mean of what is defined. The evaluators write -1 for what is not."""
    defined = values[values > -1]
    return float(np.mean(defined)) if len(defined) else np.nan


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
