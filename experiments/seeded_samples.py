"""Samples whose augmentations depend on nothing but the seed, the epoch and the image."""

import random
from typing import Any

import numpy as np
import torch
from mmdet.registry import DATASETS
from mmengine.config import Config
from torch.utils.data import Dataset


@DATASETS.register_module()
class SeededSamples(Dataset):
    """A dataset that sets all random generators of a loader's process before it makes a sample.

    Neither which of the loader's processes makes it, nor how many there are, nor what they made before then matters:
    a run that was stopped goes on with the augmentations that it would have had, and several ranks draw those that one
    process would have drawn.

    Args:
        dataset (dict): config of a dataset of mmengine.
        seed (int): the run's seed.
    """

    def __init__(self, dataset: dict, seed: int) -> None:
        self.dataset = DATASETS.build(dataset)
        self.seed = seed
        # Processes that outlive an epoch see what is written here.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Draw for this epoch, counted from 0, from now on; no sample may be in the making."""
        self._epoch.fill_(epoch)

    @property
    def metainfo(self) -> dict:
        """The dataset's classes and palette."""
        return self.dataset.metainfo

    def full_init(self) -> None:
        """The dataset reads its annotations."""
        self.dataset.full_init()

    def get_data_info(self, index: int) -> dict:
        """What the annotations say of an image; MMDetection's batch samplers ask for its size."""
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
    """Seed each training sample where loaders have processes of their own. Elsewhere it would set the generators of the
    process that trains, which :class:`~experiments.training.RunFolderHook` sets for each epoch."""
    loader = config.train_dataloader
    if loader.num_workers > 0:
        loader.dataset = dict(type=SeededSamples.__name__, dataset=loader.dataset, seed=config.randomness.seed)
