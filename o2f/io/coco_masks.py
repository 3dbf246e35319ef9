"""Masks of an annotation file, looked at once in the same way by loader, metric and check.

MMDetection leaves objects out of training whose polygons have under three points, without a word, and what else is
wrong with a mask is an error in the middle of a training. Here each object without a mask that can be used is refused,
except that a polygon of under three points beside others is left out, as MMDetection does.
"""

import json
from typing import Any, Container, Dict, Iterable, Optional, Tuple

from faster_coco_eval.core import mask as rle

from o2f.errors import InputError
from o2f.io.coco_file import CocoFile, Tally, box_around, is_number

#: Numbers of the smallest polygon, which has three points.
_TRIANGLE = 6


def is_loaded(entry: dict) -> bool:
    """Whether MMDetection's dataset takes an annotation: objects and crowds of at least a pixel in both directions."""
    return not entry.get('ignore') and min(entry['bbox'][2:]) >= 1 and entry['area'] > 0


def of_classes(file: CocoFile, category_ids: Container[Any]) -> Iterable[dict]:
    """The annotations that a dataset with these categories takes."""
    return (entry for entry in file.annotations if entry['category_id'] in category_ids and is_loaded(entry))


def unusable_masks(file: CocoFile, entries: Iterable[dict]) -> Tally:
    """Count the annotations without a mask that can be used. Useless polygons of others are taken out.

    Args:
        file (CocoFile): an annotation file, not read lightly.
        entries (iterable[dict]): those of its annotations whose masks are needed.
    """
    sizes = {entry['id']: (entry.get('height'), entry.get('width')) for entry in file.images}
    found = Tally()
    for entry in entries:
        fault = _fault(entry, sizes[entry['image_id']])
        if fault:
            found.add(f'the object at bbox {entry["bbox"]} of image {entry["image_id"]!r} has {fault}')
    return found


def require_masks(file: CocoFile, entries: Iterable[dict], use: str) -> None:
    """Check masks.

    Args:
        file (CocoFile): see [`unusable_masks`][o2f.io.coco_masks.unusable_masks].
        entries (iterable[dict]): see [`unusable_masks`][o2f.io.coco_masks.unusable_masks].
        use (str): see [`refused`][o2f.io.coco_masks.refused].

    Raises:
        InputError: an object has no mask that can be used.
    """
    found = unusable_masks(file, entries)
    if found.count:
        raise InputError(refused(file, found, use))


def refused(file: CocoFile, found: Tally, use: str) -> str:
    """What is said about unusable masks, in one line.

    Args:
        file (CocoFile): the annotation file.
        found (Tally): its unusable masks.
        use (str): what can be done without masks, such as 'train a detector of boxes'.
    """
    more = f' (and {found.count - 1} more objects have no mask that can be used)' if found.count > 1 else ''
    return f'{file.path}: {found.first}{more}: write polygons x1, y1, x2, y2, ... or run lengths in pixels, or {use}'


def _fault(entry: dict, size: Tuple[Optional[int], Optional[int]]) -> Optional[str]:
    """What is wrong with the mask of an annotation in an image of this height and width, if anything is."""
    given = entry.get('segmentation')
    if not given:
        return 'no segmentation'
    if isinstance(given, dict):
        fault, box = _run_lengths(given, size)
    elif isinstance(given, list):
        fault, box = _polygons(entry)
    else:
        fault, box = f'a segmentation {given!r:.80}', None
    if fault or box is None:
        return fault
    x, y, width, height = entry['bbox']
    left, top, across, down = box
    if min(x + width, left + across) <= max(x, left) or min(y + height, top + down) <= max(y, top):
        return f'a segmentation that lies outside of its bbox, within {[round(side, 2) for side in box]}'
    return None


def _polygons(entry: dict) -> Tuple[Optional[str], Optional[list]]:
    """What is wrong with polygons, or the box around them."""
    for polygon in entry['segmentation']:
        if not isinstance(polygon, list) or len(polygon) % 2 or not all(map(is_number, polygon)):
            return f'a segmentation with {polygon!r:.80}, which is no polygon', None
    left = [polygon for polygon in entry['segmentation'] if len(polygon) >= _TRIANGLE]
    if not left:
        return f'a segmentation {entry["segmentation"]!r:.80} without a polygon of three points', None
    entry['segmentation'][:] = left
    return None, box_around(left)


def _run_lengths(given: Dict[str, Any], size: Tuple[Optional[int], Optional[int]]) -> Tuple[Optional[str], Any]:
    """What is wrong with run lengths, or the box around them."""
    counts, says = given.get('counts'), json.dumps(given, default=str)[:80]
    if not isinstance(counts, (list, str)) or not isinstance(given.get('size'), list):
        return f'a segmentation {says} without counts and size', None
    if None not in size and given['size'] != list(size):
        return f'run lengths of size {given["size"]}, and its image has height and width {list(size)}', None
    try:
        code = rle.frPyObjects(given, *given['size']) if isinstance(counts, list) else given
        rle.decode(code)  # checks that the runs fill the image
        box = rle.toBbox(code).tolist()
    except (OverflowError, RuntimeError, TypeError, ValueError):
        return f'run lengths that do not fill its image: {says}', None
    return (None, box) if rle.area(code) else ('run lengths without a pixel', None)
