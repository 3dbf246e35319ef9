"""Datasets of a few images in the layouts, and under the file names, of COCO 2017 and CrowdHuman."""

import json
from pathlib import Path

import cv2
import numpy as np

from experiments.data.synthetic.crowd import write_crowd
from experiments.spec.synthetic import CrowdSpec

#: COCO's ids run to 90 with gaps.
CATEGORY_IDS = [n for n in range(1, 91) if n not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)]
IDS = dict(train=(9, 25), val=(139, 285))  # the first ids of each split, as they are in COCO


def write_tiny_coco(folder, width=200, height=120):
    """Two images for training and two for validation, with COCO's 80 categories, polygons, one crowd as RLE, and in
    the first training image a box without area, as train2017 has two of."""
    import o2f  # noqa: F401  (before MMDetection)

    (folder / 'annotations').mkdir(parents=True)
    from mmdet.datasets import CocoDataset

    names = CocoDataset.METAINFO['classes']
    categories = [dict(id=n, name=name, supercategory='thing') for n, name in zip(CATEGORY_IDS, names)]
    draw = np.random.default_rng(0)
    for split, ids in IDS.items():
        (folder / f'{split}2017').mkdir()
        images, annotations = [], []
        for image_id in ids:
            picture = draw.integers(0, 255, (height, width, 3), dtype=np.uint8)
            name = f'{image_id:012d}.jpg'
            entries = [_box(draw, picture, image_id) for _ in range(3)] + [_crowd(image_id, width, height)]
            if image_id == IDS['train'][0]:
                entries.append(_entry(image_id, [5.0, 5.0, 0.0, 20.0], [[5.0, 5.0, 5.0, 15.0, 5.0, 25.0]], 0.0))
            annotations += entries
            (folder / f'{split}2017' / name).write_bytes(cv2.imencode('.jpg', picture)[1].tobytes())
            images.append(dict(id=image_id, file_name=name, width=width, height=height, license=1))
        for number, annotation in enumerate(annotations, 1):
            annotation['id'] = number
        content = dict(images=images, annotations=annotations, categories=categories)
        (folder / 'annotations' / f'instances_{split}2017.json').write_text(json.dumps(content))
    return folder


def _box(draw, picture, image_id):
    """A filled rectangle, painted into the picture, and its annotation."""
    height, width = picture.shape[:2]
    w, h = int(draw.integers(width // 5, width // 2)), int(draw.integers(height // 4, height // 2))
    x, y = int(draw.integers(0, width - w)), int(draw.integers(0, height - h))
    picture[y : y + h, x : x + w] = draw.integers(0, 255, 3)
    polygon = [float(v) for v in (x, y, x + w, y, x + w, y + h, x, y + h)]
    return _entry(image_id, [x, y, w, h], [polygon], w * h, int(draw.choice(CATEGORY_IDS)))


def _crowd(image_id, width, height):
    # COCO's own crowds are uncompressed: runs of zeros and ones in turn, down each column.
    counts = [0] + 19 * [10, height - 10] + [10, height * (width - 20) + height - 10]
    return {**_entry(image_id, [0, 0, 20, 10], dict(size=[height, width], counts=counts), 200.0), 'iscrowd': 1}


def _entry(image_id, box, segmentation, area, category=1):
    return dict(
        image_id=image_id, category_id=category, bbox=box, segmentation=segmentation, area=float(area), iscrowd=0
    )


def write_tiny_crowdhuman(folder):
    """Two images for training and two for validation."""
    folder.mkdir(parents=True)
    write_crowd(CrowdSpec(train=2, val=2, size=128, people=(3, 6), ignore=1.0), Path(folder))
    return folder
