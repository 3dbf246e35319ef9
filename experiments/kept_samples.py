"""Samples of small images, made once and kept in memory."""

from typing import Any, Dict, Optional, Tuple

import numpy as np
from mmcv.transforms import LoadImageFromFile, Resize
from mmdet.datasets.transforms import LoadAnnotations, PackDetInputs, RandomFlip
from mmdet.registry import DATASETS
from mmengine.config import Config
from torch.utils.data import Dataset

#: Transforms that make the same of the same image every time.
FIXED = (LoadImageFromFile, LoadAnnotations, Resize, PackDetInputs)


@DATASETS.register_module()
class KeptSamples(Dataset):
    """A dataset whose samples are handed out again when they come again, mirrored and not.

    Random numbers are drawn as the dataset itself would draw them, so training sees the same images either way. A
    sample is shared by all who ask for it; MMDetection's data preprocessor copies it before anything is changed. A
    dataset with other random transforms than one ``RandomFlip`` makes each sample anew.

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
        """The dataset reads its annotations."""
        self.dataset.full_init()

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        if not self.is_kept:
            return self.dataset[index]
        state = np.random.get_state()
        key = index, self.flip._choose_direction() if self.flip else None
        if key not in self.samples:
            np.random.set_state(state)  # the flip draws again, and the same
            self.samples[key] = self.dataset[index]
        return self.samples[key]


def keep_samples(config: Config) -> None:
    """Keep the samples of every loader that loads in the process that trains, which only loaders of small data do."""
    for name in ('train_dataloader', 'val_dataloader'):
        loader = config[name]
        if loader.num_workers == 0:
            # Serialized annotations would spare the memory of workers, of which there are none.
            loader.dataset = dict(type=KeptSamples.__name__, dataset=dict(loader.dataset, serialize_data=False))
