"""A dataset of one's own, trained on as docs/own-data.md says: the example's config, MMDetection's own Runner."""

import contextlib
import io
import json
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.runner import Runner

EXAMPLE = Path(__file__).resolve().parents[2] / 'docs' / 'examples' / 'own_data.py'
CLASSES = ('Platelets', 'RBC', 'WBC')
#: What makes the example small enough for a test: images, channels, and nothing to be downloaded.
SMALL = {
    'model.backbone.init_cfg': None,
    'model.backbone.depth': 18,
    'model.backbone.base_channels': 8,
    'model.backbone.stem_channels': 8,
    'model.neck.in_channels': [8, 16, 32, 64],
    'model.neck.out_channels': 64,
    'model.bbox_head.in_channels': 64,
    'model.bbox_head.feat_channels': 64,
    'model.bbox_head.centerness_channels': 64,
    'train_dataloader.num_workers': 0,
    'train_dataloader.persistent_workers': False,
    'val_dataloader.num_workers': 0,
    'val_dataloader.persistent_workers': False,
    'test_dataloader.num_workers': 0,
    'test_dataloader.persistent_workers': False,
    'train_dataloader.dataset.pipeline.2.scale': (160, 96),
    'test_dataloader.dataset.pipeline.1.scale': (160, 96),
    'train_cfg.max_epochs': 1,
    'log_level': 'ERROR',
}


def write_dataset(folder: Path) -> Path:
    """Six images of rectangles to train on and three to test on, with category ids that have gaps."""
    draw = np.random.default_rng(0)
    categories = [dict(id=10 * (label + 1), name=name) for label, name in enumerate(CLASSES)]
    for split, number in (('train', 6), ('val', 3)):
        (folder / split).mkdir(parents=True)
        images, annotations = [], []
        for image_id in range(100, 100 + number):
            picture = draw.integers(0, 255, (60, 100, 3), dtype=np.uint8)
            for _ in range(2):
                (x, y), (w, h) = draw.integers(0, (60, 30)).tolist(), draw.integers(12, (40, 30)).tolist()
                picture[y : y + h, x : x + w] = draw.integers(0, 255, 3)
                box = dict(bbox=[x, y, w, h], area=w * h, iscrowd=0, category_id=10 * int(draw.integers(1, 4)))
                annotations.append(dict(box, id=len(annotations) + 1, image_id=image_id))
            name = f'shape {image_id}.png'
            cv2.imwrite(str(folder / split / name), picture)
            images.append(dict(id=image_id, file_name=name, width=100, height=60))
        content = dict(images=images, annotations=annotations, categories=categories)
        (folder / f'{split}.json').write_text(json.dumps(content))
    return folder


def take(config: Config, data: Path) -> None:
    """Have a config of the example read a dataset of ``write_dataset``."""
    loaders = dict(train=[config.train_dataloader], val=[config.val_dataloader, config.test_dataloader])
    for split, of_split in loaders.items():
        for loader in of_split:
            loader.dataset.update(data_root=f'{data}/', data_prefix=dict(img=f'{split}/'))
    for evaluator in (config.val_evaluator, config.test_evaluator):
        evaluator.ann_file = str(data / 'val.json')


def train_and_test(folder: Path) -> tuple:
    """The checkpoint of one epoch of the example, made small, and what its test measures."""
    config = Config.fromfile(EXAMPLE)
    config.merge_from_dict(SMALL)
    take(config, write_dataset(folder / 'bccd'))
    config.work_dir = str(folder / 'work')
    with contextlib.redirect_stdout(io.StringIO()):
        Runner.from_cfg(config).train()
        checkpoint = folder / 'work' / 'epoch_1.pth'
        config.load_from, config.experiment_name = str(checkpoint), 'test'
        return checkpoint, Runner.from_cfg(config).test()


def enliven(checkpoint: Path, path: Path) -> Path:
    """The same checkpoint with output maps of large random weights, so that it finds something everywhere."""
    content = torch.load(checkpoint)
    generator = torch.Generator().manual_seed(0)
    for name, bias in (('conv_cls', -1.5), ('conv_reg', 2.0), ('conv_centerness', 0.0)):
        weight = content['state_dict'][f'bbox_head.{name}.weight']
        weight.copy_(torch.randn(weight.shape, generator=generator) * 0.2)
        content['state_dict'][f'bbox_head.{name}.bias'].fill_(bias)
    torch.save(content, path)
    return path
