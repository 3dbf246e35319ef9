"""Checks annotations in COCO's format before a training depends on them."""

import json
import os
from pathlib import Path
from typing import Any, Dict, Iterator, Set, Tuple

from experiments.errors import UserError
from experiments.places import fill_in

#: A box may leave its image by this many pixels; COCO's own coordinates are rounded that coarsely.
TOLERANCE = 1.0


def check_datasets(config: dict, places: Dict[str, str], checked: Set[tuple]) -> None:
    """Check the annotation files that a config trains and evaluates on, but for those in ``checked``; add them to it.

    Raises:
        UserError: see :func:`check_coco`.
    """
    drop = config.get('degenerate_boxes', 'error') == 'drop'
    for annotations, images in _datasets(fill_in(config, places)):
        if (annotations, images, drop) not in checked:
            check_coco(annotations, images, allow_degenerate=drop)
            checked.add((annotations, images, drop))


def _datasets(config: dict) -> Iterator[Tuple[Path, Path]]:
    for loader in ('train_dataloader', 'val_dataloader'):
        dataset = config[loader]['dataset']
        root = Path(dataset['data_root'])
        yield root / dataset['ann_file'], root / dataset['data_prefix']['img']


def check_coco(annotations: Path, images: Path, allow_degenerate: bool = False) -> None:
    """Check one annotation file.

    Args:
        annotations (Path): the JSON file.
        images (Path): folder of its images.
        allow_degenerate (bool): let boxes without area pass; MMDetection drops them when it loads the file. COCO's own
            train2017 has two.

    Raises:
        UserError: the file is missing, is not JSON, lacks a key, names an image that is not there, or holds a box that
            is degenerate or reaches out of its image. The message names the file, the entry and what to do.
    """
    content = _load(annotations)
    for key in ('images', 'annotations', 'categories'):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise UserError(
                f'{annotations}: the list {key!r} is missing; a COCO annotation file has images, annotations '
                'and categories'
            )
    sizes = _check_images(annotations, content['images'], images)
    categories = {_field(annotations, 'categories', entry, 'id') for entry in content['categories']}
    for entry in content['annotations']:
        _check_annotation(annotations, entry, sizes, categories, allow_degenerate)


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f'{path} is missing: put the annotations there, or name their folder with --data') from None
    except ValueError as error:
        raise UserError(f'{path} is not JSON ({error}): fetch or write it again') from error
    except OSError as error:
        raise UserError(f'{path} cannot be read: {error.strerror}') from error


def _field(path: Path, what: str, entry: Any, key: str) -> Any:
    if not isinstance(entry, dict) or key not in entry:
        name = f' (id {entry["id"]})' if isinstance(entry, dict) and 'id' in entry else ''
        raise UserError(f'{path}: an entry of {what!r}{name} lacks the key {key!r}: {str(entry)[:80]}')
    return entry[key]


def _check_images(path: Path, entries: list, folder: Path) -> Dict[Any, Tuple[float, float]]:
    """Width and height of each image by its id, once all of them are found in ``folder``."""
    try:
        there = {entry.name for entry in os.scandir(folder)}
    except OSError as error:
        raise UserError(f'{folder}: the images of {path} are not there ({error.strerror})') from error
    sizes = {}
    for entry in entries:
        name = _field(path, 'images', entry, 'file_name')
        # Names may hold folders of their own; those are looked up one by one.
        if name not in there and not (folder / name).is_file():
            raise UserError(f'{path} names the image {name}, which is not in {folder}: add it, or take its entry out')
        size = tuple(_field(path, 'images', entry, key) for key in ('width', 'height'))
        if not all(_is_number(value) and value > 0 for value in size):
            raise UserError(f'{path}: image {name} has width and height {size}, which must be numbers above 0')
        sizes[_field(path, 'images', entry, 'id')] = size
    return sizes


def _check_annotation(path: Path, entry: Any, sizes: dict, categories: set, allow_degenerate: bool) -> None:
    where = f'{path}: annotation {_field(path, "annotations", entry, "id")}'
    size = sizes.get(_field(path, 'annotations', entry, 'image_id'))
    if size is None:
        raise UserError(f'{where} is of image {entry["image_id"]}, which the file does not list')
    if _field(path, 'annotations', entry, 'category_id') not in categories:
        raise UserError(f'{where} has category {entry["category_id"]}, which the file does not list')
    for key in ('area', 'iscrowd'):
        _field(path, 'annotations', entry, key)
    box = _field(path, 'annotations', entry, 'bbox')
    if not (isinstance(box, list) and len(box) == 4 and all(map(_is_number, box))):
        raise UserError(f'{where}: bbox {box} must be four numbers x, y, width, height')
    x, y, width, height = box
    if (width <= 0 or height <= 0) and not allow_degenerate:
        raise UserError(f'{where}: bbox {box} has no area: correct it or take the annotation out')
    if min(x, y) < -TOLERANCE or x + width > size[0] + TOLERANCE or y + height > size[1] + TOLERANCE:
        raise UserError(
            f'{where}: bbox {box} reaches out of its image of {size[0]} x {size[1]} pixels: correct it or take '
            'the annotation out'
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e9
