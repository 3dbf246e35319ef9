"""Writes scenes in COCO's layout, so that any reader of COCO can read them."""

import json
from pathlib import Path
from typing import Callable

import cv2
import numpy as np
from pycocotools import mask as rle

from experiments.data.synthetic.scenes import SPLITS, Instance, SceneSpec, draw_scene
from experiments.data.synthetic.shapes import NAMES

Progress = Callable[[int, int], None]
ZOOM = 2  # masks are enlarged before tracing: a contour runs through pixel centres, half a pixel inside the edge


def segmentation(mask: np.ndarray) -> list[list[float]] | dict:
    """Polygons [[x, y, x, y, …], …] of a (H, W) bool mask, or its RLE if it has a hole or a part that is too thin."""
    pixels = np.repeat(np.repeat(mask.view(np.uint8), ZOOM, 0), ZOOM, 1)
    contours, hierarchy = cv2.findContours(pixels, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if (hierarchy[0, :, 3] >= 0).any() or min(map(len, contours)) < 3:
        code = rle.encode(np.asfortranarray(mask.view(np.uint8)))
        return {'size': [int(side) for side in code['size']], 'counts': code['counts'].decode()}
    return [((contour.reshape(-1) + 0.5) / ZOOM).tolist() for contour in contours]


def annotation(instance: Instance) -> dict:
    return {
        'category_id': instance.category,
        'bbox': list(instance.box),
        'area': int(instance.mask.sum()),
        'iscrowd': 0,
        'segmentation': segmentation(instance.mask),
    }


def write_jpeg(path: Path, image: np.ndarray) -> None:
    """Write a (H, W, 3) uint8 BGR image. Raises OSError on failure, unlike cv2.imwrite."""
    path.write_bytes(cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes())


def write_json(path: Path, content) -> None:
    path.write_text(json.dumps(content, separators=(',', ':')), encoding='utf-8')


def write_coco(spec: SceneSpec, folder: Path, progress: Progress | None = None) -> None:
    """Write `{train,val}2017/*.jpg` and `annotations/instances_*.json` under `folder`. Equal specs give equal bytes.

    `progress` is called with (images done, images in total). Image ids continue from train to val. Raises OSError.
    """
    folder, total, image_id, annotation_id = Path(folder), spec.train + spec.val, 0, 0
    (folder / 'annotations').mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        images, annotations = [], []
        (folder / f'{split}2017').mkdir(exist_ok=True)
        for index in range(getattr(spec, split)):
            scene = draw_scene(spec, split, index)
            image_id += 1
            name = f'{image_id:012d}.jpg'
            write_jpeg(folder / f'{split}2017' / name, scene.image)
            images.append({'id': image_id, 'file_name': name, 'height': spec.size, 'width': spec.size, 'license': 1})
            for instance in scene.instances:
                annotation_id += 1
                annotations.append({'id': annotation_id, 'image_id': image_id, **annotation(instance)})
            if progress:
                progress(image_id, total)
        write_json(folder / 'annotations' / f'instances_{split}2017.json', document(spec, images, annotations))


def document(spec: SceneSpec, images: list[dict], annotations: list[dict]) -> dict:
    """COCO's top-level object."""
    return {
        'info': {'description': 'o2f desk scenes', 'version': spec.version, 'year': 2017, 'seed': spec.seed},
        'licenses': [{'id': 1, 'name': 'generated', 'url': ''}],
        'images': images,
        'annotations': annotations,
        'categories': [{'id': n, 'name': name, 'supercategory': 'shape'} for n, name in enumerate(NAMES, 1)],
    }
