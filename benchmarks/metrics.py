"""COCO's and CrowdHuman's metrics: from a network's detections to the values"""

import json
import tempfile
from pathlib import Path
from typing import Callable, Dict, List, Tuple

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

import o2f  # isort: skip  # noqa: F401  (answers for mmcv's compiled operations, so it comes before MMDetection)
from mmdet.evaluation.metrics import CrowdHumanMetric  # isort: skip

from benchmarks.rows import Row
from benchmarks.timing import in_turns, seconds
from o2f.evaluation.crowdhuman import TwoReadingsCrowdHumanMetric
from o2f.evaluation.metric import TwoReadingsMetric
from o2f.models.postprocess import FIELDS, WITHOUT_NMS

ONE = {WITHOUT_NMS: FIELDS[WITHOUT_NMS]}
HEIGHT, WIDTH = 800, 1200
NOTE = 'the same values'


class OneReadingMetric(TwoReadingsMetric):
    fields = ONE


class OneReadingCrowdHumanMetric(TwoReadingsCrowdHumanMetric):
    fields = ONE


def measure(quick: bool) -> List[Row]:
    """Time both kinds of metrics; a slow rival is timed once.

    Raises:
        AssertionError: the values differ.
    """
    MMLogger.get_current_instance().setLevel('ERROR')  # metrics log what they find
    with tempfile.TemporaryDirectory() as folder:
        return [coco(Path(folder), quick), crowdhuman(Path(folder), quick)]


def coco_data(folder: Path, quick: bool) -> Tuple[str, str, List[dict]]:
    """Made-up data of COCO's size: in words, the annotation file, and the detections of a model."""
    images, detections, categories = (20, 20, 80) if quick else (5000, 100, 80)
    rng = np.random.default_rng(0)
    truth = [scene(rng, int(rng.integers(0, 15)), categories) for _ in range(images)]
    path = write_coco(folder / 'truth.json', truth, categories)
    samples = [sample(rng, number, *objects, detections, categories) for number, objects in enumerate(truth)]
    return f'COCO, {images} images of {detections} detections', path, samples


def crowdhuman_data(folder: Path, quick: bool) -> Tuple[str, str, List[dict]]:
    """The same of CrowdHuman's size."""
    images, detections, people = (4, 40, 10) if quick else (4370, 500, 25)
    rng = np.random.default_rng(0)
    truth = [scene(rng, people, 1) for _ in range(images)]
    path = write_crowdhuman(folder / 'truth.odgt', rng, truth)
    samples = [sample(rng, f'{number},x', *objects, detections, 1) for number, objects in enumerate(truth)]
    return f'CrowdHuman, {images} images of {detections} detections', path, samples


def coco(folder: Path, quick: bool) -> Row:
    """Boxes, against pycocotools."""
    case, path, samples = coco_data(folder, quick)
    ours, theirs = (
        evaluation(lambda backend=backend: OneReadingMetric(path, backend=backend), samples)
        for backend in ('faster_coco_eval', 'pycocotools')
    )
    return compared(case, ours, theirs, 'pycocotools', 1e-6, faster=8)


def crowdhuman(folder: Path, quick: bool) -> Row:
    """Against MMDetection's metric, which knows one reading only and shares its work among ten processes."""
    case, path, samples = crowdhuman_data(folder, quick)
    ours = evaluation(lambda: OneReadingCrowdHumanMetric(path), samples)
    theirs = evaluation(lambda: CrowdHumanMetric(path), samples)
    return compared(case, ours, theirs, 'MMDetection', 5.1e-5, faster=5)  # MMDetection rounds to four decimals


def scene(rng: np.random.Generator, number: int, categories: int) -> tuple:
    """Boxes (number, 4) x1, y1, x2, y2 in whole pixels, and their labels; an image has few categories."""
    corner = rng.integers(0, (WIDTH - 100, HEIGHT - 100), (number, 2))
    size = np.exp(rng.uniform(np.log(10), np.log(400), (number, 2))).astype(int)
    boxes = np.hstack((corner, (corner + size).clip(max=(WIDTH, HEIGHT))))
    return boxes, rng.choice(rng.integers(0, categories, 4), number)


def sample(
    rng: np.random.Generator, image_id: object, boxes: np.ndarray, labels: np.ndarray, number: int, categories: int
) -> dict:
    """An image's data sample: ``number`` detections, most of them near an object."""
    if len(boxes) == 0:
        boxes, labels = scene(rng, 3, categories)
    copied = rng.integers(0, len(boxes), number)
    size = np.tile((boxes[:, 2:] - boxes[:, :2])[copied], 2)
    found = boxes[copied] + size * rng.normal(0, 0.06, (number, 4))
    right = rng.random(number) < 0.8
    detections = dict(
        bboxes=torch.from_numpy(found).float(),
        scores=torch.from_numpy(rng.random(number) ** 2).float(),
        labels=torch.from_numpy(np.where(right, labels[copied], rng.integers(0, categories, number))),
    )
    return dict(img_id=image_id, ori_shape=(HEIGHT, WIDTH), pred_instances=detections)


def write_coco(path: Path, truth: List[tuple], categories: int) -> str:
    boxes = [
        (image, box, label)
        for image, objects in enumerate(truth)
        for box, label in zip(*(column.tolist() for column in objects))
    ]
    annotations = [
        dict(
            id=number,
            image_id=image,
            category_id=label + 1,
            bbox=[x1, y1, x2 - x1, y2 - y1],
            area=(x2 - x1) * (y2 - y1),
            iscrowd=int(number % 100 == 0),
        )
        for number, (image, (x1, y1, x2, y2), label) in enumerate(boxes, 1)
    ]
    document = dict(
        images=[dict(id=image, width=WIDTH, height=HEIGHT) for image in range(len(truth))],
        annotations=annotations,
        categories=[dict(id=label + 1, name=str(label)) for label in range(categories)],
    )
    path.write_text(json.dumps(document))
    return str(path)


def write_crowdhuman(path: Path, rng: np.random.Generator, truth: List[tuple]) -> str:
    """An .odgt file; in each image one region is to be ignored."""
    lines = []
    for number, (people, _) in enumerate(truth):
        boxes = [*people.tolist(), *scene(rng, 1, 1)[0].tolist()]
        bodies = [[x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in boxes]
        entries = [dict(tag='person', fbox=box, hbox=box, head_attr={}, extra={}) for box in bodies]
        entries[-1].update(tag='mask', extra=dict(ignore=1))
        lines.append(json.dumps(dict(ID=f'{number},x', gtboxes=entries)))
    path.write_text('\n'.join(lines))
    return str(path)


def evaluation(make: Callable[[], BaseMetric], samples: List[dict]) -> Callable[[], Dict[str, float]]:
    """A function that reads the annotations, takes the samples one by one and gives the metrics by their last names."""

    def evaluate() -> Dict[str, float]:
        metric = make()
        for each in samples:
            metric.process({}, [each])
        return {name.split('/')[-1]: value for name, value in metric.evaluate(size=len(samples)).items()}

    return evaluate


def compared(case: str, ours: Callable, theirs: Callable, name: str, tolerance: float, faster: float) -> Row:
    """A row, once the values are found to be equal. The others' are timed once, as they take minutes."""
    values = {}
    against = seconds(lambda: values.update(theirs()))
    for key, value in ours().items():
        # MMDetection's recall is not to be had, and its AP is called mAP.
        expected = values.get(key, values.get(f'm{key}'))
        assert expected is None or abs(value - expected) <= tolerance, f'{case}: {key} {value}, {name}: {expected}'
    took = in_turns({'ours': ours}, repeats=3, least=1)['ours']
    return Row(case, took, 's', against, name, faster=faster, note=NOTE)
