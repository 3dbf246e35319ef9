"""COCO datasets whose labels go by the names of the classes, and images that are named when they cannot be read.

MMDetection labels in the order of the annotation file's categories, whatever the order of ``classes``. If the two
differ, or those of training and validation do, all names are wrong and AP is near 0. Importing o2f therefore replaces
MMDetection's ``CocoDataset`` in its registry.
"""

import warnings
from functools import partial
from typing import Any, List, Optional, Sequence

import mmdet.datasets.crowdhuman
import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmdet.datasets import CocoDataset as MMDetectionCocoDataset
from mmdet.datasets.api_wrappers import COCO
from mmdet.registry import DATASETS, TRANSFORMS
from mmengine.fileio import get, get_text

from o2f.errors import InputError
from o2f.io.coco_file import CocoFile, read_coco
from o2f.io.coco_masks import loaded, require_masks
from o2f.io.images import decode, named

#: Reads the text of a local or remote file, with or without a byte order mark.
read_text = partial(get_text, encoding='utf-8-sig')
# JSON with a byte order mark is an error to MMDetection's CrowdHumanDataset.
mmdet.datasets.crowdhuman.get_text = read_text


@DATASETS.register_module(force=True)
class CocoDataset(MMDetectionCocoDataset):
    """MMDetection's COCO dataset, except that label i is ``classes[i]`` whatever the order of the file's categories.

    The file is read by [`read_coco`][o2f.io.coco_file.read_coco]: ids may be anything, and what can be filled in may be
    missing. Images that cannot be read are named.

    Args:
        *args (Any): arguments of MMDetection's ``CocoDataset``.
        pipeline (sequence[dict]): configs of the transforms.
        **kwargs (Any): arguments of MMDetection's ``CocoDataset``.

    Raises:
        InputError: the file cannot be used, ``classes`` do not fit it, or no image is left to train on.
    """

    def __init__(self, *args: Any, pipeline: Sequence = (), **kwargs: Any) -> None:
        super().__init__(*args, pipeline=[_naming(step) for step in pipeline], **kwargs)

    def load_data_list(self) -> List[dict]:
        """The images and their objects, as MMDetection's dataset lists them."""
        self._file = self._read()
        content, ids = _Content(self._file), self._file.category_ids(self.metainfo['classes'])
        content.wanted = ids
        self.COCOAPI = lambda path: content
        images = super().load_data_list()
        del self.COCOAPI
        return images

    def _read(self) -> CocoFile:
        folder = self.data_prefix.get('img')
        args = self.backend_args, False, not self.test_mode
        return read_coco(self.ann_file, folder, *args).require()

    def filter_data(self) -> List[dict]:
        """Filter as MMDetection does.

        Raises:
            InputError: nothing is left.
        """
        left = super().filter_data()
        if not left or not (self.test_mode or any(image['instances'] for image in left)):
            raise InputError(
                nothing_left(self.ann_file, self.data_list, self._file, self.metainfo['classes'], self.filter_cfg)
            )
        del self._file
        return left


def nothing_left(
    path: str, images: Sequence[dict], file: CocoFile, classes: Sequence[str], filters: Optional[dict]
) -> str:
    """Why a dataset has no image to train on, in one line."""
    least = (filters or {}).get('min_size', 0)
    small = sum(min(image['width'], image['height']) < least for image in images)
    fractions = file.annotations and all(max(entry['bbox']) <= 1 for entry in file.annotations)
    hint = '; the boxes look like fractions of the image: write them in pixels' if fractions else ''
    names = ', '.join(map(repr, list(classes)[:8])) + (', ...' if len(classes) > 8 else '')
    return (
        f'{path}: nothing to train on: {len(images)} images, {small} under {least} pixels, '
        f'{sum(not image["instances"] for image in images)} without a usable object of {names}{hint}'
    )


class _Content(COCO):
    """The content of an annotation file as MMDetection's dataset asks for it."""

    wanted: List[Any]

    def __init__(self, file: CocoFile) -> None:
        super().__init__()
        self.dataset = dict(images=file.images, annotations=file.annotations, categories=file.categories)
        self.createIndex()
        self.img_ann_map, self.cat_img_map = self.imgToAnns, self.catToImgs

    def get_cat_ids(self, cat_names: Sequence[str] = (), **kwargs: Any) -> List[Any]:
        """The ids of the classes, in their order."""
        return self.wanted


@DATASETS.register_module()
class CocoWithMasks(CocoDataset):
    """A COCO dataset whose pipeline always loads masks with the annotations.

    mmengine replaces lists as a whole, so a config that replaces the pipeline would lose the masks. This dataset keeps
    them. Masks are bitmaps, which can hold both COCO's polygons and its run-length codes, unless a pipeline says
    ``poly2mask=False``.

    Args:
        *args (Any): arguments of [`CocoDataset`][o2f.CocoDataset].
        pipeline (sequence[dict]): configs of the transforms.
        **kwargs (Any): arguments of [`CocoDataset`][o2f.CocoDataset].

    Raises:
        InputError: as [`CocoDataset`][o2f.CocoDataset]; or an object to train on has no mask that can be used.
    """

    def __init__(self, *args: Any, pipeline: Sequence[dict] = (), **kwargs: Any) -> None:
        steps = [
            {'poly2mask': True, **step, 'with_mask': True} if step['type'] == 'LoadAnnotations' else step
            for step in pipeline
        ]
        self._polygons_only = any(step.get('poly2mask') is False for step in steps)
        super().__init__(*args, pipeline=steps, **kwargs)

    def load_data_list(self) -> List[dict]:
        """The images and their objects, each with a mask."""
        images = super().load_data_list()
        entries = loaded(self._file, self._file.category_ids(self.metainfo['classes']))
        require_masks(self._file, entries, not self.test_mode, self._polygons_only)
        return images


def _naming(step: Any) -> Any:
    if isinstance(step, dict) and step.get('type') == LoadImageFromFile.__name__:
        return dict(step, type=LoadNamedImage.__name__)
    return step


@TRANSFORMS.register_module()
class LoadNamedImage(LoadImageFromFile):
    """``LoadImageFromFile`` that names a file it cannot read, and warns if its size is not that of the annotations.

    With the default settings it decodes with [`decode`][o2f.io.images.decode], as the check does."""

    def transform(self, results: dict) -> Optional[dict]:
        """Read the image ``results['img_path']``.

        Raises:
            InputError: it cannot be read or decoded.
        """
        with named(results['img_path']):
            loaded = self._load(results)
        if loaded is not None and 'height' in results:
            height, width = loaded['ori_shape']
            if (height, width) != (results['height'], results['width']):
                _warn_of_size(results, width, height)
        return loaded

    def _load(self, results: dict) -> Optional[dict]:
        if self.ignore_empty or self.file_client_args or (self.color_type, self.imdecode_backend) != ('color', 'cv2'):
            return super().transform(results)
        pixels = decode(get(results['img_path'], backend_args=self.backend_args))
        if self.to_float32:
            pixels = pixels.astype(np.float32)
        results.update(img=pixels, img_shape=pixels.shape[:2], ori_shape=pixels.shape[:2])
        return results


_warned = False


def _warn_of_size(results: dict, width: int, height: int) -> None:
    """Warn once: others are found by ``python -m o2f.check --all-images``."""
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            f'{results["img_path"]} is loaded with {width} x {height} pixels, and its annotations are for '
            f'{results["width"]} x {results["height"]}: its boxes lie elsewhere. '
            'python -m o2f.check --all-images names all such images, and says which ones EXIF data turn',
            stacklevel=2,
        )
