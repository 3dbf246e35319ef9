"""Every head trains and is evaluated on real COCO files: gray images, crowds, tiny boxes, an image without objects."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from experiments.spec.config import resolve
from experiments.spec.paths import substitute_paths
from experiments.spec.schema import ImageGroups
from experiments.store.model import read_stored
from experiments.store.runs import write_image_groups
from experiments.training.evaluate import evaluate

#: Image ids of the training split: gray, gray with a crowd, crowds, the smallest boxes; and one whose objects are taken
#: away, as no image of the split is without.
TRAINED = [114692, 204805, 262145, 262148, 344067, 90122, 98304, 581632]
EMPTIED = 98304
HEADS = {
    'o2f': (),
    'fcos': ('fcos',),
    'poto': ('poto',),
    'poto+3dmf+aux-atss': ('poto', '3dmf', 'aux-atss'),
    'poto+3dmf+aux-topk': ('poto', '3dmf', 'aux-topk'),
    'poto+3dmf+aux-fcos': ('poto', '3dmf', 'aux-fcos'),
    'hybrid-epoch': ('hybrid-epoch',),
    'condinst': ('condinst',),
    'condinst+poto': ('condinst', 'poto'),
    'condinst-o2m': ('condinst', 'condinst-o2m'),
    'o2f 3x': ('3x',),
}
SMALL = (224, 128)


@pytest.fixture(scope='module')
def folder(coco_tiny, tmp_path_factory):
    """COCO's layout with the training images of this file, and six of the validation images."""
    folder = tmp_path_factory.mktemp('real') / 'coco'
    (folder / 'annotations').mkdir(parents=True)
    for split in ('train', 'val'):
        (folder / f'{split}2017').symlink_to(coco_tiny / f'{split}2017')
        content = json.loads((coco_tiny / 'annotations' / f'instances_{split}2017.json').read_text())
        wanted = TRAINED if split == 'train' else [566282, 5001, 166918, 173057, 184324, 560256]
        content['images'] = [image for image in content['images'] if image['id'] in wanted]
        kept = [image_id for image_id in wanted if image_id != EMPTIED]
        content['annotations'] = [entry for entry in content['annotations'] if entry['image_id'] in kept]
        assert len(content['images']) == len(wanted)
        (folder / 'annotations' / f'instances_{split}2017.json').write_text(json.dumps(content))
    return folder


def config_of(use, folder):
    config = Config(substitute_paths(resolve('paper', use, {}, 0, 'test').config, dict(DATA=str(folder.parent))))
    config.model.backbone.init_cfg = None
    config.model.test_cfg.score_thr = 0.0  # a model that has learnt nothing is sure of nothing
    for loader in (config.train_dataloader, config.val_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
        for step in loader.dataset.pipeline:
            if step.type in ('Resize', 'RandomResize'):
                step.scale = SMALL if step.type == 'Resize' else [(SMALL[0], SMALL[1] - 32), SMALL]
    config.train_dataloader.batch_size = 4
    config.train_dataloader.dataset.filter_cfg = dict(filter_empty_gt=False)
    config.train_cfg.max_epochs = 1
    config.update(visualizer=None, log_level='ERROR')
    config.default_hooks.checkpoint = dict(type='CheckpointHook', save_optimizer=False)
    return config


class Losses(Hook):
    def __init__(self):
        self.seen, self.images = [], set()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.seen.append({name: float(value.detach()) for name, value in outputs.items()})
        self.images |= {sample.img_id for sample in data_batch['data_samples']}

    def after_val_epoch(self, runner, metrics=None):
        self.metrics = metrics


@pytest.mark.parametrize(
    'head', [pytest.param(head, marks=() if head == 'o2f' else pytest.mark.slow) for head in HEADS]
)
def test_a_head_trains_and_is_evaluated(head, folder, tmp_path):
    """A step on each image with finite losses, then metrics, and the same from the checkpoint without each image."""
    config = config_of(HEADS[head], folder)
    config.update(work_dir=str(tmp_path), experiment_name=tmp_path.name)
    runner, losses = Runner.from_cfg(config), Losses()
    runner.register_hook(losses)
    before = {name: value.clone() for name, value in runner.model.named_parameters()}
    runner.train()
    assert losses.images == set(TRAINED) and len(losses.seen) == 2
    assert all(np.isfinite(value) for step in losses.seen for value in step.values())
    after = dict(runner.model.named_parameters())
    trained = {name for name in before if not torch.equal(before[name], after[name])}
    assert all(value.isfinite().all() for value in after.values())
    assert {'backbone', 'neck', 'bbox_head'} <= {name.split('.')[0] for name in trained}
    kinds = ('AP', 'AR', *(('mask_AP', 'mask_AR') if 'condinst' in head else ()))
    assert all(
        0 <= losses.metrics[f'{reading}/{kind}'] <= 1 for reading in ('without_nms', 'with_nms') for kind in kinds
    )


def test_an_evaluation_leaves_out_each_real_image(folder, tmp_path):
    """As ``run.py evaluate --image-groups`` does it, from a file of weights."""
    config = config_of((), folder)
    runner = Runner.from_cfg(Config(dict(config, work_dir=str(tmp_path), experiment_name='groups')))
    torch.save(dict(state_dict=runner.model.state_dict()), tmp_path / 'weights.pth')
    quiet = SimpleNamespace(progress=lambda *_: None, say=lambda *_: None)
    path = tmp_path / 'image_groups.json'
    metrics, metric = evaluate(
        config.to_dict(), tmp_path / 'weights.pth', folder.parent, quiet.progress, quiet.say, image_groups=True
    )
    write_image_groups(path, metric.left_out.record)
    stored = read_stored(ImageGroups, path)
    assert stored.images == 6 and len(stored.metrics) == 8 and {len(each) for each in stored.left_out.values()} == {6}
    assert stored.metrics == pytest.approx({key: metrics[key] for key in stored.metrics}, abs=1e-12)
