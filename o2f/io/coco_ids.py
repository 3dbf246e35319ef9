"""The ids of images and categories in COCO's files."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from o2f.errors import InputError


@dataclass(frozen=True)
class Names:
    """Ids in COCO's files.

    Attributes:
        images (dict): the id of each image by its file name.
        categories (list[dict]): the category of each label, with ``id`` and ``name``.
    """

    images: Dict[str, Any]
    categories: List[Dict[str, Any]]


def names_of(files: Sequence[str], classes: Sequence[str], annotations: Optional[Path]) -> Names:
    """Choose the ids of images and categories.

    Args:
        files (sequence[str]): names of the images, in order.
        classes (sequence[str]): names of the categories, in the order of their labels.
        annotations (Path, optional): a COCO annotation file with the ids. Without one, ids count from 1.

    Returns:
        Names: the ids.

    Raises:
        InputError: the file cannot be read, or it lacks an image or a class.
    """
    if annotations is None:
        images = {name: number for number, name in enumerate(files, 1)}
        return Names(images, [dict(id=number, name=name) for number, name in enumerate(classes, 1)])
    content = _load(annotations)
    images, categories = (
        _ids(annotations, content, *keys) for keys in (('images', 'file_name'), ('categories', 'name'))
    )
    for kind, listed, wanted in (('image', images, files), ('category', categories, classes)):
        missing = [name for name in wanted if name not in listed]
        if missing:
            raise InputError(f'{annotations} lists no {kind} {missing[0]!r}: leave --annotations out, or name its file')
    return Names({name: images[name] for name in files}, [dict(id=categories[name], name=name) for name in classes])


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path} is missing: name a file of annotations in COCO's format") from None
    except OSError as error:
        raise InputError(f'{path} cannot be read: {error.strerror}') from error
    except (ValueError, RecursionError) as error:
        raise InputError(f'{path} is not JSON ({error})') from error


def _ids(path: Path, content: Any, part: str, name: str) -> Dict[str, Any]:
    entries = content.get(part) if isinstance(content, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f'{path} has no list {part!r}: it must be a file of annotations in the format of COCO')
    found = {entry[name]: entry['id'] for entry in entries if isinstance(entry.get(name), str) and 'id' in entry}
    if len(found) != len(entries):
        raise InputError(f'{path}: each entry of {part!r} must have an id and a {name} of its own')
    return found
