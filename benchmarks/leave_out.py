"""Test images left out: the metrics of one evaluation, and again without each of 100 groups of its images"""

import tempfile
from pathlib import Path
from typing import Dict, List

from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

from benchmarks.metrics import (
    OneReadingCrowdHumanMetric,
    OneReadingMetric,
    coco_data,
    crowdhuman_data,
    evaluation,
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
        rows = []
        for data, metric in ((coco_data, OneReadingMetric), (crowdhuman_data, OneReadingCrowdHumanMetric)):
            case, path, samples = data(Path(folder), quick)
            rows.append(left_out(case, metric(path), samples))
        return rows


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
