"""The part of a dataset that ``--subset`` trains on."""

import hashlib
from typing import Any, List, Sequence

from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.dataset import BaseDataset


@DATASETS.register_module()
def SubsetOfImages(of: str, share: float, **settings: Any) -> BaseDataset:
    """A dataset with a share of its images, in their order.

    Args:
        of (str): type of the dataset.
        share (float): how many of the images that it would train on, which are those with an object.
        settings: all other settings of the dataset.
    """
    dataset = DATASETS.build(dict(settings, type=of))
    dataset.full_init()
    ids = [dataset.get_data_info(index)['img_id'] for index in range(len(dataset))]
    dataset.get_subset_(choose(ids, share))
    return dataset


def choose(ids: Sequence[Any], share: float) -> List[int]:
    """Which of the images are in a share of them, at least one: those whose IDs have the lowest digests.

    So it depends on nothing but the IDs, and a smaller share is part of a larger one.
    """
    order = sorted(range(len(ids)), key=lambda index: hashlib.sha256(f'o2f subset {ids[index]}'.encode()).digest())
    return sorted(order[: max(round(share * len(ids)), 1)])


def take_subset(config: Config) -> None:
    """Let the loader of a config with ``subset`` read that share of its training images."""
    if config.get('subset'):
        dataset = config.train_dataloader.dataset
        settings = {key: value for key, value in dataset.items() if key != 'type'}
        config.train_dataloader.dataset = dict(
            settings, type=SubsetOfImages.__name__, of=dataset.type, share=config.subset
        )
