"""Additions to MMDetection's datasets: cached samples, seeded augmentations, named images, ``--subset``."""

import hashlib
import random
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch
from mmcv.transforms import LoadImageFromFile, Resize
from mmdet.datasets.transforms import LoadAnnotations, PackDetInputs, RandomFlip
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from torch.utils.data import Dataset

from o2f.datasets import LoadNamedImage

#: Deterministic transforms.
FIXED = (LoadImageFromFile, LoadAnnotations, Resize, PackDetInputs)


@DATASETS.register_module()
class KeptSamples(Dataset):
    """A dataset that caches its samples, each with and without flip.

    It draws random numbers as the dataset itself does, so training sees the same images with and without the cache.
    Samples are shared: MMDetection's data preprocessor copies a sample before it changes anything. Nothing is cached if
    the dataset has random transforms other than one ``RandomFlip``.

    Args:
        dataset (dict): config of a dataset of mmengine.
    """

    def __init__(self, dataset: dict) -> None:
        self.dataset = DATASETS.build(dataset)
        transforms = self.dataset.pipeline.transforms
        random = [transform for transform in transforms if not isinstance(transform, FIXED)]
        self.flip: Optional[RandomFlip] = random[0] if random and isinstance(random[0], RandomFlip) else None
        self.is_kept = not random or (self.flip is not None and len(random) == 1)
        self.samples: Dict[Tuple[int, Optional[str]], Any] = {}

    @property
    def metainfo(self) -> dict:
        """The dataset's classes and palette."""
        return self.dataset.metainfo

    def full_init(self) -> None:
        """Have the dataset read its annotations."""
        self.dataset.full_init()

    def get_data_info(self, index: int) -> dict:
        """The annotations of an image. MMDetection's batch samplers ask for its size."""
        return self.dataset.get_data_info(index)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        if not self.is_kept:
            return self.dataset[index]
        state = np.random.get_state()
        key = index, self.flip._choose_direction() if self.flip else None
        if key not in self.samples:
            np.random.set_state(state)  # the flip draws the same number again
            self.samples[key] = self.dataset[index]
        return self.samples[key]


def keep_samples(config: Config) -> None:
    """Cache the samples of loaders without workers, if the data are generated. Those are small.

    Photographs have no workers on a machine with little shared memory. They would not fit into the memory."""
    for name in ('train_dataloader', 'val_dataloader'):
        loader = config[name]
        if loader.num_workers == 0:
            loader.persistent_workers = False  # torch refuses it without workers
            loader.pop('prefetch_factor', None)
        if loader.num_workers == 0 and config.get('generate'):
            # Serialised annotations save memory in workers only, and there are none.
            loader.dataset = dict(type=KeptSamples.__name__, dataset=dict(loader.dataset, serialize_data=False))


@DATASETS.register_module()
class SeededSamples(Dataset):
    """A dataset that seeds all random generators of the loader's worker before it makes a sample.

    So a sample does not depend on the worker, on the number of workers, or on earlier samples. A resumed run has the
    augmentations of an uninterrupted one, and several ranks have those of one process.

    Args:
        dataset (dict): config of a dataset of mmengine.
        seed (int): the run's seed.
    """

    def __init__(self, dataset: dict, seed: int) -> None:
        self.dataset = DATASETS.build(dataset)
        self.seed = seed
        # Workers that outlive an epoch see changes of this shared value.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Seed for this epoch, counted from 0, from now on. No sample may be in preparation meanwhile."""
        self._epoch.fill_(epoch)

    @property
    def metainfo(self) -> dict:
        """The dataset's classes and palette."""
        return self.dataset.metainfo

    def full_init(self) -> None:
        """Have the dataset read its annotations."""
        self.dataset.full_init()

    def get_data_info(self, index: int) -> dict:
        """The annotations of an image. MMDetection's batch samplers ask for its size."""
        return self.dataset.get_data_info(index)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        seeds = np.random.SeedSequence((self.seed, int(self._epoch), index)).generate_state(3).tolist()
        random.seed(seeds[0])
        np.random.seed(seeds[1])
        torch.default_generator.manual_seed(seeds[2])
        return self.dataset[index]


def seed_samples(config: Config) -> None:
    """Seed each training sample if the loader has workers. Without workers this would seed the training process, which
    :class:`~experiments.training.train.RunFolderHook` seeds for each epoch."""
    loader = config.train_dataloader
    if loader.num_workers > 0:
        loader.dataset = dict(type=SeededSamples.__name__, dataset=loader.dataset, seed=config.randomness.seed)


def name_images(config: Config) -> None:
    """Change a config so that all loaders name the images that they cannot read."""
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if config.get(name):
            _replace(config[name])


def _replace(part: Any) -> None:
    if isinstance(part, dict):
        if part.get('type') == LoadImageFromFile.__name__:
            part['type'] = LoadNamedImage.__name__
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            _replace(inner)


@DATASETS.register_module()
def SubsetOfImages(of: str, share: float, **settings: Any) -> BaseDataset:
    """A dataset with a share of its images, in the original order.

    Args:
        of (str): type of the dataset.
        share (float): share of its training images, which are those with an object; from 0 to 1.
        settings: all other settings of the dataset.
    """
    dataset = DATASETS.build(dict(settings, type=of))
    dataset.full_init()
    ids = [dataset.get_data_info(index)['img_id'] for index in range(len(dataset))]
    dataset.get_subset_(choose(ids, share))
    return dataset


def choose(ids: Sequence[Any], share: float) -> List[int]:
    """Indices of a share of the images, at least one: those whose IDs have the lowest digests.

    So the choice depends on the IDs only, and a smaller share is part of a larger one.
    """
    order = sorted(range(len(ids)), key=lambda index: hashlib.sha256(f'o2f subset {ids[index]}'.encode()).digest())
    return sorted(order[: max(round(share * len(ids)), 1)])


def take_subset(config: Config) -> None:
    """Change a config with ``subset`` so that the loader reads that share of the training images."""
    if config.get('subset'):
        dataset = config.train_dataloader.dataset
        settings = {key: value for key, value in dataset.items() if key != 'type'}
        config.train_dataloader.dataset = dict(
            settings, type=SubsetOfImages.__name__, of=dataset.type, share=config.subset
        )
