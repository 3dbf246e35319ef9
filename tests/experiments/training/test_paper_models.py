"""The paper profile is what was published, and every model of it trains and predicts on data in the real layouts."""

import copy
import functools
import json

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from tiny_datasets import write_tiny_coco, write_tiny_crowdhuman
from torch import nn

import o2f  # isort: skip  # noqa: F401  (answers for mmcv's compiled operations, so it comes before MMDetection)
from mmdet.registry import DATASETS, TRANSFORMS  # isort: skip

from experiments.spec.config import resolve
from experiments.spec.paths import data_paths, substitute_paths
from experiments.spec.table_file import load_table, table_names

SMALL = (192, 128)  # the longest and the shortest side of an image, where the paper has 1333 and 800


@functools.lru_cache(maxsize=None)
def all_cells():
    """(what it is called, cell, resolved config) of every cell of every table."""
    found = []
    for name in table_names():
        for cell in load_table(name).cells:
            config = resolve('paper', cell.use, cell.overrides, 0, name).config
            found.append((f'{name} {cell.label}', cell, config))
    return found


def cells_that(use=(), without=()):
    return [
        (label, config)
        for label, cell, config in all_cells()
        if set(use) <= set(cell.use) and not set(without) & set(cell.use)
    ]


def get(config, key):
    for part in filter(None, key.split('.')):
        config = config[int(part)] if isinstance(config, (list, tuple)) else config[part]
    return config


# (a) Settings, section 4.1 of the paper and facts sections 1 to 3. Each block: variants that a cell must use, variants
# that it must not use, and what its config then holds.
SGD = dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0001)
COCO_TEST = dict(
    score_thr=0.05, nms_pre=1000, max_per_img=100, min_bbox_size=0, nms=dict(type='nms', iou_threshold=0.6)
)
PUBLISHED = [
    ((), (), {
        # 16 images in a batch, 2 on each of 8 GPUs; other batches train with a rate scaled linearly.
        'train_dataloader.batch_size': 16,
        'auto_scale_lr': dict(enable=True, base_batch_size=16),
        'optim_wrapper.type': 'OptimWrapper',
        'param_scheduler.0.type': 'LinearLR',
        'param_scheduler.0.by_epoch': False,
        'param_scheduler.0.start_factor': 0.001,
        'param_scheduler.1.type': 'MultiStepLR',
        'param_scheduler.1.by_epoch': True,
        'param_scheduler.1.gamma': 0.1,
        'train_cfg.type': 'EpochBasedTrainLoop',
        'model.neck.out_channels': 256,
        'model.neck.num_outs': 5,
        'model.neck.add_extra_convs': 'on_output',
        'model.bbox_head.strides': [8, 16, 32, 64, 128],
        'model.bbox_head.stacked_convs': 4,
        'model.bbox_head.feat_channels': 256,
        'model.data_preprocessor.mean': [123.675, 116.28, 103.53],
        'model.data_preprocessor.std': [58.395, 57.12, 57.375],
        'model.data_preprocessor.pad_size_divisor': 32,
        'custom_hooks': [dict(type='EpochHook')],
    }),
    # CondInst's released config has settings of its own for what is left out of it here.
    ((), ('condinst',), {'param_scheduler.0.end': 1000}),
    ((), ('swin-t', 'crowdhuman', 'condinst'), {'optim_wrapper.paramwise_cfg': dict(norm_decay_mult=0.0)}),
    ((), ('swin-t', 'crowdhuman'), {'optim_wrapper.optimizer': SGD}),
    (('swin-t',), (), {
        'optim_wrapper.optimizer': dict(type='AdamW', lr=0.0001, betas=(0.9, 0.999), weight_decay=0.05),
        'model.backbone.type': 'SwinTransformer',
        'model.backbone.drop_path_rate': 0.2,
        'model.backbone.frozen_stages': 1,
        'model.backbone.depths': [2, 2, 6, 2],
        'model.backbone.window_size': 7,
        'model.backbone.init_cfg.checkpoint': 'https://github.com/SwinTransformer/storage/releases/download/'
        'v1.0.0/swin_tiny_patch4_window7_224.pth',
    }),
    ((), ('swin-t',), {
        'model.backbone.type': 'ResNet',
        'model.backbone.frozen_stages': 1,
        'model.backbone.norm_eval': True,
        'model.backbone.norm_cfg': dict(type='BN', requires_grad=True),
        'model.backbone.style': 'pytorch',
    }),
    (('r101',), (), {
        'model.backbone.depth': 101,
        'model.backbone.init_cfg': dict(type='Pretrained', checkpoint='torchvision://resnet101'),
    }),
    ((), ('r101', 'swin-t'), {
        'model.backbone.depth': 50,
        'model.backbone.init_cfg': dict(type='Pretrained', checkpoint='torchvision://resnet50'),
    }),
    ((), ('3x', 'crowdhuman'), {
        'train_cfg.max_epochs': 12,
        'param_scheduler.1.end': 12,
        'param_scheduler.1.milestones': [8, 11],
        'train_dataloader.dataset.pipeline.2': dict(type='Resize', scale=(1333, 800), keep_ratio=True),
    }),
    (('3x',), (), {
        'train_cfg.max_epochs': 36,
        'param_scheduler.1.end': 36,
        'param_scheduler.1.milestones': [24, 33],
        'train_dataloader.dataset.pipeline.2': dict(
            type='RandomResize', scale=[(1333, 640), (1333, 800)], keep_ratio=True
        ),
    }),
    ((), ('crowdhuman',), {
        'train_dataloader.dataset.data_root': '${DATA}/coco/',
        'train_dataloader.dataset.ann_file': 'annotations/instances_train2017.json',
        'val_dataloader.dataset.ann_file': 'annotations/instances_val2017.json',
        'val_dataloader.dataset.pipeline.1': dict(type='Resize', scale=(1333, 800), keep_ratio=True),
        'model.bbox_head.num_classes': 80,
    }),
    ((), ('crowdhuman', 'condinst'), {'model.test_cfg': COCO_TEST}),
    (('condinst',), (), {
        'model.test_cfg': dict(COCO_TEST, mask_thr=0.5),
        'val_evaluator.masks': True,
        'param_scheduler.0.end': 500,
        'optim_wrapper.paramwise_cfg': dict(bias_lr_mult=2.0, bias_decay_mult=0.0, norm_decay_mult=1.0),
        'train_dataloader.dataset.pipeline.1': dict(
            type='LoadAnnotations', with_bbox=True, with_mask=True, poly2mask=True
        ),
    }),
    (('condinst',), ('condinst-o2m',), {
        'model.bbox_head.region_centre': 'mask',
        'model.bbox_head.threshold': 'classification',
    }),
    # DeFCN's own recipe.
    (('crowdhuman-defcn',), (), {
        'optim_wrapper.optimizer': SGD,
        'optim_wrapper.paramwise_cfg': dict(norm_decay_mult=0.0),
        'param_scheduler.0.end': 1000,
        'train_cfg.max_epochs': 32,
        'param_scheduler.1.end': 32,
        'param_scheduler.1.milestones': [21, 27],
        'train_dataloader.dataset.ann_file': 'annotation_train.odgt',
        'train_dataloader.dataset.pipeline.2': dict(type='Resize', scale=(1400, 800), keep_ratio=True),
        'val_dataloader.dataset.pipeline.1': dict(type='Resize', scale=(1400, 800), keep_ratio=True),
        'model.test_cfg': dict(COCO_TEST, max_per_img=500),
    }),
    (('crowdhuman',), (), {'model.bbox_head.ignore_regions': False, 'model.bbox_head.num_classes': 1}),
    (('crowdhuman',), ('crowdhuman-defcn',), {
        'optim_wrapper.optimizer': dict(type='AdamW', lr=0.00004, weight_decay=0.0001),
        'optim_wrapper.paramwise_cfg': {},
        'train_cfg.max_epochs': 50,
        'param_scheduler.1.end': 50,
        'param_scheduler.1.milestones': [40],
        'train_dataloader.dataset.ann_file': 'annotation_train.odgt',
        'train_dataloader.dataset.pipeline.2': dict(
            type='RandomResize', scale=[(1400, 480), (1400, 960)], keep_ratio=True
        ),
        'val_dataloader.dataset.pipeline.1': dict(type='Resize', scale=(1400, 800), keep_ratio=True),
        'model.test_cfg': dict(COCO_TEST, nms_pre=5000, max_per_img=500),
    }),
    (('fcos',), (), {
        'model.bbox_head.norm_on_bbox': True,
        'model.bbox_head.centerness_on_reg': True,
        'model.bbox_head.center_sampling': True,
        'model.bbox_head.loss_bbox.type': 'GIoULoss',
    }),
    (('poto',), ('crowdhuman',), {
        'model.bbox_head.selection': dict(type='HungarianSelection', alpha=0.8, metric='multiply', radius=1.5),
        'model.bbox_head.box_weight': 'uniform',
        'model.bbox_head.loss_bbox': dict(type='GIoULoss', loss_weight=2.0),
    }),
    (('poto',), ('3dmf',), {'model.bbox_head.score_factor': 'none'}),
    (('3dmf',), (), {'model.bbox_head.score_factor': '3dmf'}),
    # On CrowdHuman every point in the box.
    (('poto', 'crowdhuman'), (), {'model.bbox_head.selection.radius': None}),
    (('hybrid-epoch',), (), {'model.bbox_head.selection.switch': 2 / 3}),
]  # fmt: skip


@pytest.mark.parametrize('use, without, settings', PUBLISHED)
def test_published_settings(use, without, settings):
    cells = cells_that(use, without)
    assert cells
    for label, config in cells:
        for key, value in settings.items():
            found = get(config, key)
            assert found == value and type(found) is type(value), f'{label}: {key}'
        assert 'clip_grad' not in config['optim_wrapper'], label


OURS = {
    'type': 'OneToFewHead',
    'centerness_convs': 3,
    'centerness_channels': 64,
    'box_weight': 'centerness',
    'selection': dict(type='OneToFewSelection', k=7, alpha=0.8, metric='multiply', radius=1.5, k_includes_certain=True),
    'degrees': dict(type='LinearDegrees', t_max=0.6, t_min=0.2),
    'loss_cls': dict(
        type='OneToFewLoss', use_sigmoid=True, ambiguous_weight=0.4, negative_weight=0.75, gamma=2.0, loss_weight=1.0
    ),
    'loss_bbox': dict(type='GIoULoss', loss_weight=2.0),
}


@pytest.mark.parametrize(
    'table, at, head',
    [
        ('table1', dict(la='one-to-one'), {'selection.k': 0}),
        ('table1', dict(la='one-to-two'), {'selection.k': 2, 'degrees': dict(type='ConstantDegrees', t=1.0)}),
        ('table1', dict(la='t=0.2'), {'degrees': dict(type='ConstantDegrees', t=0.2)}),
        *[('table2', dict(k=str(k)), {'selection.k': k}) for k in (13, 11, 9, 7, 5, 4, 3)],
        ('table3', dict(t_max='0.6', t_min='0.2'), {}),
        ('table3', dict(t_max='0.4', t_min='0.1'), {'degrees.t_max': 0.4, 'degrees.t_min': 0.1}),
        ('table4', dict(metric='Multiply', alpha='0.8'), {}),
        ('table4', dict(metric='Add', alpha='0'), {'selection.metric': 'add', 'selection.alpha': 0}),
        ('table5', dict(method='Ours-3convs', schedule='1x'), {}),
        ('table5', dict(method='Ours-1conv', schedule='3x'), {'centerness_convs': 1}),
        ('table5', dict(method='Ours-2convs', schedule='1x'), {'centerness_convs': 2}),
        ('table6', dict(method='Ours', schedule='3x'), {}),
        ('table7', dict(method='Ours', schedule='1x'), {}),
        ('table8', dict(method='Ours'), {'selection.k': 4}),
        ('table9', dict(method='Ours', schedule='1x'), {'type': 'OneToFewCondInstHead', 'loss_bbox.loss_weight': 1.0}),
        ('fig5', dict(method='o2f'), {}),
    ],
)
def test_the_method_of_a_cell(table, at, head):
    """Everything of section 3 as published, but for what the cell is about."""
    (config,) = [config for label, cell, config in all_cells() if label.split()[0] == table and cell.at == at]
    wanted = copy.deepcopy(OURS)
    for key, value in head.items():
        *parents, last = key.split('.')
        get(wanted, '.'.join(parents))[last] = value
    found = {key: config['model']['bbox_head'][key] for key in OURS}
    if at == dict(la='one-to-two'):
        wanted['loss_cls']['ambiguous_weight'] = 1.0  # the second anchor counts as much as the first
    assert found == wanted


def transform_of(config, index):
    init_default_scope('mmdet')
    return TRANSFORMS.build(get(config, f'train_dataloader.dataset.pipeline.{index}'))


@pytest.mark.parametrize('use, short, long', [(('3x',), (640, 800), 1333), (('crowdhuman',), (480, 960), 1400)])
def test_multi_scale_training_draws_the_short_side(use, short, long):
    """The short side is drawn evenly from the whole range, ends included, and the long side is limited."""
    resize = transform_of(cells_that(use)[0][1], 2)
    np.random.seed(0)
    drawn = [resize(dict(img=np.zeros((40, 50, 3), np.uint8)))['img_shape'] for _ in range(600)]
    sides = [min(shape) for shape in drawn]
    assert short[0] == min(sides) or min(sides) - short[0] <= 3
    assert short[1] == max(sides) or short[1] - max(sides) <= 3
    assert max(map(max, drawn)) <= long and abs(np.mean(sides) - sum(short) / 2) < (short[1] - short[0]) / 12
    wide = [resize(dict(img=np.zeros((20, 60, 3), np.uint8)))['img_shape'] for _ in range(20)]
    assert all(max(shape) <= long for shape in wide) and max(max(shape) for shape in wide) == long


def test_single_scale_training():
    resize = transform_of(cells_that((), ('3x', 'crowdhuman'))[0][1], 2)
    images = [np.zeros((*shape, 3), np.uint8) for shape in ((30, 40), (30, 50), (20, 60))]
    assert [resize(dict(img=image))['img_shape'] for image in images] == [(800, 1067), (800, 1333), (444, 1333)]


# (b) One training step and one prediction of every model.


def network(value, tuned=False):
    """What of a model's config decides which code runs. In the parts that choose targets and weigh losses, numbers
    (K, alpha, T, weights) only change values that flow through the same code, so they are all alike; classes, texts
    and switches are not. Nor do pre-trained weights matter, which the tests go without."""
    if isinstance(value, dict):
        parts = ('selection', 'degrees', 'auxiliary')
        return {
            key: network(item, tuned or key in parts or key.startswith('loss'))
            for key, item in value.items()
            if key != 'init_cfg'
        }
    if isinstance(value, (list, tuple)):
        return [network(item, tuned) for item in value]
    return 'a number' if tuned and isinstance(value, (int, float)) and not isinstance(value, bool) else value


def distinct_models():
    """The first cell of each model, with the metrics that any cell of that model shows."""
    found = {}
    for label, cell, config in all_cells():
        place = found.setdefault(json.dumps(network(config['model']), sort_keys=True), (label, config, set()))
        place[2].update(key for keys in cell.keys.values() for key in keys if not key.startswith('speed/'))
    return list(found.values())


class Recorder(Hook):
    """What happens in a training step and in the evaluation after it."""

    def before_train(self, runner):
        self.trainable = {name for name, parameter in runner.model.named_parameters() if parameter.requires_grad}
        runner.optim_wrapper.optimizer.register_step_pre_hook(lambda *_: self.look(runner.model))

    def look(self, model):
        gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        self.with_gradient = set(gradients)
        self.broken = [name for name, gradient in gradients.items() if not gradient.isfinite().all()]
        self.norms_in_training = [
            name
            for name, module in model.backbone.named_modules()
            if isinstance(module, nn.BatchNorm2d) and module.training
        ]

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.inputs = [tuple(image.shape) for image in data_batch['inputs']]

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses = outputs

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.predicted = outputs

    def after_val_epoch(self, runner, metrics=None):
        self.metrics = metrics


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """A data folder as the paper profile wants it, with two images of each split."""
    folder = tmp_path_factory.mktemp('paper')
    write_tiny_coco(folder / 'coco')
    write_tiny_crowdhuman(folder / 'CrowdHuman')
    return folder


def shrink(step):
    """A step of a pipeline for smaller images."""
    if step['type'] == 'RandomResize':
        return dict(step, scale=[(SMALL[0], SMALL[1] - 20), SMALL])
    return dict(step, scale=SMALL) if step['type'] == 'Resize' else step


def train_once(config, data, folder, small=True):
    """Train for one iteration and evaluate, as mmengine does it, on ``data``."""
    config = Config(substitute_paths(copy.deepcopy(config), data_paths(config, data)))
    config.model.backbone.init_cfg = None
    config.model.test_cfg.score_thr = 0.0  # a model that has learnt nothing is sure of nothing
    for loader in (config.train_dataloader, config.val_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
        if small:
            loader.dataset.pipeline = [shrink(step) for step in loader.dataset.pipeline]
        else:
            loader.update(batch_size=1)
            loader.dataset.indices = 1
    config.train_dataloader.batch_size = 2 if small else 1
    config.train_cfg.max_epochs = 1
    config.default_hooks.checkpoint = None
    config.update(work_dir=str(folder), visualizer=None, log_level='ERROR', experiment_name=folder.name)
    runner = Runner.from_cfg(config)
    recorder = Recorder()
    runner.register_hook(recorder)
    statistics = {name: value.clone() for name, value in runner.model.backbone.named_buffers()}
    runner.train()
    assert all(torch.equal(statistics[name], value) for name, value in runner.model.backbone.named_buffers())
    return runner, recorder


def check(config, keys, runner, recorder):
    head, metrics = config['model']['bbox_head'], recorder.metrics
    assert all(torch.as_tensor(value).isfinite().all() for value in recorder.losses.values()), recorder.losses
    assert recorder.broken == recorder.norms_in_training == []
    check_frozen(config, recorder)
    check_optimizer(config, runner, images=len(recorder.inputs))
    sample = recorder.predicted[0]
    most = config['model']['test_cfg']['max_per_img']
    for found in (sample.pred_instances, sample.pred_instances_nms):
        assert 0 < len(found) <= most and found.scores.isfinite().all()
        assert 0 <= found.labels.min() and found.labels.max() < head['num_classes']
        height, width = sample.ori_shape
        limits = torch.tensor([width, height] * 2) + 0.01
        assert found.bboxes.min() >= -0.01 and (found.bboxes <= limits).all()
    assert len(sample.pred_instances) >= len(sample.pred_instances_nms)
    assert keys <= set(metrics) and all(0 <= metrics[key] <= 1 for key in keys), metrics


def check_frozen(config, recorder):
    """The stem and the first stage have no gradient. Either no GPU waits for one, as in a ResNet, or the config says
    that some may be missing."""
    resnet = config['model']['backbone']['type'] == 'ResNet'
    if resnet:
        assert recorder.with_gradient == recorder.trainable
    else:
        assert config.get('find_unused_parameters')
        frozen = recorder.trainable - recorder.with_gradient
        assert {'.'.join(name.split('.')[:3]) for name in frozen} == {
            'backbone.patch_embed.projection', 'backbone.patch_embed.norm', 'backbone.stages.0'
        }  # fmt: skip
    trained = {name.split('.')[1] for name in recorder.with_gradient if name.startswith('backbone.')}
    assert trained == ({'layer2', 'layer3', 'layer4'} if resnet else {'stages', 'norm1', 'norm2', 'norm3'})


def check_optimizer(config, runner, images):
    """The rate as published, for the images in the batch; the weight decay of each kind of layer."""
    settings = config['optim_wrapper']['optimizer']
    groups = runner.optim_wrapper.optimizer.param_groups
    assert type(runner.optim_wrapper.optimizer).__name__ == settings['type']
    if 'bias_lr_mult' not in config['optim_wrapper'].get('paramwise_cfg', {}):
        assert {group['initial_lr'] for group in groups} == {settings['lr'] * (images / 16)}
    decay = {id(parameter): group['weight_decay'] for group in groups for parameter in group['params']}
    norms = [m for m in runner.model.backbone.modules() if isinstance(m, (nn.BatchNorm2d, nn.LayerNorm))]
    of_norms = {id(p) for norm in norms for p in norm.parameters() if id(p) in decay}
    tables = {id(p) for name, p in runner.model.named_parameters() if name.endswith('relative_position_bias_table')}
    kernels = {id(m.weight) for m in runner.model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))} & set(decay)
    assert of_norms and {decay[each] for each in kernels} == {settings['weight_decay']}
    if 'bias_lr_mult' in config['optim_wrapper'].get('paramwise_cfg', {}):
        # CondInst: norms decay, also their biases; other biases do not.
        modules = [m for m in runner.model.modules() if isinstance(m, (nn.Conv2d, nn.Linear)) and m.bias is not None]
        assert {decay[id(m.bias)] for m in modules if id(m.bias) in decay} == {0}
        kinds = (nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)
        norms = [module for module in runner.model.modules() if isinstance(module, kinds)]
        of_norms = [decay[id(p)] for norm in norms for p in norm.parameters() if id(p) in decay]
        assert set(of_norms) == {settings['weight_decay']} and len(of_norms) > 100
    elif settings['type'] == 'SGD' or tables:
        assert {decay[each] for each in of_norms | tables} == {0}
    assert bool(tables) == (config['model']['backbone']['type'] == 'SwinTransformer')


DISTINCT = distinct_models()
DEFAULT = next(label for label, config, _ in DISTINCT if config['model']['bbox_head']['type'] == 'OneToFewHead')
#: One of each kind; the tests of the others are slow.
QUICK = (
    DEFAULT,
    'table5 method=FCOS-NMS schedule=1x',
    'table8 method=Ours',
    'table9 method=Ours schedule=1x',
)


def test_the_models_of_the_paper_are_among_them():
    """At least 12 with R50 (one-to-few in 5 forms, FCOS, POTO in 5, Hybrid-Epoch), 4 each with R101, with Swin-T and on
    CrowdHuman, and 3 of CondInst."""
    assert len(DISTINCT) >= 27
    labels = ' '.join(label for label, _, _ in DISTINCT)
    assert all(f'table{n} ' in labels for n in (5, 6, 7, 8, 9))
    assert set(QUICK) <= {label for label, _, _ in DISTINCT}


@pytest.mark.parametrize(
    'label, config, keys',
    [pytest.param(*model, id=model[0], marks=() if model[0] in QUICK else pytest.mark.slow) for model in DISTINCT],
)
def test_a_model_trains_and_predicts(label, config, keys, data, tmp_path):
    runner, recorder = train_once(config, data, tmp_path)
    assert all(max(shape[1:]) <= SMALL[0] for shape in recorder.inputs) and len(recorder.inputs) == 2
    check(config, keys, runner, recorder)
    check_without_instances(config, runner, recorder)


def check_without_instances(config, runner, recorder):
    """A batch without an instance: losses are finite, and no GPU waits for a gradient."""
    batch = next(iter(runner.train_dataloader))
    for sample in batch['data_samples']:
        sample.gt_instances = sample.gt_instances[:0]
    model = runner.model.train()
    loss, _ = model.parse_losses(model(**model.data_preprocessor(batch, True), mode='loss'))
    loss.backward()  # the training step left no gradients behind
    recorder.look(model)
    assert loss.isfinite() and not recorder.broken
    assert recorder.with_gradient == recorder.trainable or config.get('find_unused_parameters')


@pytest.mark.slow
def test_the_default_model_trains_and_predicts_at_full_size(tmp_path):
    """Images of 1333 x 800, as they come out of the pipeline."""
    _, config, keys = next(model for model in DISTINCT if model[0] == DEFAULT)
    write_tiny_coco(tmp_path / 'coco', width=500, height=300)
    runner, recorder = train_once(config, tmp_path, tmp_path / 'work', small=False)
    assert recorder.inputs == [(3, 800, 1333)]
    check(config, keys, runner, recorder)


def test_every_dataset_loads(data):
    """Each distinct dataset of any cell, train and val, at full size: boxes in the image, none without area, crowds
    and regions to ignore apart from the instances."""
    init_default_scope('mmdet')
    seen = set()
    for label, _, config in all_cells():
        filled = substitute_paths(copy.deepcopy(config), data_paths(config, data))
        for loader in ('train_dataloader', 'val_dataloader'):
            settings = filled[loader]['dataset']
            if str(settings) in seen:
                continue
            seen.add(str(settings))
            dataset = DATASETS.build(settings)
            assert len(dataset) == 2, label
            for item in (dataset[0], dataset[1]):
                height, width = item['inputs'].shape[1:]
                assert min(height, width) >= 480 and max(height, width) <= 1400
                if loader == 'val_dataloader':
                    continue  # boxes are those of the original image there, and only shown
                truth = item['data_samples'].gt_instances
                boxes = truth.bboxes.tensor if hasattr(truth.bboxes, 'tensor') else truth.bboxes
                assert len(boxes) >= 3 and (boxes[:, 2:] > boxes[:, :2]).all()
                assert boxes.min() >= 0 and (boxes.amax(0) <= torch.tensor([width, height] * 2)).all()
                assert len(item['data_samples'].ignored_instances) >= 1
                if 'condinst' in label or 'masks' in truth:
                    assert truth.masks.masks is not None and truth.masks.height == height
    assert len(seen) >= 7
