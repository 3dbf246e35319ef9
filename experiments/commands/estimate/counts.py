"""How many images a run reads: known for generated data, counted in annotation files, else as published."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict, Optional, Sequence

from experiments.spec.paths import data_paths, generated, makes_data, substitute_paths
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
#: A file of one of these names with more bytes is the published one. To read COCO's takes half a minute.
_LARGE = 100_000_000


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


def annotations(config: dict, split: str, data: Path) -> Optional[Path]:
    """The annotation file of a run's 'train' or 'val' data. It need not exist. None if wrappers hold several or repeat
    one, and if the data are generated."""
    dataset = config[f'{split}_dataloader']['dataset']
    if makes_data(config) or 'ann_file' not in dataset:
        return None
    dataset = substitute_paths(dataset, data_paths(config, data))
    return Path(dataset.get('data_root') or '', dataset['ann_file'])


def is_counted(config: dict, data: Path) -> bool:
    """Whether both of a run's annotation files are here, and not so large that they are the published ones.

    Raises:
        UserError: they are neither here nor published.
    """
    found = []
    for split in ('train', 'val'):
        path = annotations(config, split, data)
        if path is None:
            raise UserError(f'{split}_dataloader.dataset is a wrapper of others: how many images it has is not known')
        if not path.is_file() and path.name not in PUBLISHED:
            raise UserError(f'{path} is missing: put the annotations there, or name their folder with --data')
        found.append(_is_read(path))
    return all(found)


def _is_read(path: Path) -> bool:
    return path.is_file() and (path.name not in PUBLISHED or path.stat().st_size < _LARGE)


def _images(config: dict, split: str, data: Path) -> Optional[int]:
    dataset = config[f'{split}_dataloader']['dataset']
    for name, (_, spec) in generated(config).items():
        if '${' + name + '}' in str(dataset.get('data_root', '')):
            return getattr(spec, split)
    path = annotations(config, split, data)
    if path is None:
        return None
    if _is_read(path):
        classes = (dataset.get('metainfo') or {}).get('classes')
        return _counted(path, split, None if classes is None or isinstance(classes, str) else tuple(classes))
    known = PUBLISHED.get(path.name)
    if known is None:
        return None
    return known.trained or known.images if split == 'train' else known.images


@lru_cache(maxsize=None)
def _counted(path: Path, split: str, classes: Optional[Sequence[Any]]) -> Optional[int]:
    """The images of an annotation file; of training data, those with an object. None if it cannot be used."""
    if path.suffix == '.odgt':
        return sum(1 for line in path.read_bytes().splitlines() if line.strip())
    from o2f.errors import InputError
    from o2f.io.coco_file import read_coco

    try:
        file = read_coco(path, light=True, need_annotations=split == 'train')
        wanted = set(file.category_ids(classes))
    except InputError:  # the training and the doctor say what is wrong
        return None
    if split == 'val':
        return len(file.images)
    return len({entry['image_id'] for entry in file.annotations if entry['category_id'] in wanted})
