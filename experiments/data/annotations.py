"""Checks annotations in COCO's and CrowdHuman's formats before a training uses them."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Set, Tuple

from experiments.spec.paths import substitute_paths
from experiments.store.errors import UserError

#: A box may exceed its image by this many pixels, because COCO's coordinates are rounded so coarsely.
TOLERANCE = 1.0
#: The most bytes of a line (one image) in an .odgt file. CrowdHuman's longest lines have about 100,000.
LONGEST_LINE = 2**24


@dataclass(frozen=True)
class Content:
    """The content of an annotation file.

    Attributes:
        images (list): path of each image, with its width and height if the file has them.
        instances (int): entries of all images, crowds and ignored regions included.
    """

    images: List[Tuple[Path, Optional[Tuple[float, float]]]]
    instances: int


def datasets(config: dict, paths: Dict[str, str]) -> Iterator[Tuple[Path, Path, Callable[..., Content]]]:
    """The annotation files of a config's training and evaluation, each with its image folder and its check."""
    for loader in ('train_dataloader', 'val_dataloader'):
        dataset = substitute_paths(config[loader]['dataset'], paths)
        root = Path(dataset['data_root'])
        check = check_crowdhuman if dataset['type'] == 'CrowdHumanDataset' else check_coco
        yield root / dataset['ann_file'], root / dataset['data_prefix']['img'], check


def check_datasets(config: dict, paths: Dict[str, str], checked: Set[tuple]) -> None:
    """Check the annotation files of a config, except those in ``checked``, and add them to it.

    Raises:
        UserError: see :func:`check_coco` and :func:`check_crowdhuman`.
    """
    drop = config.get('degenerate_boxes', 'error') == 'drop'
    for annotations, images, check in datasets(config, paths):
        if (annotations, images, drop) not in checked:
            check(annotations, images, allow_degenerate=drop)
            checked.add((annotations, images, drop))


def check_coco(annotations: Path, images: Path, allow_degenerate: bool = False) -> Content:
    """Check one annotation file.

    Args:
        annotations (Path): the JSON file.
        images (Path): folder of its images.
        allow_degenerate (bool): accept boxes without area. MMDetection drops them when it loads the file. COCO's
            train2017 has two.

    Returns:
        Content: its content.

    Raises:
        UserError: the file is missing, is not JSON, lacks a key, names a missing image, or has a box that is degenerate
            or exceeds its image. The message names the file, the entry and what to do.
    """
    content = _load(annotations)
    for key in ('images', 'annotations', 'categories'):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise UserError(
                f'{annotations}: the list {key!r} is missing; a COCO annotation file has images, annotations '
                'and categories'
            )
    sizes = _check_images(annotations, content['images'], images)
    categories = {_id(annotations, 'categories', entry, 'id') for entry in content['categories']}
    for entry in content['annotations']:
        _check_annotation(annotations, entry, sizes, categories, allow_degenerate)
    listed: List[Tuple[Path, Optional[Tuple[float, float]]]] = [
        (images / entry['file_name'], sizes[entry['id']]) for entry in content['images']
    ]
    return Content(listed, len(content['annotations']))


def check_crowdhuman(annotations: Path, images: Path, allow_degenerate: bool = False) -> Content:
    """Check one annotation file of CrowdHuman, and the file of image sizes beside it if it exists.

    Args:
        annotations (Path): the .odgt file, one image in JSON per line.
        images (Path): folder of its images, ``<ID>.jpg``.
        allow_degenerate (bool): accept full boxes without area. No anchor lies in one.

    Returns:
        Content: its content.

    Raises:
        UserError: the file is missing, a line is not JSON or lacks a key, an image is missing or listed twice, or a box
            is not four numbers or has no area. Boxes may exceed their image, as full-body boxes do. The message names
            the file, the line and what to do.
    """
    lines = _read(annotations).strip().split(b'\n')
    there = _names_in(images, annotations)
    first: Dict[str, int] = {}
    instances = 0
    for number, line in enumerate(lines, 1):
        where = f'{annotations}, line {number}'
        name, entries = _check_crowd(where, line, allow_degenerate)
        instances += entries
        if f'{name}.jpg' not in there:
            raise UserError(f'{where}: the image {name}.jpg is not in {images}: add it, or take the line out')
        if first.setdefault(name, number) != number:
            raise UserError(f'{where}: the image {name} is on line {first[name]} already: take one of the two out')
    _check_sizes(annotations, first)
    return Content([(images / f'{name}.jpg', None) for name in first], instances)


def _check_crowd(where: str, line: bytes, allow_degenerate: bool) -> Tuple[str, int]:
    """Check one line of an .odgt file. Returns the image's ID and the number of entries."""
    if len(line) > LONGEST_LINE:
        raise UserError(f'{where} has {len(line) / 2**20:.0f} MiB: each image has a line of its own; write it again')
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = getattr(error, 'msg', error)  # str(error) would count lines within this line
        raise UserError(f'{where} is not JSON ({reason}): fetch or write the file again') from error
    if not isinstance(record, dict) or not isinstance(record.get('ID'), str):
        raise UserError(f"{where} lacks the image's 'ID': {str(record)[:80]}")
    if not isinstance(record.get('gtboxes'), list):
        raise UserError(f"{where}: image {record['ID']} lacks the list 'gtboxes': give it one, if only an empty one")
    for index, entry in enumerate(record['gtboxes']):
        _check_person(f'{where}, gtboxes[{index}]', entry, allow_degenerate)
    return record['ID'], len(record['gtboxes'])


def _check_person(where: str, entry: Any, allow_degenerate: bool) -> None:
    for key in ('tag', 'fbox', 'hbox', 'vbox'):
        if not isinstance(entry, dict) or key not in entry:
            raise UserError(f'{where} lacks the key {key!r}: {str(entry)[:80]}')
    for key in ('extra', 'head_attr'):
        if not isinstance(entry.get(key, {}), dict):
            raise UserError(f'{where}: {key} {str(entry[key])[:80]} must be a mapping, such as {{}}')
    for key in ('fbox', 'hbox', 'vbox'):
        if not _is_box(entry[key]):
            raise UserError(f'{where}: {key} {entry[key]} must be four numbers x, y, width, height')
    if min(entry['fbox'][2:]) <= 0 and not allow_degenerate:
        raise UserError(f'{where}: fbox {entry["fbox"]} has no area: correct it or take the entry out')


def _check_sizes(annotations: Path, names: Iterable[str]) -> None:
    """Check id_hw_train.json or id_hw_val.json. If it is missing, MMDetection opens every image once and writes it."""
    path = annotations.with_name(f'id_hw_{"train" if "train" in annotations.name else "val"}.json')
    if not path.exists():
        return
    sizes = _load(path)
    for name in names:
        size = sizes.get(name) if isinstance(sizes, dict) else None
        if not (isinstance(size, list) and len(size) == 2 and all(_is_number(side) and side > 0 for side in size)):
            raise UserError(f'{path} lacks height and width of image {name}: delete the file, and it is written again')


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f'{path} is missing: put the annotations there, or name their folder with --data') from None
    except OSError as error:
        raise UserError(f'{path} cannot be read: {error.strerror}') from error


def _load(path: Path) -> Any:
    try:
        return json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f'{path} is not JSON ({error}): fetch or write it again') from error


def _names_in(folder: Path, annotations: Path) -> Set[str]:
    """Names of the files in the image folder of an annotation file."""
    try:
        return {entry.name for entry in os.scandir(folder)}
    except OSError as error:
        raise UserError(f'{folder}: the images of {annotations} are not there ({error.strerror})') from error


def _field(path: Path, what: str, entry: Any, key: str) -> Any:
    if not isinstance(entry, dict) or key not in entry:
        name = f' (id {entry["id"]})' if isinstance(entry, dict) and 'id' in entry else ''
        raise UserError(f'{path}: an entry of {what!r}{name} lacks the key {key!r}: {str(entry)[:80]}')
    return entry[key]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # not a valid file name
        return False


def _id(path: Path, what: str, entry: Any, key: str) -> Any:
    """Read an id, which is an integer or text."""
    value = _field(path, what, entry, key)
    if not isinstance(value, (int, str)):
        raise UserError(f'{path}: {key} {str(value)[:80]} of an entry of {what!r} must be a whole number')
    return value


def _check_images(path: Path, entries: list, folder: Path) -> Dict[Any, Tuple[float, float]]:
    """Width and height of each image by its id. Checks that all images are in ``folder``."""
    there = _names_in(folder, path)
    sizes = {}
    for entry in entries:
        name = _field(path, 'images', entry, 'file_name')
        if not isinstance(name, str) or '\0' in name or Path(name).is_absolute() or '..' in Path(name).parts:
            raise UserError(f'{path} names the image {str(name)[:80]!r}, which is no path within {folder}: correct it')
        # Names may include folders. Those are looked up one by one.
        if name not in there and not _is_file(folder / name):
            raise UserError(
                f'{path} names the image {name[:200]!r}, which is not in {folder}: add it, or take its entry out'
            )
        size = tuple(_field(path, 'images', entry, key) for key in ('width', 'height'))
        if not all(_is_number(value) and value > 0 for value in size):
            raise UserError(f'{path}: image {name} has width and height {size}, which must be numbers above 0')
        sizes[_id(path, 'images', entry, 'id')] = size
    return sizes


def _check_annotation(path: Path, entry: Any, sizes: dict, categories: set, allow_degenerate: bool) -> None:
    where = f'{path}: annotation {_field(path, "annotations", entry, "id")}'
    size = sizes.get(_id(path, 'annotations', entry, 'image_id'))
    if size is None:
        raise UserError(f'{where} is of image {entry["image_id"]}, which the file does not list')
    if _id(path, 'annotations', entry, 'category_id') not in categories:
        raise UserError(f'{where} has category {entry["category_id"]}, which the file does not list')
    for key in ('area', 'iscrowd'):
        _field(path, 'annotations', entry, key)
    box = _field(path, 'annotations', entry, 'bbox')
    if not _is_box(box):
        raise UserError(f'{where}: bbox {box} must be four numbers x, y, width, height')
    x, y, width, height = box
    if (width <= 0 or height <= 0) and not allow_degenerate:
        raise UserError(f'{where}: bbox {box} has no area: correct it or take the annotation out')
    if min(x, y) < -TOLERANCE or x + width > size[0] + TOLERANCE or y + height > size[1] + TOLERANCE:
        raise UserError(
            f'{where}: bbox {box} reaches out of its image of {size[0]} x {size[1]} pixels: correct it or take '
            'the annotation out'
        )


def _is_box(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(map(_is_number, value))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e9
