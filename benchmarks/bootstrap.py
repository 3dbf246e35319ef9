"""The bootstrap over test images: a metric of one run on 1000 samples of its test images, from its stored matches"""

import tempfile
from pathlib import Path
from typing import List

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

from analysis.claims.matches import load_matches
from analysis.claims.statistics import over_images
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
from benchmarks.timing import in_turns, seconds
from experiments.store.files import write_arrays

SAMPLES = 1000
KEY = 'without_nms/AP'


def measure(quick: bool) -> List[Row]:
    """Time the samples of COCO's and of CrowdHuman's size, beside as many evaluations as there are samples.

    Raises:
        AssertionError: the matches do not give the metric of the evaluation.
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
    return resampled(case, OneReadingMetric(path), samples, folder / 'coco.npz')


def crowdhuman(folder: Path, quick: bool) -> Row:
    """Crowds of one category."""
    images, detections, people = (4, 40, 10) if quick else (4370, 500, 25)
    rng = np.random.default_rng(0)
    truth = [scene(rng, people, 1) for _ in range(images)]
    path = write_crowdhuman(folder / 'truth.odgt', rng, truth)
    samples = [sample(rng, f'{number},x', *objects, detections, 1) for number, objects in enumerate(truth)]
    case = f'CrowdHuman, {images} images of {detections} detections'
    return resampled(case, OneReadingCrowdHumanMetric(path), samples, folder / 'crowdhuman.npz')


def resampled(case: str, metric: BaseMetric, samples: List[dict], path: Path) -> Row:
    """A row, once it is found that the matches give the metric."""
    evaluate = evaluation(lambda: metric, samples)
    once = seconds(evaluate)
    metric.keep_matches = True
    expected = evaluate()
    write_arrays(path, metric.matches)
    stored = load_matches(path)
    stored.check({f'without_nms/{name}': value for name, value in expected.items()})
    took = in_turns({'ours': lambda: over_images({'run': stored}, [('run', KEY)], SAMPLES)}, repeats=3, least=1)
    note = f'file of {path.stat().st_size / 2**20:.1f} MiB'
    return Row(case, took['ours'], 's', SAMPLES * once, f'{SAMPLES} x one evaluation', below=60, note=note)
