"""COCO's evaluation of detections, by faster-coco-eval or by pycocotools. Both give the same values."""

import contextlib
import io
import logging
from functools import partial
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np
import pycocotools.coco
import pycocotools.cocoeval
from faster_coco_eval.core.coco import COCO as FasterCOCO
from faster_coco_eval.core.faster_eval_api import COCOeval_faster

from o2f.errors import InputError
from o2f.evaluation.leave_out import Outcomes
from o2f.io.coco_file import CocoFile, read_coco
from o2f.io.coco_masks import require_masks, useful

#: COCO's number of detections that count, of each class in each image.
MAX_DETS = 100
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

    def require_masks(self, category_ids: Sequence[Any]) -> None:
        """Check that masks can be evaluated. Useless parts of polygons are taken out.

        Args:
            category_ids (sequence): the categories that are evaluated.

        Raises:
            InputError: an object of theirs has no mask that can be used, or an image no size.
        """
        entries = [entry for entry in self.file.annotations if entry['category_id'] in category_ids]
        require_masks(self.file, entries, training=False)
        numbers = {self.categories[id_] for id_ in category_ids}
        for entry in self.truth.dataset['annotations']:
            if entry['category_id'] in numbers and isinstance(entry['segmentation'], list):
                entry['segmentation'] = useful(entry['segmentation'])
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
    right, thresholds = matched & ~left_out, np.asarray(params.iouThrs)
    return Outcomes(categories, images, np.array(scores, float), right, left_out, objects, thresholds)


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
