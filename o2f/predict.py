"""Detect on an image, or on all images in a folder and its subfolders.

    python -m o2f.predict photo.jpg --checkpoint epoch_12.pth
    python -m o2f.predict photos --checkpoint runs/desk/92be9c511bdd/epoch_12.pth --out found --score 0.5
    python -m o2f.predict photos --checkpoint weights.pth --config config.py
    python -m o2f.predict val2017 --checkpoint epoch_12.pth --score 0 --annotations instances_val2017.json

The folder of --out then holds

    detections.json  a list in COCO's result format: image_id, category_id, bbox [x, y, width, height], score
    images.json      COCO's annotation format without annotations: the ids of images and categories
    FILE             each image, under its own name, with the detections drawn; .png is added to endings
                     that cannot be written, and a number if another image has that name

An image that fails is named, and the others are done. If it is stopped, both lists have what was found so far.

With a detector that draws masks, each detection also has a 'segmentation'.
"""

import argparse
import contextlib
import errno
import itertools
import json
import os
import sys
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict, FrozenSet, Iterable, Iterator, List, Optional, Sequence, Tuple

import cv2
import matplotlib
import numpy as np
import torch
from matplotlib import font_manager
from mmdet.structures import DetDataSample
from mmdet.visualization import DetLocalVisualizer
from mmengine.structures import InstanceData

warnings.filterwarnings('ignore', message='.*pkg_resources is deprecated')
warnings.filterwarnings('ignore', message='.*torch.meshgrid')
warnings.filterwarnings('ignore', message='Warning: The (bbox|polygon) is out of bounds')  # a box at the edge

from pycocotools import mask as rle  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.progress import track  # noqa: E402

from o2f.errors import InputError, one_line  # noqa: E402
from o2f.inference import Detections, Detector  # noqa: E402
from o2f.io.coco_ids import Names, names_of  # noqa: E402
from o2f.io.images import DRAWN, find_images, read_image  # noqa: E402

#: Errors in writing that are the folder's, and not of one image.
_OF_THE_FOLDER = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)


def main(argv: Optional[List[str]] = None) -> int:
    """Run the command line.

    Returns:
        int: the exit status. 0: all images are done. 1: some failed, the others are done. 2: wrong arguments or
            files. 130: stopped; the images until then are done.
    """
    try:
        return _predict(_parse(argv))
    except InputError as error:
        print(f'predict: {error}', file=sys.stderr)
        return 2
    except OSError as error:
        print(f'predict: {error.filename}: {error.strerror}: choose another folder with --out', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('predict: stopped', file=sys.stderr)
        return 130


def _parse(argv: Optional[List[str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='python -m o2f.predict', description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('images', type=Path, metavar='IMAGE_OR_FOLDER')
    parser.add_argument('--checkpoint', type=Path, required=True, help="a run's epoch_N.pth, or any of mmengine's")
    parser.add_argument('--config', type=Path, help='its config, where it holds none; this file is run as Python')
    parser.add_argument('--out', type=Path, default=Path('predictions'), help='folder to write (default: predictions)')
    parser.add_argument('--score', type=float, default=0.3, help='leave out what has no higher score (default: 0.3)')
    parser.add_argument('--nms', action='store_true', help='give what NMS makes of the detections')
    parser.add_argument('--annotations', type=Path, help="take the ids of images and categories from COCO's file")
    parser.add_argument('--device', help='such as cpu or cuda:1 (default: a GPU where there is one)')
    args = parser.parse_args(argv)
    if not 0 <= args.score <= 1:
        parser.error('--score must be from 0 to 1')
    return args


def _predict(args: argparse.Namespace) -> int:
    files, others = _files(args.images, args.out)
    detector = Detector(args.checkpoint, args.config, args.device)
    names = names_of([name for name, _ in files], detector.classes, args.annotations)
    drawing = Drawing(detector.classes, detector.palette)
    for line in drawing.warnings:
        print(f'predict: {line}', file=sys.stderr)
    args.out.mkdir(parents=True, exist_ok=True)
    images: List[dict] = []
    results: List[dict] = []
    broken, drawn = 0, drawn_names([name for name, _ in files])
    try:
        for name, path in _shown(files, args.images.is_dir()):
            try:
                pixels = read_image(path)
            except InputError as error:
                print(f'predict: {error}', file=sys.stderr)
                broken += 1
                continue
            try:
                found = detector(pixels, args.score, args.nms)
                listed = list(_results(found, names.images[name], names))
                height, width = pixels.shape[:2]
                images.append(dict(id=names.images[name], file_name=name, width=width, height=height))
                results += listed
                drawing.write(pixels, found, args.out / drawn[name])
            except InputError:  # of the arguments, and not of this image
                raise
            except Exception as error:  # one image must not cost the others: it may be too thin, or too large for a GPU
                if isinstance(error, OSError) and error.errno in _OF_THE_FOLDER:
                    raise _cannot_write(args.out / drawn[name], error) from error
                print(f'predict: {path} failed: {one_line(error)}', file=sys.stderr)
                broken += 1
    finally:  # also if it is stopped
        if images or broken:
            _write(args.out / 'detections.json', results)
            _write(args.out / 'images.json', dict(images=images, annotations=[], categories=names.categories))
    failed = f', {broken} failed' if broken else ''
    print(f'{len(results)} detections on {len(images)} images in {args.out}{failed}{_left_out(others)}')
    return 1 if broken else 0


def _left_out(others: Sequence[Path]) -> str:
    """How many files were left out, and their endings."""
    if not others:
        return ''
    kinds = sorted({path.suffix.lower() or path.name for path in others})
    return f', {len(others)} files left out ({", ".join(kinds[:8])}{", ..." if kinds[8:] else ""})'


def drawn_names(names: Sequence[str]) -> Dict[str, str]:
    """The name under which each image is drawn.

    ``.png`` is added unless the ending can be written, and a number before it if another image has that name.
    """
    drawn = {name: name for name in names if Path(name).suffix.lower() in DRAWN}
    taken = set(drawn)
    for name in names:
        if name not in drawn:
            numbered = (f'{name}.{number}.png' for number in itertools.count(2))
            drawn[name] = next(free for free in itertools.chain([f'{name}.png'], numbered) if free not in taken)
            taken.add(drawn[name])
    return drawn


def _files(images: Path, out: Path) -> Tuple[List[Tuple[str, Path]], List[Path]]:
    """Name and path of each image, and the other files of the folder. Names are relative to the folder."""
    if images.is_dir():
        if out.resolve() == images.resolve():
            raise InputError(f'--out {out} would overwrite the images that are read: choose another folder')
        paths, others = find_images(images, leave_out=out)
        if not paths:
            raise InputError(
                f'{images} has no images{_left_out(others)}: it needs files such as .jpg, .png, .bmp, .tif or .webp'
            )
        files = [(path.relative_to(images).as_posix(), path) for path in paths]
    elif images.exists():
        files, others = [(images.name, images)], []
    else:
        raise InputError(f'{images} is missing: name an image or a folder of images')
    _keep_originals(files, out)
    return files, others


def _keep_originals(files: Sequence[Tuple[str, Path]], out: Path) -> None:
    """Refuse a folder in which a drawing would replace an image that is read, or that a link to it names."""
    # Unlike Path.resolve, realpath takes a link to itself as it is.
    originals = {os.path.realpath(path) for _, path in files}
    originals |= {os.path.join(os.path.realpath(path.parent), path.name) for _, path in files}
    for drawn in drawn_names([name for name, _ in files]).values():
        place = out / drawn
        if os.path.join(os.path.realpath(place.parent), place.name) in originals:
            raise InputError(f'--out {out} would overwrite {place}, which is read: choose another folder')


def _shown(files: List[Tuple[str, Path]], is_folder: bool) -> Iterable[Tuple[str, Path]]:
    """The files, with a progress bar if they come from a folder and a terminal is there."""
    console = Console(stderr=True)
    return track(files, 'detecting', console=console, disable=not (is_folder and console.is_terminal))


def _results(found: Detections, image_id: Any, names: Names) -> Iterator[Dict[str, Any]]:
    """An image's detections in COCO's result format."""
    for i, (label, score) in enumerate(zip(found.labels.tolist(), found.scores.tolist())):
        x1, y1, x2, y2 = (round(float(side), 3) for side in found.boxes[i])
        box = [x1, y1, round(x2 - x1, 3), round(y2 - y1, 3)]
        result = dict(image_id=image_id, category_id=names.categories[label]['id'], bbox=box, score=round(score, 6))
        if found.masks is not None:
            mask = rle.encode(np.asfortranarray(found.masks[i], dtype=np.uint8))
            result['segmentation'] = dict(size=mask['size'], counts=mask['counts'].decode())
        yield result


def _write(path: Path, content: Any) -> None:
    """Write to a temporary file and rename it, so that the file is complete or unchanged."""
    aside = path.with_name(f'.{path.name}.{os.getpid()}')
    try:
        aside.write_text(json.dumps(content) + '\n', encoding='utf-8')
        os.replace(aside, path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise _cannot_write(path, error) from error


def _cannot_write(path: Path, error: OSError) -> InputError:
    return InputError(f'{path} cannot be written: {error.strerror}: choose another folder with --out')


def use_fonts(names: Sequence[str]) -> List[str]:
    """Have matplotlib draw names with fonts of this machine that have their letters.

    Args:
        names (sequence[str]): what will be drawn.

    Returns:
        list[str]: a line if letters are left that no font has.
    """
    usual = 'DejaVu Sans'  # comes with matplotlib
    here = _letters(font_manager.findfont(usual))
    letters = {letter for name in names for letter in name if letter.isprintable() and not letter.isspace()}
    missing = {letter for letter in letters if ord(letter) not in here}
    fonts = [usual]
    for entry in font_manager.fontManager.ttflist if missing else ():
        if entry.name.startswith('Last Resort'):  # comes with matplotlib, and has a square for every letter
            continue
        with contextlib.suppress(OSError, RuntimeError):  # a damaged font
            has = {letter for letter in missing if ord(letter) in _letters(entry.fname)}
            if has:
                fonts.append(entry.name)
                missing -= has
    matplotlib.rcParams['font.sans-serif'] = fonts
    if not missing:
        return []
    shown = ''.join(sorted(missing)[:8])
    return [f'no font here has the letters {shown}, which are drawn as squares: install one, such as Noto Sans CJK']


@lru_cache(maxsize=None)
def _letters(path: str) -> FrozenSet[int]:
    """The letters that a font has, as numbers."""
    return frozenset(font_manager.get_font(path).get_charmap())


#: Small images are enlarged by a whole number, until their longer side would have more pixels than this. Names would
#: cover them otherwise.
LEGIBLE = 480


class Drawing:
    """Draws detections: boxes, masks, names and scores, in a colour for each class.

    Args:
        classes (sequence[str]): names of the classes.
        palette (list | str): their colours, see [`Detector`][o2f.inference.Detector].

    Attributes:
        warnings (list[str]): a line if no font here can draw some of the names.
    """

    def __init__(self, classes: Sequence[str], palette: Any) -> None:
        self._visualizer = DetLocalVisualizer(name='o2f')
        plain = tuple(name.replace('$', r'\$') for name in classes)  # between two $, matplotlib reads a formula
        self._visualizer.dataset_meta = dict(classes=plain, palette=palette)
        self.warnings = use_fonts(classes)

    def write(self, image: np.ndarray, found: Detections, path: Path) -> None:
        """Write an image with its detections. The path's extension gives the format. A link there is replaced.

        Args:
            image (ndarray): (H, W, 3) uint8, blue first.
            found (Detections): what to draw. A small image is first enlarged, see ``LEGIBLE``.
            path (Path): the file. Its folder is created.

        Raises:
            OSError: the file cannot be written.
        """
        factor = max(1, LEGIBLE // max(image.shape[:2]))
        size = image.shape[1] * factor, image.shape[0] * factor
        instances = InstanceData(
            bboxes=torch.from_numpy(found.boxes[::-1] * factor),  # the best is drawn last, on top
            scores=torch.from_numpy(found.scores[::-1].copy()),
            labels=torch.from_numpy(found.labels[::-1].copy()),
        )
        if found.masks is not None and len(found):
            masks = [cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) for mask in found.masks]
            instances.masks = np.stack(masks[::-1]).astype(bool)
        aside = path.with_name(f'.{os.getpid()}{path.suffix}')
        try:
            self._visualizer.add_datasample(
                path.name,
                cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), cv2.COLOR_BGR2RGB),
                DetDataSample(pred_instances=instances),
                draw_gt=False,
                pred_score_thr=-1.0,
                out_file=str(aside),
            )
            os.replace(aside, path)
        finally:
            aside.unlink(missing_ok=True)


if __name__ == '__main__':
    sys.exit(main())
