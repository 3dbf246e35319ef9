"""One look at a dataset before a training depends on it: COCO's format and CrowdHuman's.

What is found is of three kinds. ``refused`` would be trained on wrongly, or not at all. ``changed`` is put right when
the file is loaded. ``noted`` is worth knowing. Annotations are read as the loaders read them
([`o2f.io.coco_file`][]), and a sample of the images is decoded.
"""

import filecmp
import hashlib
import json
import os
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Sequence, Set, Tuple

import numpy as np

from o2f.errors import InputError
from o2f.io.coco_file import CocoFile, Tally, is_box, is_number, moved_classes, read_coco
from o2f.io.coco_masks import is_loaded, loaded, refusal_of_masks, unusable_masks
from o2f.io.images import orientation, read_image

REFUSED, CHANGED, NOTED = 'refused', 'changed', 'noted'
#: Number of images of each file that are decoded, and of images of two files whose digests are compared.
SAMPLE, DIGESTS = 64, 2000
#: The most bytes of a line (one image) in an .odgt file. CrowdHuman's longest lines have about 100,000.
LONGEST_LINE = 2**24
#: What [`o2f.io.coco_file`][] puts right, in words.
_CHANGES = {
    'clipped': 'reach out of their image and are clipped to it',
    'no area': 'have no area and are skipped',
    'outside': 'lie outside of their image and are skipped',
    'boxes': 'lack a bbox, which is taken around their polygons',
    'area': 'lack an area, which is taken from their box',
    'iscrowd': 'lack iscrowd, and are taken as single objects',
    'ids': 'have an id that another has, and are numbered anew',
}


@dataclass(frozen=True)
class Finding:
    """Something found in a dataset.

    Attributes:
        kind (str): ``refused``, ``changed`` or ``noted``.
        file (str): the annotation file.
        says (str): what, where, and the cure, in one line.
        count (int): how often.
    """

    kind: str
    file: str
    says: str
    count: int = 1


def refusal(findings: Iterable[Finding]) -> Optional[str]:
    """The first thing that is refused, and how many more there are; None if nothing is."""
    refused = [finding.says for finding in findings if finding.kind == REFUSED]
    more = f' ({len(refused) - 1} more: python -m o2f.check)' if refused[1:] else ''
    return f'{refused[0]}{more}' if refused else None


@dataclass(frozen=True)
class Source:
    """A dataset to look at.

    Attributes:
        annotations (Path): the annotation file, .json or .odgt.
        images (Path): the folder of its images.
        classes (sequence[str], optional): the config's classes, by default all of the file's.
        training (bool): images are filtered as for training.
        min_size (int): images with a shorter side of fewer pixels are not trained on.
        filter_empty (bool): images without objects are not trained on.
        masks (bool): masks are learned, or evaluated.
        polygons_only (bool): masks are loaded as polygons, which cannot hold run lengths.
    """

    annotations: Path
    images: Path
    classes: Optional[Sequence[str]] = None
    training: bool = True
    min_size: int = 32
    filter_empty: bool = True
    masks: bool = False
    polygons_only: bool = False


@dataclass
class Report:
    """What was found in a dataset.

    Attributes:
        source (Source): the dataset.
        findings (list[Finding]): what was found, the refused first.
        files (list[Path]): the images.
        sizes (dict[Path, int]): bytes of the images that are there.
        objects (dict[str, int]): number of objects of each class.
        crowds (int): number of crowd regions.
        instances (int): entries of the file, crowds and ignored regions included.
        decoded (int): number of images that were decoded.
        most (int): the most objects of an image.
        most_of_class (int): the most objects of one class in an image.
        boxes (ndarray): (n, 2) width and height of the objects over those of their image.
        shapes (ndarray): (n, 2) width and height of their image.
    """

    source: Source
    findings: List[Finding] = field(default_factory=list)
    files: List[Path] = field(default_factory=list)
    sizes: Dict[Path, int] = field(default_factory=dict)
    objects: Dict[str, int] = field(default_factory=dict)
    crowds: int = 0
    instances: int = 0
    decoded: int = 0
    most: int = 0
    most_of_class: int = 0
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    shapes: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))

    def add(self, kind: str, says: str, count: int = 1) -> None:
        """Add a finding, on one line."""
        self.findings.append(Finding(kind, str(self.source.annotations), ' '.join(says.split()), count))

    def of(self, kind: str) -> List[Finding]:
        """The findings of a kind."""
        return [finding for finding in self.findings if finding.kind == kind]

    def require(self) -> 'Report':
        """This report, if nothing is refused.

        Raises:
            InputError: something is refused. The message is the first such line.
        """
        refused = refusal(self.findings)
        if refused is not None:
            raise InputError(refused)
        return self

    def summary(self) -> str:
        """The size of the dataset, in one line."""
        crowds = f', {self.crowds} crowd regions' if self.crowds else ''
        total = sum(self.objects.values())
        return f'{len(self.files)} images, {total} objects of {len(self.objects)} classes{crowds}'


def inspect(source: Source, all_images: bool = False) -> Report:
    """Look at a dataset.

    Args:
        source (Source): the dataset.
        all_images (bool): decode all images instead of a sample.

    Returns:
        Report: what was found. Nothing is raised.
    """
    report = Report(source)
    try:
        if source.annotations.suffix == '.odgt':
            expected = _crowdhuman(report)
        else:
            expected = _coco(report)
    except InputError as error:
        report.add(REFUSED, str(error))
        return report
    if not source.training and report.files and not any(report.objects.values()) and not report.of(REFUSED):
        names = ', '.join(map(repr, list(report.objects)[:8]))
        says = f'nothing to evaluate on: {len(report.files)} images without a usable object of {names}: add the objects'
        report.add(REFUSED, f'{source.annotations}: {says}')
    if _files(report):
        _decode(report, expected, all_images)
    report.findings.sort(key=lambda finding: (REFUSED, CHANGED, NOTED).index(finding.kind))
    return report


# --- COCO ---------------------------------------------------------------------------------------------------


def _coco(report: Report) -> List[tuple]:
    """Look at a COCO file. Returns the size of each image as the file has it, or None twice."""
    source = report.source
    file = read_coco(source.annotations, source.images, light=not source.masks, need_annotations=source.training)
    for fault in file.faults:
        report.add(REFUSED, fault)
    for kind, tally in file.changes.items():
        what = 'images lack width and height, which are taken from their files' if kind == 'sizes' else ''
        what = what or f'annotations {_CHANGES[kind]}'
        report.add(CHANGED, f'{tally.count} {what} (first: {tally.first})', tally.count)
    report.files = [source.images / entry['file_name'] for entry in file.images]
    report.instances = len(file.annotations) + sum(
        file.changes.get(kind, Tally()).count for kind in ('no area', 'outside')
    )
    known = {entry['id']: entry['name'] for entry in file.categories}
    try:
        classes = list(dict.fromkeys(known.values())) if source.classes is None else source.classes
        wanted = dict(zip(file.category_ids(classes), classes))
    except InputError as error:
        report.add(REFUSED, str(error))
    else:
        _count(report, file, wanted, known)
        _look_like(report, file)
    return [
        (None, None) if entry['id'] in file.measured else (entry.get('width'), entry.get('height'))
        for entry in file.images
    ]


def _count(report: Report, file: CocoFile, wanted: Dict[Any, str], known: Dict[Any, str]) -> None:
    """Count objects as the loader takes them, and what it leaves out."""
    source = report.source
    sizes = {
        entry['id']: (entry['width'], entry['height'])
        for entry in file.images
        if 'width' in entry and 'height' in entry
    }
    others: Counter = Counter()
    tiny, ignored, repeated = Tally(), Tally(), Tally()
    usable: List[tuple] = []
    listed, seen = set(), set()
    for entry in file.annotations:
        image, category, (x, y, width, height) = entry['image_id'], entry['category_id'], entry['bbox']
        if category not in wanted:
            others[known[category]] += 1
            continue
        listed.add(image)
        if entry.get('ignore'):
            ignored.add(f'image {image!r}')
        elif not is_loaded(entry):
            tiny.add(f'bbox {entry["bbox"]} of image {image!r}')
        elif entry['iscrowd']:
            report.crowds += 1
        else:
            usable.append((image, category, width, height))
            key = hash((image, category, x, y, width, height))  # a set of the tuples would take 200 MB on COCO
            if key in seen:
                repeated.add(f'bbox {entry["bbox"]} of image {image!r}')
            seen.add(key)
    report.objects = dict.fromkeys(wanted.values(), 0)
    for category, number in Counter(category for _, category, *_ in usable).items():
        report.objects[wanted[category]] += number
    report.most = max(Counter(image for image, *_ in usable).values(), default=0)
    report.most_of_class = max(Counter((image, category) for image, category, *_ in usable).values(), default=0)
    if usable and sizes:
        report.shapes = np.array([sizes.get(image, (np.nan, np.nan)) for image, *_ in usable], float)
        report.boxes = np.array([(width, height) for *_, width, height in usable], float)
    if source.masks:
        _masks(report, file, wanted)
    if others:
        names = ', '.join(f'{name!r} ({number})' for name, number in others.most_common(6))
        report.add(
            CHANGED, f'{sum(others.values())} objects of other classes are left out: {names}', sum(others.values())
        )
    if ignored.count:
        report.add(CHANGED, f'{ignored.count} objects marked ignore are not trained on or counted', ignored.count)
    if tiny.count:
        says = f'{tiny.count} objects of under 1 pixel, or with area 0, are not trained on (first: {tiny.first})'
        report.add(CHANGED, says, tiny.count)
    if report.crowds:
        says = (
            f'{report.crowds} crowd regions (iscrowd) are not trained on, and finding them is neither right nor wrong'
        )
        report.add(NOTED, says, report.crowds)
    if repeated.count:
        says = f'{repeated.count} objects are listed twice, with the same class and box (first: {repeated.first})'
        report.add(NOTED, says, repeated.count)
    _left(report, file, listed, {image for image, *_ in usable}, sizes)
    empty = [name for name, number in report.objects.items() if not number]
    if empty and len(empty) < len(report.objects):
        says = f'no object of {len(empty)} class(es): {", ".join(map(repr, empty[:8]))}{", ..." if empty[8:] else ""}'
        report.add(NOTED, says, len(empty))


def _masks(report: Report, file: CocoFile, wanted: Dict[Any, str]) -> None:
    """Refuse masks that cannot be used. The metric needs those of objects that the loader leaves out as well."""
    source = report.source
    of_wanted = (entry for entry in file.annotations if entry['category_id'] in wanted)
    unusable = unusable_masks(file, loaded(file, wanted) if source.training else of_wanted, source.polygons_only)
    if says := refusal_of_masks(file, unusable, source.training):
        report.add(REFUSED, says, unusable.count)
    if file.measured and not source.training:
        says = f'image {min(file.measured, key=str)!r} has no width and height, which masks need: add them'
        report.add(REFUSED, f'{source.annotations}: {says}', len(file.measured))


def _left(report: Report, file: CocoFile, listed: set, trained: set, sizes: Dict[Any, tuple]) -> None:
    """Count the images that are left out of training, and refuse a dataset of which nothing is left.

    ``listed`` are the images with an annotation of the classes, and ``trained`` those with one that is learned."""
    source = report.source
    if not file.images:
        return report.add(REFUSED, f'{source.annotations}: it lists no image: add the images and their objects')
    if not source.training:
        return None
    small = {image for image, size in sizes.items() if min(size) < source.min_size}
    every = {entry['id'] for entry in file.images}
    without = every - listed if source.filter_empty else set()
    fractions = file.annotations and all(max(entry['bbox']) <= 1 for entry in file.annotations)
    if not trained - small and not file.faults:
        hint = ': the boxes look like fractions of the image; write them in pixels' if fractions else ''
        return report.add(
            REFUSED,
            f'{source.annotations}: nothing to train on: {len(file.images)} images, {len(small)} under '
            f'{source.min_size} pixels, {len(every - trained)} without a usable object of '
            f'{", ".join(map(repr, list(report.objects)[:8]))}{hint}',
        )
    if small:
        names = [entry['file_name'] for entry in file.images if entry['id'] in small]
        says = f'{len(small)} images with a side under {source.min_size} pixels are left out of training'
        report.add(CHANGED, f'{says} (first: {names[0]})', len(small))
    if without - small:
        says = f'{len(without - small)} images without an object of the classes are left out of training'
        report.add(CHANGED, says, len(without - small))
    return None


def _look_like(report: Report, file: CocoFile) -> None:
    """Note boxes that look like corners (x1, y1, x2, y2) or fractions."""
    clipped = file.changes.get('clipped', Tally()).count + file.changes.get('outside', Tally()).count
    boxes = np.array([entry['bbox'] for entry in file.annotations], float).reshape(-1, 4)
    if not len(boxes):
        return
    if boxes.max() <= 1:
        report.add(NOTED, 'the boxes look like fractions of the image: COCO has pixels', len(boxes))
    elif clipped > 0.2 * (len(boxes) + clipped) and clipped > 1:
        says = f'{clipped} of {len(boxes)} boxes reach out of their image: are they corners x1, y1, x2, y2?'
        report.add(NOTED, f'{says} COCO has x, y, width, height', clipped)


# --- CrowdHuman ---------------------------------------------------------------------------------------------


def _crowdhuman(report: Report) -> List[tuple]:
    """Look at an .odgt file, one image in JSON a line, and at the file of image sizes beside it if there is one.

    Boxes may exceed their image, as full-body boxes do."""
    source = report.source
    lines = _read(source.annotations).strip().split(b'\n')
    first: Dict[str, int] = {}
    flat = Tally()
    people: Counter = Counter()
    for number, line in enumerate(lines, 1):
        where = f'{source.annotations}, line {number}'
        name, entries = _crowd(where, line, flat)
        report.instances += len(entries)
        if first.setdefault(name, number) != number:
            raise InputError(f'{where}: the image {name} is on line {first[name]} already: take one of the two out')
        if '/' in name or '\\' in name:
            raise InputError(f'{where}: the ID {name[:200]!r} is no path within its folder: name the image alone')
        people[name] = sum(entry['tag'] == 'person' and not entry.get('extra', {}).get('ignore') for entry in entries)
    if flat.count:
        report.add(
            CHANGED, f'{flat.count} full boxes have no area and are not learned (first: {flat.first})', flat.count
        )
    report.objects = dict(person=sum(people.values()))
    report.most = report.most_of_class = max(people.values(), default=0)
    report.files = [source.images / f'{name}.jpg' for name in first]
    _check_sizes(source.annotations, first)
    return [(None, None)] * len(first)


def _crowd(where: str, line: bytes, flat: Tally) -> Tuple[str, list]:
    """Check one line of an .odgt file. Returns the image's ID and its entries."""
    if len(line) > LONGEST_LINE:
        raise InputError(f'{where} has {len(line) / 2**20:.0f} MiB: each image has a line of its own; write it again')
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = getattr(error, 'msg', error)  # str(error) would count lines within this line
        raise InputError(f'{where} is not JSON ({reason}): fetch or write the file again') from error
    if not isinstance(record, dict) or not isinstance(record.get('ID'), str):
        raise InputError(f"{where} lacks the image's 'ID': {str(record)[:80]}")
    if not isinstance(record.get('gtboxes'), list):
        raise InputError(f"{where}: image {record['ID']} lacks the list 'gtboxes': give it one, if only an empty one")
    for index, entry in enumerate(record['gtboxes']):
        _check_person(f'{where}, gtboxes[{index}]', entry, flat)
    return record['ID'], record['gtboxes']


def _check_person(where: str, entry: Any, flat: Tally) -> None:
    for key in ('tag', 'fbox', 'hbox', 'vbox'):
        if not isinstance(entry, dict) or key not in entry:
            raise InputError(f'{where} lacks the key {key!r}: {str(entry)[:80]}')
    for key in ('extra', 'head_attr'):
        if not isinstance(entry.get(key, {}), dict):
            raise InputError(f'{where}: {key} {str(entry[key])[:80]} must be a mapping, such as {{}}')
    for key in ('fbox', 'hbox', 'vbox'):
        if not is_box(entry[key]):
            raise InputError(f'{where}: {key} {entry[key]} must be four numbers x, y, width, height')
    if min(entry['fbox'][2:]) <= 0:
        flat.add(f'{where}: fbox {entry["fbox"]}')


def _check_sizes(annotations: Path, names: Iterable[str]) -> None:
    """Check id_hw_train.json or id_hw_val.json. If it is missing, MMDetection opens every image once and writes it."""
    path = sizes_file(annotations)
    if not path.exists():
        return
    try:
        sizes = json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise InputError(f'{path} is not JSON ({error}): fetch or write it again') from error
    for name in names:
        size = sizes.get(name) if isinstance(sizes, dict) else None
        if not (isinstance(size, list) and len(size) == 2 and all(is_number(side) and side > 0 for side in size)):
            raise InputError(f'{path} lacks height and width of image {name}: delete the file, and it is written again')


def sizes_file(annotations: Path) -> Path:
    """The file beside an .odgt file in which MMDetection keeps the sizes of the images."""
    return annotations.with_name(f'id_hw_{"train" if "train" in annotations.name else "val"}.json')


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f'{path} is missing: put the annotations there, or correct the path') from None
    except OSError as error:
        raise InputError(f'{path} cannot be read: {error.strerror}') from error


# --- images -------------------------------------------------------------------------------------------------


def _files(report: Report) -> bool:
    """Check that all images are there and have a content. False if not."""
    source = report.source
    missing, empty = Tally(), Tally()
    if not source.images.is_dir():
        says = f'{source.images}: the images of {source.annotations} are not there: correct the folder'
        report.add(REFUSED, says)
        return False
    for path in report.files:
        try:
            size = os.stat(path).st_size
        except (OSError, ValueError):  # missing, or not a valid file name
            missing.add(str(path.relative_to(source.images)))
            continue
        if size:
            report.sizes[path] = size
        else:
            empty.add(str(path))
    if missing.count:
        name = missing.first[:200]
        cure = 'write folders in names with / instead of \\' if '\\' in name else 'add it, or take its entry out'
        more = f' ({missing.count - 1} more are missing)' if missing.count > 1 else ''
        says = f'{source.annotations} names the image {name!r}, which is not in {source.images}{more}: {cure}'
        report.add(REFUSED, says, missing.count)
    if empty.count:
        more = f' ({empty.count - 1} more)' if empty.count > 1 else ''
        report.add(REFUSED, f'{empty.first} is an empty file{more}: fetch it again, or take its entry out', empty.count)
    twice = [path for path, number in Counter(report.files).items() if number > 1]
    if twice:
        report.add(NOTED, f'{len(twice)} images are listed more than once (first: {twice[0].name})', len(twice))
    return bool(report.sizes)


def _decode(report: Report, expected: Sequence[tuple], all_images: bool) -> None:
    """Decode images spread evenly over the file, and compare their sizes with the file's."""
    step = 1.0 if all_images else max(len(report.files) / SAMPLE, 1)
    places = [int(index * step) for index in range(int(len(report.files) / step))]
    broken, other, turned, mirrored = Tally(), Tally(), Tally(), Tally()
    for place in places:
        path, size = report.files[place], expected[place]
        if path not in report.sizes:
            continue
        report.decoded += 1
        try:
            height, width = read_image(path).shape[:2]
            turn = orientation(path)
        except InputError as error:
            broken.add(str(error))
            continue
        if None in size or (width, height) == tuple(size):
            is_open = turn > 4 and (None in size or width == height)
            if turn in (2, 3, 4) or is_open:  # the size does not tell what the boxes are for
                mirrored.add(f'{path} has the EXIF orientation {turn}')
            continue
        says = f'{path} has {width} x {height} pixels, not {size[0]} x {size[1]} as in {report.source.annotations}'
        (turned if turn > 4 and (height, width) == tuple(size) else other).add(says)
    of = f' of {report.decoded} images looked at' if report.decoded < len(report.files) else ''
    for tally, kind, cure in (
        (broken, REFUSED, 'replace it, or take its entry out'),
        (other, REFUSED, 'correct the file, or fetch the image again'),
        (turned, NOTED, 'EXIF data turn the image when it is loaded, but not its boxes; save it turned, without them'),
        (
            mirrored,
            NOTED,
            'the image is turned or mirrored when it is loaded, but not its boxes; if they were drawn without EXIF '
            'data, save it turned, without them',
        ),
    ):
        if tally.count:
            more = f' ({tally.count - 1} more{of})' if tally.count > 1 else ''
            report.add(kind, f'{tally.first}{more}: {cure}', tally.count)


# --- two datasets, and a model ------------------------------------------------------------------------------


def compare(train: Report, val: Report) -> List[Finding]:
    """What is worth knowing of two datasets together: classes of only one, images in both, and, which is refused,
    classes that have other labels in one than in the other.

    Args:
        train (Report): the training data.
        val (Report): the validation data.
    """
    found: List[Finding] = []

    def note(says: str, count: int) -> None:
        found.append(Finding(NOTED, str(val.source.annotations), says, count))

    moved = moved_classes(train.source.classes, val.source.classes)
    if moved:
        says = f'{val.source.annotations}: class {moved[0]!r} has another label than in {train.source.annotations}'
        says += ': give classes (metainfo) of both in one order'
        found.append(Finding(REFUSED, str(val.source.annotations), says, len(moved)))
    for one, other in ((train, val), (val, train)):
        lacks = [name for name, number in one.objects.items() if number and not other.objects.get(name)]
        if lacks and other.objects:
            names = ', '.join(map(repr, lacks[:8])) + (', ...' if lacks[8:] else '')
            note(
                f'{len(lacks)} class(es) with objects in {one.source.annotations} have none here: {names}'
                if other is val
                else f'{len(lacks)} class(es) with objects here have none in {other.source.annotations}: {names}',
                len(lacks),
            )
    same = _same_images(train.sizes, val.sizes)
    if same:
        of_train, of_val = same[0]
        note(
            f'{len(same)} images are also in {train.source.annotations} (first: {of_val} is {of_train}): '
            'metrics on them are too good',
            len(same),
        )
    return found


def _same_images(train: Dict[Path, int], val: Dict[Path, int]) -> List[Tuple[Path, Path]]:
    """Images of equal content. Only files of equal size are read, at most ``DIGESTS``."""
    by_size: Dict[int, List[Path]] = {}
    for path, size in train.items():
        by_size.setdefault(size, []).append(path)
    digests: Dict[Path, bytes] = {}

    def digest(path: Path) -> bytes:
        if path not in digests:
            digests[path] = hashlib.sha256(path.read_bytes()).digest()
        return digests[path]

    same = []
    for path, size in val.items():
        if len(digests) > DIGESTS:
            break
        for other in by_size.get(size, ()):
            if path == other or digest(path) == digest(other):
                same.append((other, path))
                break
    return same


def fit(
    report: Report, scale: Tuple[int, int], strides: Sequence[int], max_per_img: int, max_dets: int
) -> List[Finding]:
    """What is worth knowing of a dataset and a model together.

    Args:
        report (Report): the dataset.
        scale (tuple[int, int]): longest and shortest side that images are resized to.
        strides (sequence[int]): pixels between the cells of each feature map.
        max_per_img (int): the most detections of an image.
        max_dets (int): the most detections of a class in an image that the metric counts.
    """
    found: List[Finding] = []

    def note(says: str, count: int = 1) -> None:
        found.append(Finding(NOTED, str(report.source.annotations), says, count))

    if report.most > max_per_img:
        note(
            f'an image has {report.most} objects, and at most {max_per_img} are detected: raise '
            'model.test_cfg.max_per_img'
        )
    if report.most_of_class > max_dets:
        note(
            f'an image has {report.most_of_class} objects of a class, and {max_dets} detections of it count: '
            'set max_dets in the evaluators'
        )
    if len(report.boxes):
        short, long = report.shapes.min(axis=1), report.shapes.max(axis=1)
        factor = np.minimum(min(scale) / short, max(scale) / long)
        sides = np.sqrt(report.boxes.prod(axis=1)) * factor
        below = float((sides < strides[0]).mean())
        if below > 0.2:
            note(
                f'{100 * below:.0f} % of the objects are smaller than a cell of the finest feature map '
                f'({strides[0]} pixels after resizing to {tuple(scale)}): resize to larger images',
                int((sides < strides[0]).sum()),
            )
    return found


def sources_of(loader: dict, training: bool) -> List[Source]:
    """The datasets of a loader's config, whatever wraps them.

    Args:
        loader (dict): such as ``config.train_dataloader``.
        training (bool): whether it is a loader of training data.

    Returns:
        list[Source]: those with a local annotation file in COCO's or CrowdHuman's format.
    """
    todo, found = [loader.get('dataset')], []
    while todo:
        settings = todo.pop(0)
        if not isinstance(settings, dict):
            continue
        if 'dataset' in settings or 'datasets' in settings:
            todo += [settings.get('dataset'), *settings.get('datasets', ())]
        elif str(settings.get('ann_file', '')).endswith(('.json', '.odgt')) and not _is_remote(settings):
            found.append(_source(settings, training))
    return found


def _sources(config: dict, name: str) -> List[Source]:
    """The datasets of a config's training or validation. Those of validation need masks also if the metric does."""
    sources = sources_of(config.get(f'{name}_dataloader') or {}, name == 'train')
    evaluator = config.get('val_evaluator') if name == 'val' else None
    metrics = [each for each in (evaluator if isinstance(evaluator, (list, tuple)) else [evaluator]) if each]
    if any(metric.get('masks') or 'segm' in (metric.get('metric') or ()) for metric in metrics):
        sources = [replace(source, masks=True) for source in sources]
    return sources


def other_file(loader: dict, evaluator: Any) -> Optional[str]:
    """What is wrong if an evaluator reads another annotation file than its loader; None if nothing is.

    Files of equal content are no fault. Several datasets in one loader are not compared.

    Args:
        loader (dict): such as ``config.val_dataloader``.
        evaluator (dict | list | None): such as ``config.val_evaluator``.
    """
    sources = sources_of(loader, training=False)
    metrics = evaluator if isinstance(evaluator, (list, tuple)) else [evaluator]
    files = [Path(each['ann_file']) for each in metrics if isinstance(each, dict) and each.get('ann_file')]
    for file in files if len(sources) == 1 else []:
        read = sources[0].annotations
        if file.is_file() and read.is_file() and not filecmp.cmp(file, read, shallow=False):
            return f'the evaluator reads {file}, and its loader {read}: give ann_file of both the same file'
    return None


def _is_remote(settings: dict) -> bool:
    """Whether the dataset is read through another backend of mmengine than that of local files."""
    backend = (settings.get('backend_args') or {}).get('backend', 'local')
    return backend != 'local' or '://' in f'{settings.get("data_root") or ""}{settings["ann_file"]}'


def _source(settings: dict, training: bool) -> Source:
    root = Path(settings.get('data_root') or '')
    prefix = settings.get('data_prefix') or {}
    filters = settings.get('filter_cfg') or {}
    classes = _classes(settings)
    steps = [step for step in settings.get('pipeline') or () if isinstance(step, dict)]
    return Source(
        annotations=root / settings['ann_file'],
        images=root / (prefix.get('img') or prefix.get('img_path') or ''),
        classes=tuple(classes) if isinstance(classes, list) else classes,
        training=training,
        min_size=filters.get('min_size', 0),
        filter_empty=filters.get('filter_empty_gt', False),
        masks='Masks' in str(settings.get('type')) or any(step.get('with_mask') for step in steps),
        polygons_only=any(step.get('poly2mask') is False for step in steps),
    )


def _classes(settings: dict) -> Any:
    """The classes of a dataset's config: names, the name of a file with a name a line, or those of its type."""
    from mmdet.registry import DATASETS

    classes = (settings.get('metainfo') or {}).get('classes')
    if classes is None:
        registered = DATASETS.get(settings.get('of') or settings['type'])
        return getattr(registered, 'METAINFO', {}).get('classes')
    if isinstance(classes, str) and Path(classes).is_file():
        return Path(classes).read_text(encoding='utf-8').splitlines()
    return classes


def model_settings(config: dict) -> Optional[dict]:
    """What [`fit`][] needs to know of a config, or None if it is not there."""
    try:
        [loader] = sources_of(config['val_dataloader'], False)[:1]
        dataset = config['val_dataloader']['dataset']
        while 'dataset' in dataset:
            dataset = dataset['dataset']
        [scale] = [step['scale'] for step in dataset['pipeline'] if step.get('type') == 'Resize'][:1]
        model, evaluator = config['model'], config['val_evaluator']
        strides = model['bbox_head']['strides']
        limit = model['test_cfg']['max_per_img']
        counted = (evaluator[0] if isinstance(evaluator, list) else evaluator).get('max_dets') or 100
        sides = (scale, scale) if isinstance(scale, int) else tuple(scale)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return None
    return dict(scale=sides, strides=strides, max_per_img=limit, max_dets=counted)


def inspect_once(configs: Sequence[dict], all_images: bool = False) -> Iterator[Report]:
    """Look at the datasets of several configs, each dataset once.

    Args:
        configs (sequence[dict]): see [`inspect_config`][].
        all_images (bool): see [`inspect_config`][].

    Yields:
        Report: a dataset, with what is worth knowing of it together with others and with the model.
    """
    seen: Set[Any] = set()
    look = cache(inspect)
    for config in configs:
        sources = tuple(source for name in ('train', 'val') for source in _sources(config, name))
        if sources in seen:
            continue
        seen.add(sources)
        reports, both = inspect_config(config, all_images, look)
        for report in reports:
            report.findings += [finding for finding in both if finding.file == str(report.source.annotations)]
            if report.source not in seen:
                seen.add(report.source)
                yield report


def inspect_config(
    config: dict, all_images: bool = False, look: Callable[[Source, bool], Report] = inspect
) -> Tuple[List[Report], List[Finding]]:
    """Look at the training and validation data of a config.

    Args:
        config (dict): a config of mmengine with ``train_dataloader`` and ``val_dataloader``.
        all_images (bool): decode all images instead of a sample.
        look (callable): [`inspect`][o2f.io.dataset_check.inspect], or one that remembers.

    Returns:
        tuple[list[Report], list[Finding]]: a report for each dataset, and what is worth knowing of them together.
    """
    sources = {name: _sources(config, name) for name in ('train', 'val')}
    reports = {name: [look(source, all_images) for source in of_name] for name, of_name in sources.items()}
    both = [finding for one in reports['train'] for other in reports['val'] for finding in compare(one, other)]
    settings = model_settings(config)
    every = [*reports['train'], *reports['val']]
    other = other_file(config.get('val_dataloader') or {}, config.get('val_evaluator'))
    both += [Finding(REFUSED, str(sources['val'][0].annotations), other)] if other else []
    return every, both + [finding for report in every if settings for finding in fit(report, **settings)]
