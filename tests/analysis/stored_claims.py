"""Plans with claims, and metrics of made-up detections, as a run's evaluation leaves them."""

import json

import numpy as np
from stored_files import axis, run_id

from experiments.store.runs import RunFolder
from o2f.evaluation.leave_out import LeftOut, Outcomes, coco

IMAGES, CATEGORIES = 80, 3


def quantity(la, key='without_nms/AP', minus=None, times=1.0, epoch=None):
    return dict(key=key, minus=minus, times=times, epoch=epoch, at={'la': la})


def compare(left, relation, right):
    left, right = (side if isinstance(side, dict) else quantity(side) for side in (left, right))
    return dict(left=left, relation=relation, right=right)


def claim(*comparisons, name='better', **more):
    texts = dict(id=name, statement='it is better', quote='It is better.', where='section 9')
    return dict(texts, comparisons=list(comparisons), **more)


def write_plan(store, *claims, seeds=(0,), values=('new', 'old', 'other')):
    """A plan with one axis; runs 0, 1, ... are those of its values."""
    return store.plan(
        'table1',
        seeds=seeds,
        rows=[],
        columns=[axis('la', 'LA', *values)],
        metrics={'AP': ['without_nms/AP', 'with_nms/AP']},
        claims=list(claims),
    )


def write_seeds(store, *values):
    """Results without groups of images: for each run its AP without NMS, in percent, seed by seed."""
    for number, of_run in enumerate(values):
        for seed, value in enumerate(of_run):
            store.result(number, value / 100, (value + 1) / 100, seed=seed)


def write_epochs(store, number, gaps, seed=0, without=(0.3, 0.3, 0.3)):
    """The gap between the readings after each epoch, in points, and AP without NMS."""
    epochs = [
        dict(epoch=i, metrics={'without_nms/AP': low, 'with_nms/AP': low + gap / 100})
        for i, (gap, low) in enumerate(zip(gaps, without), 1)
    ]
    store.write(f'desk/{run_id(number, seed)}/metrics.json', json.dumps(dict(schema=1, epochs=epochs)))


def write_run(store, number, quality, seed=0, truth=0):
    """A run with groups of images: of each object, one detection that is right at more overlaps the better the quality
    is, and two more that are wrong. ``truth`` makes other images."""
    objects = np.random.default_rng(truth).integers(0, 4, (CATEGORIES, IMAGES))
    store.write('truth.json', f'annotations {truth}')
    left_out = LeftOut(str(store.runs / 'truth.json'), range(IMAGES))
    for i, prefix in enumerate(('without_nms/', 'with_nms/')):
        found = outcomes(objects, quality + 0.02 * i, 7 * seed + number + 1000 * i)
        left_out.values |= {prefix + name: values for name, values in coco(found, left_out.groups).items()}
    folder = RunFolder(store.runs / 'desk' / run_id(number, seed))
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.add_image_groups(left_out.record)
    metrics = left_out.record['metrics']
    store.result(number, metrics.pop('without_nms/AP'), metrics.pop('with_nms/AP'), seed=seed, metrics=metrics)
    return left_out


def outcomes(objects, quality, seed):
    categories, images = (np.repeat(index.ravel(), objects.ravel() * 3) for index in np.indices(objects.shape))
    # How hard an image is does not depend on the run.
    hard = np.random.default_rng(5).normal(0, 0.2, IMAGES)[images]
    rng = np.random.default_rng(seed)
    overlap = quality - hard + rng.normal(0, 0.1, len(images))
    overlap[np.arange(len(images)) % 3 > 0] = 0
    right = overlap > np.linspace(0.5, 0.95, 10)[:, None]
    scores = rng.random(len(images)) + overlap
    return Outcomes(categories, images, scores, right, np.zeros_like(right), objects, np.linspace(0.5, 0.95, 10))
