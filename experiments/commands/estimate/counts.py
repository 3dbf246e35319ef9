"""How many images a run reads: known for generated data, published for COCO and CrowdHuman, counted in other files."""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Dict, Optional, Sequence

from experiments.data.annotations import annotation_file
from experiments.spec.paths import generated
from experiments.store.errors import UserError


@dataclass(frozen=True)
class Published:
    """The published numbers of an annotation file.

    Attributes:
        images (int): images.
        instances (int, optional): annotations, crowds included; None if the number is not certain.
        trained (int, optional): images that a training sees, if it leaves out those without an object.
    """

    images: int
    instances: Optional[int] = None
    trained: Optional[int] = None


#: By the file's name. COCO 2017: cocodataset.org; CrowdHuman: www.crowdhuman.org.
PUBLISHED: Dict[str, Published] = {
    'instances_train2017.json': Published(118287, 860001, 117266),
    'instances_val2017.json': Published(5000, 36781),
    'annotation_train.odgt': Published(15000),
    'annotation_val.odgt': Published(4370),
}


@dataclass(frozen=True)
class Counts:
    """How many images and epochs a run has.

    Attributes:
        train (int): images of one epoch's training.
        val (int): images of the last epoch's evaluation.
        epochs (int): epochs.
        early_val (int): images of each other evaluation.
    """

    train: int
    val: int
    epochs: int
    early_val: int

    @property
    def mean_val(self) -> float:
        """Images that are evaluated after an epoch, in the mean over all epochs."""
        return (self.val + (self.epochs - 1) * self.early_val) / max(self.epochs, 1)


def counts(config: dict, data: Path) -> Optional[Counts]:
    """The image counts of a run, or None if its annotation files are neither here nor known by name, or are damaged.

    Args:
        config (dict): its resolved config.
        data (Path): the data folder.
    """
    train, val = _images(config, 'train', data), _images(config, 'val', data)
    if train is None or val is None:
        return None
    train = max(round(config.get('subset', 1) * train), 1)
    early_val = min(config.get('epoch_images') or val, val)
    return Counts(train, val, config['train_cfg']['max_epochs'], early_val)


def has_own_files(config: dict, data: Path) -> bool:
    """Whether a run reads annotation files of the user's own, and not the published ones.

    Raises:
        UserError: one of the user's own files is not here, or a wrapper of datasets has it.
    """
    paths = [annotation_file(config, f'{split}_dataloader', data) for split in ('train', 'val')]
    if all(path is not None and _is_published(path) for path in paths):
        return False
    for path in paths:
        if path is None:
            raise UserError('a dataset that wraps others cannot be probed: name its annotation file (ann_file) alone')
        if not path.is_file():
            raise UserError(f'{path} is missing: put the annotations there, or name their folder with --data')
    return True


def _is_published(path: Path) -> bool:
    """Whether a file is one of the published by its name, and by its number of images if it is here."""
    known = PUBLISHED.get(path.name)
    return known is not None and (not path.is_file() or _listed(path) == known.images)


@lru_cache(maxsize=None)
def _listed(path: Path) -> int:
    """How many images a file lists, without parsing it, which takes half a minute for COCO's."""
    content = path.read_bytes()
    if path.suffix == '.odgt':
        return sum(1 for line in content.splitlines() if line.strip())
    return content.count(b'"file_name"')


def _images(config: dict, split: str, data: Path) -> Optional[int]:
    dataset = config[f'{split}_dataloader']['dataset']
    for name, (_, spec) in generated(config).items():
        if '${' + name + '}' in str(dataset.get('data_root', '')):
            return getattr(spec, split)
    path = annotation_file(config, f'{split}_dataloader', data)
    if path is None:
        return None
    if _is_published(path):
        known = PUBLISHED[path.name]
        return known.trained or known.images if split == 'train' else known.images
    classes = (dataset.get('metainfo') or {}).get('classes')
    names = None if classes is None or isinstance(classes, str) else tuple(map(str, classes))
    filled = split == 'train' and bool((dataset.get('filter_cfg') or {}).get('filter_empty_gt'))
    return _counted(path, filled, names)


@lru_cache(maxsize=None)
def _counted(path: Path, filled: bool, classes: Optional[Sequence[str]]) -> Optional[int]:
    """The images of an annotation file, or those with an object of the classes. None if it is missing or damaged.

    It is read here without the package of the method, which would import torch."""
    try:
        if path.suffix == '.odgt':
            return _listed(path)
        lists = json.loads(path.read_bytes())
        if not filled:
            return len(lists['images'])
        wanted = {entry['id'] for entry in lists['categories'] if classes is None or entry['name'] in classes}
        return len({entry['image_id'] for entry in lists['annotations'] if entry['category_id'] in wanted})
    except (KeyError, OSError, RecursionError, TypeError, ValueError):  # the training and the doctor say what is wrong
        return None
