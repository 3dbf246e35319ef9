"""COCO's metrics of detections, by faster-coco-eval or by pycocotools, whose values it reproduces."""

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

from o2f.matches import Outcomes

#: Name -> what reads annotations and what evaluates. The faster one would log its progress and summary as INFO.
BACKENDS = {
    'faster_coco_eval': (
        FasterCOCO,
        partial(COCOeval_faster, print_function=logging.getLogger('faster_coco_eval').debug),
    ),
    'pycocotools': (pycocotools.coco.COCO, pycocotools.cocoeval.COCOeval),
}
#: The summary at its default settings (100 detections per image): name -> index in ``COCOeval.stats``.
STATS = {'AP': 0, 'AP50': 1, 'AP75': 2, 'APs': 3, 'APm': 4, 'APl': 5, 'AR': 8}


class Detections(NamedTuple):
    """Detections on several images, as columns of one length.

    Attributes:
        image_ids (list[int]): the image of each.
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
    """What detections are worth against an annotation file, which is read once.

    Args:
        ann_file (str): annotations in COCO's format.
        backend (str): 'faster_coco_eval' or 'pycocotools'.

    Raises:
        ValueError: there is no such backend.
    """

    def __init__(self, ann_file: str, backend: str = 'faster_coco_eval') -> None:
        if backend not in BACKENDS:
            raise ValueError(f"metric: backend must be 'faster_coco_eval' or 'pycocotools', not {backend!r}")
        self.ann_file = ann_file
        self._coco, self._evaluate = BACKENDS[backend]
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints what it does
            self.truth = self._coco(ann_file)

    def category_ids(self, classes: Optional[Sequence[str]]) -> List[int]:
        """The category ids of classes by their names, in the same order; without classes, those of the file."""
        if classes is None:
            return self.truth.getCatIds()
        return [self.truth.getCatIds(catNms=[name])[0] for name in classes]

    def metrics(
        self, kind: str, found: Detections, image_ids: Sequence[int], category_ids: Sequence[int]
    ) -> Dict[str, float]:
        """The metrics of :data:`STATS` as fractions from 0 to 1; what is not defined on the data is NaN.

        Args:
            kind (str): 'bbox' or 'segm', what the detections' shapes are.
            found (Detections): what was found, which may be nothing.
            image_ids (sequence[int]): images that count.
            category_ids (sequence[int]): categories that count.

        Raises:
            ValueError: an image is not in the annotation file.
        """
        return _stats(self._evaluated(kind, found, image_ids, category_ids))

    def metrics_and_outcomes(
        self, kind: str, found: Detections, image_ids: Sequence[int], category_ids: Sequence[int]
    ) -> Tuple[Dict[str, float], Outcomes]:
        """:meth:`metrics`, and what became of each detection at each overlap; images and categories are numbered in
        the order of their ids. It takes longer."""
        # The faster one keeps its matches only when it is told to.
        settings = dict(separate_eval=True) if self._coco is FasterCOCO else {}
        evaluation = self._evaluated(kind, found, image_ids, category_ids, **settings)
        return _stats(evaluation), _outcomes(evaluation)

    def _evaluated(
        self, kind: str, found: Detections, image_ids: Sequence[int], category_ids: Sequence[int], **settings: bool
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

    def _results(self, kind: str, found: Detections) -> Union[FasterCOCO, pycocotools.coco.COCO]:
        """What ``COCO.loadRes`` would make of the detections; that fails without any, and takes longer than the
        evaluation, as it draws each box as a polygon too."""
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
    """What became of the detections on objects of any size."""
    params = evaluation.params
    objects = np.zeros((len(params.catIds), len(params.imgIds)), int)
    places, scores, matches, ignored = [], [], [], []
    for place, (scores_here, matches_here, ignored_here, objects_ignored) in _matched(evaluation):
        objects[place] = len(objects_ignored) - np.count_nonzero(objects_ignored)
        places += [place] * len(scores_here)
        scores += scores_here
        matches.append(np.reshape(matches_here, (len(params.iouThrs), -1)) != 0)  # an object of id 0 is no match
        ignored.append(np.reshape(ignored_here, (len(params.iouThrs), -1)) != 0)
    categories, images = np.array(places, int).reshape(-1, 2).T
    nothing = np.zeros((len(params.iouThrs), 0), bool)
    matched, left_out = (np.concatenate([nothing, *columns], axis=1) for columns in (matches, ignored))
    return Outcomes(categories, images, np.array(scores, float), matched & ~left_out, left_out, objects)


def _matched(evaluation: pycocotools.cocoeval.COCOeval) -> Iterator[tuple]:
    """For each category and image with something on it: their indices, and the scores, matches and ignored of its
    detections, best first, and the ignored of its objects."""
    params = evaluation.params
    images, sizes = len(params.imgIds), len(params.areaRng)
    faster = isinstance(evaluation, COCOeval_faster)
    stored = evaluation._evalImgs_cpp if faster else evaluation.evalImgs
    for category, image in np.ndindex(len(params.catIds), images):
        entry = stored[category * sizes * images + image]  # the first size is any
        if faster:  # written in C++, which shows what it holds only to pickle
            matches, _, scores, objects_ignored, ignored, _ = entry.__getstate__()
        elif entry is None:
            continue
        else:
            scores, matches = entry['dtScores'], entry['dtMatches']
            objects_ignored, ignored = entry['gtIgnore'], entry['dtIgnore']
        if len(scores) or len(objects_ignored):
            yield (category, image), (scores, matches, ignored, objects_ignored)
