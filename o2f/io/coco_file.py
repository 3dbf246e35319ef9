"""COCO annotation files as people write them: read once, in the same way by loader, metric, check and prediction.

What the meaning of a file leaves no doubt about is put right and counted in ``changes``: encodings, missing sizes,
areas and ids, boxes that leave their image, objects without area. What could be meant in several ways, or cannot be
trained on, is a line in ``faults`` with the file, the entry and the cure.
"""

import difflib
import json
import math
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterable, List, Optional, Sequence, Set, Tuple, TypeGuard, Union

import numpy as np
from mmengine.fileio import get

from o2f.errors import InputError
from o2f.io.images import size_of
from o2f.io.other_formats import described, described_folder, described_text

#: A box may exceed its image by this many pixels, because COCO's coordinates are rounded so coarsely.
TOLERANCE = 1.0
#: Coordinates are smaller than this.
LARGEST = 1e9
_LISTS = ('images', 'annotations', 'categories')
#: Polygons, which are most of a file. Within a text the quotes would be escaped.
_POLYGONS = re.compile(rb'"segmentation"\s*:\s*\[[\[\]\s]*[-\d][-+.eE\d,\s\[\]]*\]')


@dataclass
class Tally:
    """How often something was found, and the first time as text."""

    count: int = 0
    first: str = ''

    def add(self, where: str) -> None:
        self.count += 1
        self.first = self.first or where


@dataclass
class CocoFile:
    """The content of an annotation file.

    Attributes:
        path (str): the file.
        images (list[dict]): the images, with ``id``, ``file_name``, and ``width`` and ``height`` where they are known.
        annotations (list[dict]): the objects and crowds that can be used, with ``id`` (1, 2, ...), ``image_id``,
            ``category_id``, ``bbox``, ``area`` and ``iscrowd``.
        categories (list[dict]): the categories, with ``id`` and ``name``.
        faults (list[str]): what makes the file unusable, one line for each kind.
        changes (dict[str, Tally]): what was put right, by kind.
        measured (set): ids of the images whose width and height are not the file's, but were taken from the images.
    """

    path: str
    images: List[dict] = field(default_factory=list)
    annotations: List[dict] = field(default_factory=list)
    categories: List[dict] = field(default_factory=list)
    faults: List[str] = field(default_factory=list)
    changes: Dict[str, Tally] = field(default_factory=dict)
    measured: Set[Any] = field(default_factory=set)

    def require(self) -> 'CocoFile':
        """This file, if it can be used.

        Raises:
            InputError: it has faults. The message is the first of them, and how many there are.
        """
        if self.faults:
            more = f'; {len(self.faults) - 1} more kind(s) of faults: python -m o2f.check' if self.faults[1:] else ''
            raise InputError(f'{self.faults[0]}{more}')
        return self

    def category_ids(self, classes: Optional[Sequence[str]]) -> List[Any]:
        """The id of the category of each class, in the order of ``classes``.

        Args:
            classes (sequence[str], optional): names of the classes. With None, all categories in the file's order.

        Raises:
            InputError: ``classes`` are no names, or the file does not have each of them once.
        """
        if classes is None:
            return [entry['id'] for entry in self.categories]
        names = check_classes(classes)
        ids: Dict[str, List[Any]] = {}
        for entry in self.categories:
            ids.setdefault(entry['name'], []).append(entry['id'])
        if not set(names) & ids.keys() and list(ids):
            raise InputError(
                f'{self.path} has none of the classes {_listed(names)}; it has {_listed(ids)}: '
                "name these in metainfo=dict(classes=...) of the dataset's config"
            )
        for name in names:
            if name not in ids:
                raise InputError(
                    f'{self.path} has no category {name!r}{_near(name, ids)}; it has {_listed(ids)}: '
                    "write the classes (metainfo of the dataset's config) as in the file, or add the category to it"
                )
            if len(ids[name]) > 1:
                raise InputError(
                    f'{self.path} has {len(ids[name])} categories named {name!r}, with ids {_listed(ids[name])}: '
                    'rename or remove one (exports of Roboflow have a root category), and give its objects to the other'
                )
        return [ids[name][0] for name in names]


def check_classes(classes: Any) -> List[str]:
    """The names of classes.

    Raises:
        InputError: they are a single text, are not texts, or have a name twice.
    """
    if isinstance(classes, str):
        raise InputError(f'classes is the text {classes!r}: with one class a comma is needed, classes=({classes!r},)')
    names = list(classes)
    for name in names:
        if not isinstance(name, str):
            raise InputError(f'classes has {name!r}, which is no text: write the names of the categories in quotes')
        if names.count(name) > 1:
            raise InputError(f'classes has {name!r} twice: name each class once')
    return names


def moved_classes(first: Optional[Sequence[str]], second: Optional[Sequence[str]]) -> List[str]:
    """The classes of both that have another label, which is their place, in the second than in the first.

    A class that only one of them has is no fault: a detector of persons may be tested on pedestrians.
    """
    labels = {name: label for label, name in enumerate(first or ())}
    return [name for label, name in enumerate(second or ()) if labels.get(name, label) != label]


def read_coco(
    path: Union[str, Path],
    images: Union[str, Path, None] = None,
    backend_args: Optional[dict] = None,
    light: bool = False,
    need_annotations: bool = True,
) -> CocoFile:
    """Read an annotation file.

    Args:
        path (str | Path): the JSON file, in UTF-8, or in another encoding of Unicode that its first bytes name.
        images (str | Path, optional): folder of its images. Sizes that the file lacks are taken from there. Without
            it, images need no names.
        backend_args (dict, optional): mmengine's arguments for files that are not local.
        light (bool): keep of polygons only that there are some, which takes a third of the time and memory. They are
            kept if a box is missing and must be taken around them.
        need_annotations (bool): the file must have the list of annotations. Files of test images have none.

    Returns:
        CocoFile: its content, with everything that is wrong in ``faults``.

    Raises:
        InputError: the file cannot be read, is not JSON, or lacks a list.
    """
    content = _load(str(path), backend_args, light)
    if light and _lacks_boxes(content):
        content = _load(str(path), backend_args, False)
    if isinstance(content, dict) and not need_annotations:
        content.setdefault('annotations', [])
    for name in _LISTS:
        if not isinstance(content, dict) or not isinstance(content.get(name), list):
            other = described(content)
            raise InputError(
                f'{path} is {other}'
                if other
                else f'{path}: the list {name!r} is missing; a COCO annotation file has images, annotations and '
                'categories'
            )
    return _Reader(str(path), None if images is None else Path(images)).read(content)


def _lacks_boxes(content: Any) -> bool:
    entries = content.get('annotations') if isinstance(content, dict) else None
    return isinstance(entries, list) and any(isinstance(e, dict) and e.get('bbox') is None for e in entries)


def _load(path: str, backend_args: Optional[dict], light: bool) -> Any:
    try:
        text = get(path, backend_args=backend_args)
    except FileNotFoundError:
        raise InputError(f'{path} is missing: put the annotations there, or correct the path') from None
    except IsADirectoryError as error:
        other = described_folder(Path(path)) or 'a folder: name the annotation file'
        raise InputError(f'{path} is {other}') from error
    except OSError as error:
        raise InputError(f'{path} cannot be read: {error.strerror or error}') from error
    try:
        encoding = json.detect_encoding(text)
        if light and encoding.startswith('utf-8'):
            text = _POLYGONS.sub(b'"segmentation":true', text)
        return json.loads(text.decode(encoding))
    except UnicodeDecodeError as error:
        raise InputError(f'{path} is not UTF-8 (byte {error.start}): save it in this encoding') from error
    except (ValueError, RecursionError) as error:
        format = described_text(Path(path), text)
        if format:
            raise InputError(f'{path} is {format}') from error
        raise InputError(f'{path} is not JSON ({error}): fetch or write it again') from error


class _Reader:
    """Reads the lists one after the other, and collects what is wrong."""

    def __init__(self, path: str, folder: Optional[Path]) -> None:
        self.folder = folder
        self.file = CocoFile(path)
        self.found: Dict[str, Tally] = {}  # faults by kind
        self.sizes: Dict[Any, Tuple[Any, Any]] = {}
        self.names: Dict[Any, str] = {}

    def read(self, content: dict) -> CocoFile:
        for number, entry in enumerate(content['categories']):
            self._category(number, entry)
        for number, entry in enumerate(content['images']):
            self._image(number, entry)
        known = {entry['id'] for entry in self.file.categories}
        ids = Counter(_hashable(entry.get('id')) for entry in content['annotations'] if isinstance(entry, dict))
        for number, entry in enumerate(content['annotations']):
            self._annotation(number, entry, known)
        self._ids(ids)
        for tally in self.found.values():
            more = f' (and {tally.count - 1} more like this)' if tally.count > 1 else ''
            self.file.faults.append(f'{self.file.path}: {tally.first}{more}')
        return self.file

    def _fault(self, kind: str, says: str) -> None:
        self.found.setdefault(kind, Tally()).add(' '.join(says.split())[:400])

    def _change(self, kind: str, where: str) -> None:
        self.file.changes.setdefault(kind, Tally()).add(where)

    def _category(self, number: int, entry: Any) -> None:
        if not isinstance(entry, dict) or not _is_id(entry.get('id')):
            self._fault('category id', f'categories[{number}] has no id: {_short(entry)}')
        elif not isinstance(entry.get('name'), str):
            self._fault('category name', f'category {entry["id"]!r} has no name in text: {_short(entry)}')
        elif any(entry['id'] == other['id'] for other in self.file.categories):
            self._fault('category twice', f'two categories have the id {entry["id"]!r}: give each its own')
        else:
            self.file.categories.append(entry)

    def _image(self, number: int, entry: Any) -> None:
        if not isinstance(entry, dict) or not _is_id(entry.get('id')):
            return self._fault('image id', f'images[{number}] has no id, a whole number or text: {_short(entry)}')
        where = f'image {entry["id"]!r}'
        name = entry.get('file_name', where if self.folder is None else None)
        if not isinstance(name, str) or not name.strip() or '\0' in name:
            return self._fault('file name', f"{where} has no 'file_name': {_short(entry)}")
        if name[0] == '/' or ('..' in name and '..' in Path(name).parts):
            return self._fault(
                'path',
                f'{where} is named {name[:200]!r}, which is no path within its folder: name it relative to the folder',
            )
        if entry['id'] in self.names:
            return self._fault(
                'image twice',
                f'the images {self.names[entry["id"]]} and {name[:200]} both have the id {entry["id"]!r}: '
                'give each its own, in the annotations too',
            )
        self.names[entry['id']] = name
        size = entry.get('width'), entry.get('height')
        if not all(is_number(side) and side > 0 for side in size):
            size = self._measured(entry, name)
        self.sizes[entry['id']] = size
        self.file.images.append(entry)

    def _measured(self, entry: dict, name: str) -> Tuple[Any, Any]:
        """The size of an image that the file gives none for, as it is loaded."""
        if self.folder is None:
            entry.pop('width', None), entry.pop('height', None)
            return None, None
        try:
            entry['width'], entry['height'] = size_of(self.folder / name)
        except InputError:
            self._fault(
                'size',
                f'image {name[:200]} has no width and height above 0, and {self.folder / name} cannot be measured: '
                'add them, or the image',
            )
            return None, None
        self._change('sizes', name)
        self.file.measured.add(entry['id'])
        return entry['width'], entry['height']

    def _annotation(self, number: int, entry: Any, known: set) -> None:
        if not isinstance(entry, dict):
            return self._fault('annotation', f'annotations[{number}] is no mapping: {_short(entry)}')
        where = f'annotation {entry["id"]!r}' if 'id' in entry else f'annotations[{number}]'
        image, category = _hashable(entry.get('image_id')), _hashable(entry.get('category_id'))
        if image not in self.sizes:
            if image in self.names:
                return None  # its image is a fault already
            says = f'{where} is of image {image!r}, which the file does not list{_cure(image, self.names)}'
            return self._fault('image of', says)
        if category not in known:
            says = f'{where} has category {category!r}, which the file does not list{_cure(category, known)}'
            return self._fault('category of', says)
        where = f'{where} ({self.names[image]})'
        given = entry.get('bbox')
        box = _outline(entry.get('segmentation')) if given is None else given
        if not is_box(box):
            says = f'{where}: bbox {_short(given)} must be four numbers x, y, width, height'
            return self._fault('box', says)
        if given is None:
            self._change('boxes', where)
        return self._keep(entry, where, box) if self._keys(entry, where) else None

    def _keys(self, entry: dict, where: str) -> bool:
        """Put ``iscrowd`` and ``ignore`` right. False if they cannot be read."""
        for key in ('iscrowd', 'ignore'):
            value = entry.get(key)
            if value is None or value in (0, 1):
                if value is None and key == 'iscrowd':
                    self._change('iscrowd', where)
                if value is not None or key == 'iscrowd':
                    entry[key] = int(value or 0)
            elif value in ('0', '1'):
                entry[key] = int(value)
            else:
                self._fault(key, f'{where}: {key} {_short(value)} must be 0 or 1')
                return False
        return True

    def _keep(self, entry: dict, where: str, box: list) -> None:
        """Clip a box and keep its annotation, unless nothing of it is left."""
        x, y, width, height = box
        if width <= 0 or height <= 0:
            return self._change('no area', f'{where}: bbox {box}')
        area = entry.get('area')
        across, down = self.sizes[entry['image_id']]
        if across is not None and (
            min(x, y) < -TOLERANCE or x + width > across + TOLERANCE or y + height > down + TOLERANCE
        ):
            right, low = min(x + width, across), min(y + height, down)
            x, y = max(x, 0), max(y, 0)
            if right <= x or low <= y:
                return self._change('outside', f'{where}: bbox {box}')
            self._change('clipped', f'{where}: bbox {box} in {across} x {down} pixels')
            if is_number(area) and math.isclose(area, width * height, rel_tol=1e-3, abs_tol=0.5):
                entry['area'] = area = (right - x) * (low - y)  # it was the box's area, and not that of a mask
            width, height = right - x, low - y
        entry['bbox'] = [x, y, width, height]
        if not is_number(area) or (area <= 0 and not entry.get('segmentation')):
            self._change('area', where)
            entry['area'] = width * height
        self.file.annotations.append(entry)

    def _ids(self, ids: Counter) -> None:
        """Number the annotations. Their own ids mean nothing to a detector, but evaluators take 0 for no match."""
        again = [number for number, count in ids.items() if count > 1 and number is not None]
        if again:
            self._change('ids', f'annotation {again[0]!r}')
            self.file.changes['ids'].count = sum(ids[number] - 1 for number in again)
        for number, entry in enumerate(self.file.annotations, 1):
            entry['id'] = number


def _cure(value: Any, known: Iterable) -> str:
    """What to do about an id that is not listed. It may be listed as another type."""
    texts = {str(other): other for other in known}
    if value is None or str(value) not in texts:
        return ': correct it, or take the annotation out'
    return f', but {texts[str(value)]!r}: write both as numbers, or both as text'


def _outline(segmentation: Any) -> Optional[list]:
    """The box around polygons, or None if there are none."""
    try:
        points = np.concatenate([np.asarray(polygon, float).reshape(-1, 2) for polygon in segmentation])
        (left, top), (right, low) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    except (TypeError, ValueError):
        return None
    return [left, top, right - left, low - top] if math.isfinite(left + top + right + low) else None


def _near(name: str, known: Iterable[str]) -> str:
    plain = {unicodedata.normalize('NFKC', other).casefold().strip(): other for other in known}
    near = difflib.get_close_matches(unicodedata.normalize('NFKC', name).casefold().strip(), plain, 1, 0.6)
    return f' (did you mean {plain[near[0]]!r}?)' if near else ''


def _listed(names: Iterable, few: int = 8) -> str:
    shown = [repr(name) for name in names]
    return ', '.join(shown[:few]) + (f' and {len(shown) - few} more' if len(shown) > few else '')


def _hashable(value: Any) -> Any:
    return value if isinstance(value, (int, float, str)) or value is None else _short(value)


def _is_id(value: Any) -> bool:
    return isinstance(value, str) or (
        isinstance(value, (int, float)) and not isinstance(value, bool) and value == value
    )


def is_box(value: Any) -> TypeGuard[list]:
    """Whether a value is four numbers."""
    return isinstance(value, list) and len(value) == 4 and all(map(is_number, value))


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value is a number that can be a coordinate."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < LARGEST


def _short(value: Any) -> str:
    return f'{value!r:.80}'
