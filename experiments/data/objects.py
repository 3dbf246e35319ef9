"""The objects of a dataset of one's own, one by one, as a backbone is pre-trained on them."""

from pathlib import Path
from typing import Dict, Iterator, List, Sequence, Tuple

import numpy as np

from experiments.data.annotations import sha256
from experiments.spec.synthetic import CropSpec
from experiments.store.errors import UserError
from o2f.errors import InputError
from o2f.io.coco_file import read_coco
from o2f.io.images import read_image


def read_objects(spec: CropSpec, split: str, data: Path) -> Iterator[Tuple[np.ndarray, int, Sequence[float]]]:
    """Read the objects of a dataset.

    Args:
        spec (CropSpec): the dataset.
        split (str): 'train' or 'val'.
        data (Path): the data folder.

    Yields:
        tuple[ndarray, int, sequence[float]]: the image (H, W, 3) uint8 BGR, the index of the object's class, and its
            box (x, y, width, height) in pixels. Crowds and objects of under 2 pixels are left out.

    Raises:
        UserError: the annotations are not those of the spec, or a file cannot be read.
    """
    path, folder = data / getattr(spec, split), data / getattr(spec, f'{split}_images')
    try:
        file = read_coco(path, folder).require()
        if sha256(path) != getattr(spec, f'{split}_sha256'):
            raise UserError(
                f'{path} is not the file that the profile was written for (generate.crops.{split}_sha256 differs): '
                'write the profile anew with run.py new-profile'
            )
        labels = {id_: label for label, id_ in enumerate(file.category_ids(spec.classes))}
        of_image: Dict[object, List[dict]] = {}
        for entry in file.annotations:
            if entry['category_id'] in labels and not entry['iscrowd'] and min(entry['bbox'][2:]) >= 2:
                of_image.setdefault(entry['image_id'], []).append(entry)
        images = sorted((image for image in file.images if image['id'] in of_image), key=lambda image: str(image['id']))
        for image in images[:: max(-(-len(images) // spec.images), 1)]:
            pixels = read_image(folder / image['file_name'])
            for entry in of_image[image['id']]:
                yield pixels, labels[entry['category_id']], entry['bbox']
    except InputError as error:
        raise UserError(str(error)) from error
