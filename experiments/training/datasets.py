"""Additions to MMDetection's datasets: cached samples, seeded augmentations, named images, ``--subset``."""

import copy
import hashlib
import random
from multiprocessing.reduction import ForkingPickler
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch
from mmcv.transforms import LoadImageFromFile, Resize
from mmdet.datasets.transforms import LoadAnnotations, PackDetInputs, RandomFlip
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import FUNCTIONS
from torch.utils.data import Dataset

from experiments.machine import shared_memory
from o2f.datasets import LoadNamedImage

#: Deterministic transforms.
FIXED = (LoadImageFromFile, LoadAnnotations, Resize, PackDetInputs)


@DATASETS.register_module()
class KeptSamples(Dataset):
    """A dataset that caches its samples, each with and without flip.

    Random numbers are drawn as the dataset itself would draw them, so training sees the same images either way. A
    sample is shared by all who ask for it; see :class:`SharingPreprocessor`. A dataset with other random transforms
    than one ``RandomFlip`` makes each sample anew.

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
        key = index, self.flip._choose_direction() if self.flip else None
        if key not in self.samples:
            self.samples[key] = self._make(*key)
        return self.samples[key]

    def _make(self, index: int, direction: Optional[str]) -> Any:
        """The sample in this direction; the pipeline's flip is told so instead of drawing once more."""
        if not self.flip:
            return self.dataset[index]
        self.flip._choose_direction = lambda: direction
        try:
            return self.dataset[index]
        finally:
            del self.flip._choose_direction


@FUNCTIONS.register_module()
def stack_images(samples: List[dict]) -> dict:
    """A batch of packed samples: ``data_samples``, and ``inputs`` as (B, 3, H, W) where all images have one size."""
    images = [sample['inputs'] for sample in samples]
    stacked = len({image.shape for image in images}) == 1
    return dict(
        inputs=torch.stack(images) if stacked else images, data_samples=[sample['data_samples'] for sample in samples]
    )


@MODELS.register_module()
class SharingPreprocessor(DetDataPreprocessor):
    """MMDetection's preprocessor, which copies no sample of a stacked batch in training on a CPU.

    A training step only reads its samples. What the preprocessor itself writes to them it writes anew each time.
    """

    _shares = False

    def forward(self, data: dict, training: bool = False) -> dict:
        """Normalise and pad a batch; see ``DetDataPreprocessor``."""
        self._shares = training and isinstance(data['inputs'], torch.Tensor) and self.device.type == 'cpu'
        return super().forward(data, training)

    def cast_data(self, data: Any) -> Any:
        """The data on the model's device."""
        return data if self._shares else super().cast_data(data)


def keep_samples(config: Config, *others: Optional[Config]) -> None:
    """Keep the samples of every loader that loads generated data in the process that trains. Those are small.

    Photographs are loaded in that process where shared memory is small, and would not fit into the memory.

    Args:
        config (Config): of the training.
        others (Config | None): configs of more loaders.
    """
    for loader in (config.train_dataloader, config.val_dataloader, *others):
        if loader is None or loader.num_workers > 0:
            continue
        loader.persistent_workers = False  # torch refuses it without workers
        loader.pop('prefetch_factor', None)
        if config.get('generate'):
            # Serialized annotations would spare the memory of workers, of which there are none.
            loader.dataset = dict(type=KeptSamples.__name__, dataset=dict(loader.dataset, serialize_data=False))
            loader.collate_fn = dict(type=stack_images.__name__)
    preprocessor = config.model.data_preprocessor
    if preprocessor.type == DetDataPreprocessor.__name__:
        preprocessor.type = SharingPreprocessor.__name__


def first_images(config: Config) -> Optional[Config]:
    """Config of a loader of the first ``epoch_images`` of the validation images; None where all are to be evaluated
    after every epoch."""
    count = config.get('epoch_images')
    if not count:
        return None
    loader = copy.deepcopy(config.val_dataloader)
    loader.dataset.indices = count
    return loader


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


def fit_workers(config: Config, cores: int) -> None:
    """Give the loaders as many workers as the process has cores besides its own, at most ``max_workers``.

    Nothing is changed without ``max_workers`` in the config, or for a loader without workers. Samples are the same with
    any number of workers, see :class:`SeededSamples`. With a GPU, batches are put into memory that it can read at once.

    Args:
        config (Config): the run's config.
        cores (int): the cores that this process may use.
    """
    most = config.get('max_workers')
    for name in ('train_dataloader', 'val_dataloader'):
        loader = config[name]
        if most is not None and loader.num_workers > 0:
            loader.num_workers = max(min(cores - 1, most), 1)
            loader.update(persistent_workers=True, pin_memory=torch.cuda.is_available())
    spare_shared_memory(config)


#: Bytes of an image of 800 x 1333.
_IMAGE = 3 * 800 * 1333
#: Batches of a worker that are there at once: two that it has prefetched, and one that is in use.
_BATCHES = 3
#: Processes that may share a machine's /dev/shm.
_SHARERS = 8


def spare_shared_memory(config: Config) -> None:
    """Let loader workers pass tensors by value, through pipes, if /dev/shm is too small for those of several runs.

    torch's sharing strategies all need /dev/shm. A worker that fills it dies of a bus error, or loses
    the batch, and the loader waits for ever. Containers have 64 MB.
    Workers are forked from this process, so they take the setting over.
    """
    loaders = [config[f'{name}_dataloader'] for name in ('train', 'val')]
    most = max(loader.num_workers * loader.batch_size for loader in loaders)
    room = shared_memory()
    if most and room is not None and room < _SHARERS * _BATCHES * most * _IMAGE:
        ForkingPickler.register(torch.Tensor, _by_value)


def _by_value(tensor: torch.Tensor) -> tuple:
    return torch.from_numpy, (tensor.detach().contiguous().numpy(),)


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
