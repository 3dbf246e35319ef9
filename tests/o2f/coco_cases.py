"""Annotations in COCO's format and detections on them, with all that makes an evaluation difficult."""

import json

import numpy as np
from faster_coco_eval.core.mask import area
from pycocotools import mask as rle

from o2f.evaluation.coco import DetectionLists

IMAGES, SIDE = 25, 120
CATEGORIES = [2, 3, 5, 7, 11]  # there is nothing of 7, and nothing of 11 is found


def random_boxes(rng, number) -> np.ndarray:
    """(number, 4) x, y, width, height, on whole pixels, so that overlaps are often equal."""
    corner = rng.integers(0, SIDE // 2, (number, 2))
    return np.hstack((corner, rng.integers(2, SIDE // 2, (number, 2)))).astype(float)


def encode(box) -> dict:
    """A mask that fills the left half of a box and every other row of the right one."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    x, y, width, height = map(int, box)
    mask[y : y + height : 2, x : x + width] = mask[y : y + height, x : x + width // 2] = 1
    code = rle.encode(np.asfortranarray(mask))
    return dict(size=code['size'], counts=code['counts'].decode())


def make_truth(path, seed: int, first_id: int = 1) -> list:
    """Annotations, a fifth of them crowds, on all images but the last two; areas are anything from small to large."""
    rng = np.random.default_rng(seed)
    annotations = [
        dict(
            id=number,
            image_id=int(rng.integers(0, IMAGES - 2)),
            category_id=int(rng.choice([2, 3, 5, 11])),
            bbox=box.tolist(),
            area=float(np.exp(rng.uniform(2, 10))),
            iscrowd=int(rng.random() < 0.2),
            segmentation=encode(box),
        )
        for number, box in enumerate(random_boxes(rng, 120), first_id)
    ]
    document = dict(
        images=[dict(id=image, width=SIDE, height=SIDE) for image in range(IMAGES)],
        annotations=annotations,
        categories=[dict(id=category, name=f'name {category}') for category in CATEGORIES],
    )
    path.write_text(json.dumps(document))
    return annotations


def make_found(annotations: list, seed: int, kind: str, scale: float = 1.0) -> DetectionLists:
    """Copies of the annotations, shifted or with another category, often of equal score, on all images but two; more
    than 100 on image 0."""
    rng = np.random.default_rng(seed)
    boxes = np.array([a['bbox'] for a in annotations for _ in range(3)])
    boxes[:, :2] = (boxes[:, :2] + rng.integers(-2, 3, (len(boxes), 2))).clip(0)
    boxes = np.vstack((boxes, random_boxes(rng, 150)))
    images = np.array([a['image_id'] for a in annotations for _ in range(3)] + [0] * 130 + [IMAGES - 1] * 20)
    right = np.array([a['category_id'] for a in annotations for _ in range(3)] + [2] * 150)
    categories = np.where((rng.random(len(boxes)) < 0.8) & (right != 11), right, rng.choice([2, 3, 5, 7], len(boxes)))
    order = rng.permutation(np.flatnonzero(images != 3))
    boxes, images, categories = scale * boxes[order], images[order], categories[order]
    codes = [encode(box) for box in boxes] if kind == 'segm' else None
    return DetectionLists(
        images.tolist(),
        categories.tolist(),
        np.round(rng.random(len(boxes)), 1).tolist(),
        area(codes).tolist() if codes else boxes[:, 2:].prod(axis=1).tolist(),
        codes or boxes.tolist(),
    )
