"""Annotation files of other tools, recognised by their content, so that a message can say how to convert them."""

from pathlib import Path
from typing import Any, Optional

#: What converts most of them (docs/own-data.md).
_GLOBOX = 'convert its folder with globox convert --format {} --save_fmt coco --coco_auto_ids'
_LABELME = "labelme's file of one image: " + _GLOBOX.format('labelme')
_VOC = "Pascal VOC's XML of one image: " + _GLOBOX.format('pascalvoc')
_YOLO = "YOLO's text: " + _GLOBOX.format('yolov5')
_CVAT = "CVAT's XML: convert it with globox convert --format cvat --save_fmt coco --coco_auto_ids"


def described(content: Any) -> Optional[str]:
    """Name the format of JSON that is not COCO's, with the cure; None if it is not known.

    Args:
        content: the content of the file.
    """
    first = content[0] if isinstance(content, list) and content else None
    if isinstance(content, dict) and {'shapes', 'imagePath'} <= content.keys():
        return _LABELME
    if isinstance(content, dict) and '_via_img_metadata' in content:
        return "VIA's project: export it from VIA as COCO"
    if isinstance(content, dict) and set(content) == {'images', 'categories'}:
        return "a COCO file without objects, as of test images: give it the list 'annotations', if only an empty one"
    if isinstance(first, dict) and {'image_id', 'bbox', 'score'} <= first.keys():
        return "COCO's result format, that is detections: name the annotation file"
    if isinstance(first, dict) and {'image', 'annotations'} <= first.keys():
        return "CreateML's format: export the dataset as COCO, which Roboflow can"
    if isinstance(first, dict) and 'data' in first and {'annotations', 'completions'} & first.keys():
        return "Label Studio's own JSON: export it from Label Studio as COCO"
    return None


def described_text(path: Path, text: bytes) -> Optional[str]:
    """Name the format of a file that is not JSON, with the cure; None if it is not known.

    Args:
        path (Path): the file.
        text (bytes): its content.
    """
    begin = text[:4096].lstrip(b'\xef\xbb\xbf \r\n\t')
    if begin.startswith(b'<'):
        return _VOC if b'<annotation>' in begin else _CVAT if b'<annotations>' in begin else None
    if path.suffix in ('.yaml', '.yml') and b'names' in text:
        return "YOLO's list of classes and folders: the boxes are in the folder labels, see docs/own-data.md"
    words = begin.splitlines()[0].split() if begin else []
    return _YOLO if len(words) >= 5 and all(map(_is_number, words)) else None


def described_folder(path: Path) -> Optional[str]:
    """Name the format of a folder that was given for an annotation file, with the cure; None if it is not known.

    Args:
        path (Path): the folder.
    """
    if (path / '_annotations.coco.json').is_file():
        return f'a split of an export of Roboflow: name {path / "_annotations.coco.json"}'
    for pattern, format in {'*.xml': _VOC, '*.txt': _YOLO, '*.json': _LABELME}.items():
        if next(path.glob(pattern), None) is not None:
            return f'a folder of {pattern[1:]} files, perhaps {format}'
    return None


def _is_number(word: bytes) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
