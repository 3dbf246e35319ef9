"""Synthetic images in the sizes and formats of COCO and CrowdHuman. They cost as much as real ones to load."""

import json
from pathlib import Path
from typing import List, Sequence, Tuple

import cv2
import numpy as np

#: Width, height and number of objects of an image: typical for COCO, and about the mean for CrowdHuman.
COCO_SIZE, COCO_OBJECTS = (640, 480), 7
CROWD_SIZE, CROWD_PEOPLE = (1400, 930), 29


def write_coco(folder: Path, classes: Sequence[str], train: int, val: int) -> None:
    """Write images with boxes and polygons in COCO's layout.

    Args:
        folder (Path): where they go.
        classes (sequence[str]): names of the categories.
        train, val (int): number of images of each split.
    """
    draw = np.random.default_rng(0)
    categories = [dict(id=number, name=name) for number, name in enumerate(classes, 1)]
    (folder / 'annotations').mkdir(parents=True)
    for split, count in dict(train=train, val=val).items():
        (folder / f'{split}2017').mkdir()
        images: List[dict] = []
        annotations: List[dict] = []
        for image_id in range(1, count + 1):
            name = f'{image_id:012d}.jpg'
            boxes = _picture(draw, folder / f'{split}2017' / name, COCO_SIZE, COCO_OBJECTS)
            images.append(dict(id=image_id, file_name=name, width=COCO_SIZE[0], height=COCO_SIZE[1]))
            for x, y, w, h in boxes:
                polygon = [x, y, x + w, y, x + w, y + h, x, y + h]
                entry = dict(bbox=[x, y, w, h], area=w * h, iscrowd=0, segmentation=[polygon])
                category = int(draw.integers(1, len(classes) + 1))
                annotations.append(dict(entry, id=len(annotations) + 1, image_id=image_id, category_id=category))
        content = dict(images=images, annotations=annotations, categories=categories)
        (folder / 'annotations' / f'instances_{split}2017.json').write_text(json.dumps(content))


def write_crowdhuman(folder: Path, train: int, val: int) -> None:
    """Write images with people in CrowdHuman's layout: ``train`` and ``val`` images of the two splits."""
    draw = np.random.default_rng(0)
    (folder / 'Images').mkdir(parents=True)
    for split, count in dict(train=train, val=val).items():
        lines, sizes = [], {}
        for number in range(count):
            name = f'{split}{number}'
            boxes = _picture(draw, folder / 'Images' / f'{name}.jpg', CROWD_SIZE, CROWD_PEOPLE)
            people = [dict(tag='person', fbox=box, vbox=box, hbox=box, extra={}, head_attr={}) for box in boxes]
            lines.append(json.dumps(dict(ID=name, gtboxes=people)))
            sizes[name] = CROWD_SIZE[::-1]
        (folder / f'annotation_{split}.odgt').write_text('\n'.join(lines) + '\n')
        (folder / f'id_hw_{split}.json').write_text(json.dumps(sizes))


def _picture(draw: np.random.Generator, path: Path, size: Tuple[int, int], objects: int) -> List[List[int]]:
    """Write one image. Returns its boxes: x, y, width and height."""
    width, height = size
    coarse = draw.integers(0, 255, (height // 8, width // 8, 3), dtype=np.uint8)
    image = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)  # about as hard to decode as a photograph
    boxes = []
    for _ in range(objects):
        w, h = (int(side * draw.uniform(0.05, 0.5)) for side in size)
        x, y = int(draw.integers(0, width - w)), int(draw.integers(0, height - h))
        image[y : y + h, x : x + w] = draw.integers(0, 255, 3)
        boxes.append([x, y, w, h])
    path.write_bytes(cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
    return boxes
