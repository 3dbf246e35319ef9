"""CrowdHuman's metrics without and with NMS (section 4.4, Table 8): MMDetection's rules, and recall."""

import json
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
from mmdet.evaluation.functional import bbox_overlaps
from mmdet.evaluation.metrics import CrowdHumanMetric
from mmdet.evaluation.metrics.crowdhuman_metric import PERSON_CLASSES, Image
from mmdet.registry import METRICS
from mmengine.logging import MMLogger
from scipy.integrate import trapezoid
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching

from o2f.datasets import read_text
from o2f.evaluation.duplicates import ImageBoxes, duplicate_metrics
from o2f.evaluation.garbage import without_collection
from o2f.evaluation.leave_out import LeftOut, indicators
from o2f.models.postprocess import FIELDS

NAMES = ('AP', 'mMR', 'recall', 'JI')
TRUE_POSITIVE, FALSE_POSITIVE, IGNORED = 1, 0, -1
#: False positives per image at which the Caltech benchmark reads the miss rate.
WRONG_PER_IMAGE = [0.01, 0.0178, 0.0316, 0.0562, 0.1, 0.1778, 0.3162, 0.5623, 1.0]
#: The Jaccard index is taken at the best of these score thresholds, computed as MMDetection does.
JI_THRESHOLDS = [1e-1 * step for step in range(10)]


@METRICS.register_module()
class TwoReadingsCrowdHumanMetric(CrowdHumanMetric):
    """AP, mMR, recall and JI on full boxes, each without and with NMS: ``without_nms/AP``, ``with_nms/AP`` and so on.

    AP, mMR and JI have the values of MMDetection's ``CrowdHumanMetric``, without its rounding to four decimals. They
    are computed without its loops over single values and its ten processes, fast enough for every epoch. Recall is the
    share of people that a detection of the image is matched to. A person or region marked as ignored does not count,
    and a detection on it is not wrong. Values are fractions from 0 to 1. For mMR, the log-average miss rate, lower is
    better. Without any people, values are NaN. The metrics ``duplicates`` and ``score_margin`` are
    described in ``o2f.evaluation.duplicates``; the first may be more than 1.

    Args:
        ann_file (str): annotations in CrowdHuman's .odgt format.
        collect_device (str): 'cpu' or 'gpu', where the results of several processes are joined.
        prefix (str, optional): prefix of the metrics' names.

    Attributes:
        leave_out (bool): whether the next evaluation also leaves out groups of images.
        left_out (LeftOut | None): AP, mMR, recall and JI of the last evaluation with each group left out. None if it
            left out none, and on all processes but the first.
    """

    default_prefix = None
    #: The names of the two results, and the fields of a data sample that hold them.
    fields = FIELDS

    def __init__(self, ann_file: str, collect_device: str = 'cpu', prefix: Optional[str] = None) -> None:
        super().__init__(ann_file, collect_device=collect_device, prefix=prefix)
        self.truth = _read_truth(ann_file)
        self.leave_out = False
        self.left_out: Optional[LeftOut] = None

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Collect the detections of each image without and with NMS as (n, 5) rows x1, y1, x2, y2, score.

        Args:
            data_batch (dict): unused; part of mmengine's interface.
            data_samples (sequence[dict]): samples with ``pred_instances``, ``pred_instances_nms``, ``img_id`` and
                ``ori_shape``.
        """
        for sample in data_samples:
            rows = {reading: _rows(sample[field]) for reading, field in self.fields.items()}
            self.results.append((sample['img_id'], sample['ori_shape'], rows))

    @without_collection()
    def compute_metrics(self, results: List[tuple]) -> Dict[str, float]:
        """Compute the metrics without and with NMS.

        Args:
            results (list[tuple]): what ``process`` collected in all processes, in any order.

        Returns:
            dict[str, float]: the metrics by name.

        Raises:
            ValueError: an image is not in the annotation file.
        """
        found = {image_id: (shape, rows) for image_id, shape, rows in results}
        unknown = sorted(found.keys() - self.truth.keys())
        if unknown:
            raise ValueError(f'{self.ann_file} has no image {unknown[0]!r}, on which there are detections')
        metrics = {}
        # Equal scores are ordered by the place of the image in the file. No other order matters.
        image_ids = [image_id for image_id in self.truth if image_id in found]
        self.left_out = LeftOut(self.ann_file, image_ids) if self.leave_out else None
        groups = self.left_out.groups if self.left_out else np.full(len(image_ids), -1)
        for reading in self.fields:
            images = [
                _Crowd(self.truth[image_id], found[image_id][1][reading], found[image_id][0], self.iou_thres)
                for image_id in image_ids
            ]
            left_out = dict(zip(NAMES, (*_curve_metrics(images, groups), _jaccard_index(images, groups))))
            if self.left_out:
                self.left_out.values |= {f'{reading}/{name}': values for name, values in left_out.items()}
            values = {name: values[-1] for name, values in left_out.items()}
            values |= duplicate_metrics(*zip(*(image.boxes() for image in images)))
            metrics.update({f'{reading}/{name}': float(value) for name, value in values.items()})
        logger = MMLogger.get_current_instance()
        logger.info('  '.join(f'{name} {100 * value:.2f}' for name, value in metrics.items()))
        return metrics


class _Crowd:
    """The detections of one image beside its people and its regions to ignore.

    Args:
        truth (ndarray): (g, 5) rows x1, y1, x2, y2, tag. Rows with tag -1 are ignored.
        detections (ndarray): (n, 5) rows x1, y1, x2, y2, score.
        shape (tuple): height and width of the image. Boxes are clipped to it.
        threshold (float): the smallest IoU of a match.
    """

    def __init__(self, truth: np.ndarray, detections: np.ndarray, shape: Tuple[int, int], threshold: float) -> None:
        image = Image(mode=0)  # full boxes
        image.height, image.width = shape[:2]
        image.gt_boxes, image.dt_boxes = truth.copy(), detections.copy()
        image.clip_all_boader()
        ignored = truth[:, 4] == -1
        self.people, regions = image.gt_boxes[~ignored], image.gt_boxes[ignored]
        self.detections, self.scores = image.dt_boxes, detections[:, 4]
        self.threshold = threshold
        self.ious = bbox_overlaps(image.dt_boxes, self.people)  # (n, people)
        self.detection, self.person = np.nonzero(self.ious >= threshold)  # pairs that overlap enough
        self.partners = np.bincount(self.detection, minlength=len(detections))
        self.in_region = (bbox_overlaps(image.dt_boxes, regions, mode='iof') > threshold).any(axis=1)
        self.people_in_region = (bbox_overlaps(self.people, regions, mode='iof') > threshold).any(axis=1)

    def boxes(self) -> Tuple[ImageBoxes, ImageBoxes]:
        """Detections and people as x, y, width, height."""
        found, people = (
            np.concatenate((boxes[:, :2], boxes[:, 2:4] - boxes[:, :2]), axis=1)
            for boxes in (self.detections, self.people)
        )
        return (
            ImageBoxes(found, np.zeros(len(found), int), self.scores),
            ImageBoxes(people, np.zeros(len(people), int), np.ones(len(people))),
        )

    def match(self) -> np.ndarray:
        """Match as the Caltech benchmark does.

        Detections are taken from the best score down. Each is matched to the person that it overlaps most, among those
        that are left. A detection without a match is ignored if it lies in a region to ignore.

        Returns:
            ndarray: (n,) int, one of the three outcomes for each detection.
        """
        ious = np.where(self.ious > self.threshold, self.ious, 0)
        outcome = np.where(self.in_region, IGNORED, FALSE_POSITIVE)
        order = np.argsort(-self.scores, kind='stable')
        overlaps = np.asarray(ious.any(axis=1))
        for detection in order[overlaps[order]]:
            person = ious[detection].argmax()
            if ious[detection, person]:
                outcome[detection] = TRUE_POSITIVE
                ious[:, person] = 0
        return outcome

    def jaccard(self, score: float) -> Dict[str, float]:
        """Compare the detections above a score with the people.

        Returns:
            dict: ``k``, the pairs of the largest matching; ``m`` and ``n``, the numbers of people and detections,
                without those that have no partner and lie in a region to ignore; and ``ratio``, the Jaccard index.
        """
        kept = self.scores > score
        partner = np.full(kept.sum(), -1)
        if kept.any() and len(self.people):
            # MMDetection's order: it decides which detections stay without a partner.
            partner = maximum_bipartite_matching(self._pairs(kept), perm_type='column')
        alone = np.ones(len(self.people), bool)
        alone[partner[partner >= 0]] = False
        k = (partner >= 0).sum()
        m = len(self.people) - (alone & self.people_in_region).sum()
        n = len(partner) - ((partner < 0) & self.in_region[kept]).sum()
        return dict(k=k, m=m, n=n, ratio=k / (m + n - k + 1e-6))

    def _pairs(self, kept: np.ndarray) -> csr_matrix:
        """The pairs of kept detections and people that overlap enough."""
        # Built from its arrays, which is fast: there are ten of these matrices per image.
        starts = np.concatenate(([0], self.partners[kept].cumsum()))
        people = self.person[kept[self.detection]]
        return csr_matrix((np.ones(len(people), bool), people, starts), shape=(len(starts) - 1, len(self.people)))


def _curve_metrics(images: Sequence[_Crowd], groups: np.ndarray) -> np.ndarray:
    """(3, G + 1) AP, mMR and recall without each group of images; the last column leaves out nothing."""
    outcome = np.concatenate([image.match() for image in images])
    scores = np.concatenate([image.scores for image in images])
    order = np.argsort(-scores, kind='stable')
    order = order[outcome[order] != IGNORED]
    right = outcome[order] == TRUE_POSITIVE
    in_group = np.repeat(groups, [len(image.scores) for image in images])[order]
    kept = 1 - indicators(groups)
    people = np.array([len(image.people) for image in images]) @ kept
    without = [right[in_group != group] for group in range(len(people))]
    return np.array([_curve(*each) for each in zip(without, people, kept.sum(axis=0))]).T


def _curve(right: np.ndarray, people: int, images: int) -> Tuple[float, float, float]:
    """AP, mMR and recall. ``right`` (n,) says which detections are right, best first."""
    if not people:
        return np.nan, np.nan, np.nan
    if not len(right):
        return 0.0, 1.0, 0.0
    found = np.cumsum(right)
    wrong = np.arange(1, len(found) + 1) - found
    recall = found / people
    average_precision = trapezoid(found / (found + wrong), recall)
    # The miss rate at that many false positives per image, or at the end if there are fewer.
    reached = np.searchsorted(wrong / images, WRONG_PER_IMAGE).clip(max=len(found) - 1)
    with np.errstate(divide='ignore'):  # a miss rate of 0 has the logarithm -inf, and the mean rate is then 0
        miss_rate = np.exp(np.log(1 - recall[reached]).mean())
    return average_precision, miss_rate, recall[-1]


def _jaccard_index(images: Sequence[_Crowd], groups: np.ndarray) -> np.ndarray:
    """(G + 1,) JI without each group, at the best threshold. It is the mean over the images that have anything to
    count, and is undefined at thresholds where none has."""
    kept = 1 - indicators(groups)
    best = np.full(kept.shape[1], np.nan)
    for threshold in JI_THRESHOLDS:
        counts = [image.jaccard(threshold) for image in images]
        ratios = np.array([count['ratio'] for count in counts]) @ kept
        with np.errstate(invalid='ignore'):
            mean = ratios / (np.array([count['m'] + count['n'] > 0 for count in counts]) @ kept)
        best = np.fmax(best, mean)
    people = np.array([len(image.people) for image in images]) @ kept
    return np.where(people > 0, best, np.nan)


def _read_truth(path: str) -> Dict[str, np.ndarray]:
    """The full boxes of each image by its ID: (g, 5) float64 rows x1, y1, x2, y2, tag."""
    records = [json.loads(line) for line in read_text(path).strip().split('\n')]
    return {
        # MMDetection's reader fails on an empty list.
        record['ID']: Image.load_gt_boxes(record, 'gtboxes', PERSON_CLASSES)[0].astype(np.float64)
        if record['gtboxes']
        else np.empty((0, 5))
        for record in records
    }


def _rows(instances: dict) -> np.ndarray:
    """The detections of one image as (n, 5) float64 rows x1, y1, x2, y2, score."""
    columns = instances['bboxes'], instances['scores'][:, None]
    return np.hstack([column.detach().cpu().double().numpy() for column in columns])
