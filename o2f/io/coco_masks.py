"""Masks of an annotation file, looked at in the same way by loader, metric and check.

MMDetection leaves objects out of training whose polygons have under three points, without a word, and what else is
wrong with a mask is an error in the middle of a training. Here an object without a mask that can be used is refused.
Of several polygons, those of under three points do not count.
"""

import json
from typing import Any, Container, Iterable, Optional, Sequence, Tuple

import numpy as np
from faster_coco_eval.core import mask as rle
from faster_coco_eval.mask_api_new_cpp import toUncompressedRLE

from o2f.errors import InputError
from o2f.io.coco_file import LARGEST, CocoFile, Tally

#: Numbers of the smallest polygon, which has three points.
_TRIANGLE = 6


def is_loaded(entry: dict) -> bool:
    """Whether MMDetection's dataset takes an annotation: objects and crowds of at least a pixel in both directions."""
    return not entry.get('ignore') and min(entry['bbox'][2:]) >= 1 and entry['area'] > 0


def loaded(file: CocoFile, category_ids: Container[Any]) -> Iterable[dict]:
    """The annotations that a dataset with these categories takes."""
    return (entry for entry in file.annotations if entry['category_id'] in category_ids and is_loaded(entry))


def useful(polygons: Sequence[list]) -> list:
    """Those of an object's polygons that have three points or more."""
    return [polygon for polygon in polygons if len(polygon) >= _TRIANGLE]


def unusable_masks(file: CocoFile, entries: Iterable[dict], polygons_only: bool = False) -> Tally:
    """Count the annotations without a mask that can be used.

    Args:
        file (CocoFile): an annotation file, not read lightly.
        entries (iterable[dict]): those of its annotations whose masks are needed.
        polygons_only (bool): masks are loaded as polygons, which run lengths of objects are not.
    """
    sizes = {entry['id']: (entry.get('height'), entry.get('width')) for entry in file.images}
    found = Tally()
    for entry in entries:
        fault = _fault(entry, sizes[entry['image_id']])
        if not fault and polygons_only and isinstance(entry['segmentation'], dict) and not entry['iscrowd']:
            fault = 'run lengths, which poly2mask=False cannot load'
        if fault:
            found.add(f'the object at bbox {entry["bbox"]} of image {entry["image_id"]!r} has {fault}')
    return found


def refusal_of_masks(file: CocoFile, found: Tally, training: bool) -> Optional[str]:
    """What is said about unusable masks, in one line; None if there are none.

    Args:
        file (CocoFile): the annotation file.
        found (Tally): its unusable masks.
        training (bool): they are learned, and not evaluated on.
    """
    if not found.count:
        return None
    more = f' (and {found.count - 1} more objects have no mask that can be used)' if found.count > 1 else ''
    otherwise = 'train a detector of boxes' if training else 'evaluate boxes alone'
    cure = f'write polygons x1, y1, x2, y2, ... in pixels, or run lengths, or {otherwise}'
    return f'{file.path}: {found.first}{more}: {cure}'


def require_masks(file: CocoFile, entries: Iterable[dict], training: bool, polygons_only: bool = False) -> None:
    """Check masks. The arguments are those of the two functions above.

    Raises:
        InputError: an object has no mask that can be used.
    """
    says = refusal_of_masks(file, unusable_masks(file, entries, polygons_only), training)
    if says is not None:
        raise InputError(says)


def _fault(entry: dict, size: Tuple[Optional[int], Optional[int]]) -> Optional[str]:
    """What is wrong with the mask of an annotation in an image of this height and width, if anything is."""
    given = entry.get('segmentation')
    if not given:
        return 'no segmentation'
    if isinstance(given, dict):
        fault, box = _run_lengths(given, size)
    elif isinstance(given, list):
        fault, box = _polygons(given)
    else:
        fault, box = f'a segmentation {given!r:.80}', None
    if fault or box is None:
        return fault
    x, y, width, height = entry['bbox']
    left, top, right, low = box
    if right <= left or low <= top:
        return f'a segmentation {given!r:.80} without an area'
    if min(x + width, right) <= max(x, left) or min(y + height, low) <= max(y, top):
        return f'a segmentation outside of its bbox: it reaches from {left:g}, {top:g} to {right:g}, {low:g}'
    return None


def _polygons(polygons: list) -> Tuple[Optional[str], Optional[tuple]]:
    """What is wrong with polygons, or their left, top, right and lower ends."""
    for polygon in polygons:
        if not _is_polygon(polygon):
            return f'a segmentation with {polygon!r:.80}, which is no polygon', None
    across = [x for polygon in useful(polygons) for x in polygon[::2]]
    down = [y for polygon in useful(polygons) for y in polygon[1::2]]
    if not across:
        return f'a segmentation {polygons!r:.80} without a polygon of three points', None
    return None, (min(across), min(down), max(across), max(down))


def _is_polygon(polygon: Any) -> bool:
    """Whether it is a list of numbers, two for each point. COCO has 860,001 objects, so this should be fast."""
    if not isinstance(polygon, list) or len(polygon) % 2:
        return False
    try:
        numbers = np.array(polygon)
    except ValueError:  # lists of several lengths
        return False
    return not polygon or (numbers.dtype.kind in 'iuf' and numbers.ndim == 1 and bool((abs(numbers) < LARGEST).all()))


def _run_lengths(given: dict, size: Tuple[Optional[int], Optional[int]]) -> Tuple[Optional[str], Optional[tuple]]:
    """What is wrong with run lengths, or their left, top, right and lower ends."""
    counts, says = given.get('counts'), json.dumps(given, default=str)[:80]
    if not isinstance(counts, (list, str)) or not _is_size(given.get('size')):
        return f'a segmentation {says} without counts and size', None
    if None not in size and given['size'] != list(size):
        return f'run lengths of size {given["size"]}, and its image has height and width {list(size)}', None
    try:
        runs = counts if isinstance(counts, list) else toUncompressedRLE([given])[0]['counts']
        whole = all(type(run) is int and run >= 0 for run in runs)
        if not whole or sum(runs) != given['size'][0] * given['size'][1]:
            return f'run lengths that do not fill its image with whole numbers: {says}', None
        code = rle.frPyObjects(given, *given['size']) if isinstance(counts, list) else given
        left, top, width, height = rle.toBbox(code).tolist()
    except (IndexError, OverflowError, RuntimeError, TypeError, ValueError):
        return f'run lengths that cannot be read: {says}', None
    return (None, (left, top, left + width, top + height)) if any(runs[1::2]) else ('run lengths without a pixel', None)


def _is_size(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(type(side) is int and side > 0 for side in value)
