"""How many images a run reads, without reading them: known for generated data, published for COCO and CrowdHuman."""

from dataclasses import dataclass
from pathlib import PurePath
from typing import Dict, Optional

from experiments.spec.paths import generated


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


def counts(config: dict) -> Optional[Counts]:
    """The image counts of a run, or None if its data are not known by name.

    Args:
        config (dict): its resolved config.
    """
    train, val = _images(config, 'train'), _images(config, 'val')
    if train is None or val is None:
        return None
    train = max(round(config.get('subset', 1) * train), 1)
    early_val = min(config.get('epoch_images') or val, val)
    return Counts(train, val, config['train_cfg']['max_epochs'], early_val)


def _images(config: dict, split: str) -> Optional[int]:
    dataset = config[f'{split}_dataloader']['dataset']
    for name, (_, spec) in generated(config).items():
        if '${' + name + '}' in str(dataset.get('data_root', '')):
            return getattr(spec, split)
    known = PUBLISHED.get(PurePath(dataset['ann_file']).name) if not config.get('generate') else None
    if known is None:
        return None
    return known.trained or known.images if split == 'train' else known.images
