"""Test images left out: the metrics of one evaluation, and again without each of 100 groups of its images"""

import tempfile
from pathlib import Path
from typing import Dict, List

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

from benchmarks.metrics import (
    OneReadingCrowdHumanMetric,
    OneReadingMetric,
    evaluation,
    sample,
    scene,
    write_coco,
    write_crowdhuman,
)
from benchmarks.rows import Row
from benchmarks.timing import in_turns
from o2f.evaluation.leave_out import GROUPS


def measure(quick: bool) -> List[Row]:
    """Time evaluations of COCO's and of CrowdHuman's size, beside as many evaluations as there are groups.

    Raises:
        AssertionError: the metrics with nothing left out are not those of the evaluation.
    """
    MMLogger.get_current_instance().setLevel('ERROR')  # metrics log what they find
    with tempfile.TemporaryDirectory() as folder:
        return [coco(Path(folder), quick), crowdhuman(Path(folder), quick)]


def coco(folder: Path, quick: bool) -> Row:
    """Boxes of 80 categories."""
    images, detections, categories = (20, 20, 80) if quick else (5000, 100, 80)
    rng = np.random.default_rng(0)
    truth = [scene(rng, int(rng.integers(0, 15)), categories) for _ in range(images)]
    path = write_coco(folder / 'truth.json', truth, categories)
    samples = [sample(rng, number, *objects, detections, categories) for number, objects in enumerate(truth)]
    case = f'COCO, {images} images of {detections} detections, {categories} categories'
    return left_out(case, OneReadingMetric(path), samples)


def crowdhuman(folder: Path, quick: bool) -> Row:
    """Crowds of one category."""
    images, detections, people = (4, 40, 10) if quick else (4370, 500, 25)
    rng = np.random.default_rng(0)
    truth = [scene(rng, people, 1) for _ in range(images)]
    path = write_crowdhuman(folder / 'truth.odgt', rng, truth)
    samples = [sample(rng, f'{number},x', *objects, detections, 1) for number, objects in enumerate(truth)]
    case = f'CrowdHuman, {images} images of {detections} detections'
    return left_out(case, OneReadingCrowdHumanMetric(path), samples)


def left_out(case: str, metric: BaseMetric, samples: List[dict]) -> Row:
    """A row, once it is found that nothing left out gives the metric."""
    plain = evaluation(lambda: metric, samples)

    def each_group() -> Dict[str, float]:
        metric.leave_out = True
        try:
            return plain()
        finally:
            metric.leave_out = False

    expected = each_group()
    for key, values in metric.left_out.values.items():
        assert abs(values[-1] - expected[key.removeprefix('without_nms/')]) < 1e-12
    took = in_turns({'ours': each_group, 'plain': plain}, repeats=3, least=1)
    note = f'{took["ours"] - took["plain"]:.1f} s more than the metrics alone'
    evaluations = GROUPS * took['plain']
    return Row(case, took['ours'], 's', evaluations, f'{GROUPS} evaluations', faster=20, note=note)
