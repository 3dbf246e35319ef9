"""The COCO config is the published setting, and what it builds behaves accordingly."""

from mmengine.optim import build_optim_wrapper
from tiny_detectors import make_head
from torch import nn


def test_the_method(config):
    """Section 3, as released: K = 7 in all, alpha 0.8, T from 0.6 to 0.2, ambiguous anchors weighted 0.4."""
    head = config.model.bbox_head
    assert head.type == 'OneToFewHead' and head.num_classes == 80
    assert head.strides == [8, 16, 32, 64, 128]
    assert (head.centerness_convs, head.centerness_channels, head.box_weight) == (3, 64, 'centerness')
    assert dict(head.selection) == dict(
        type='OneToFewSelection', k=7, alpha=0.8, metric='multiply', radius=1.5, k_includes_certain=True
    )
    assert dict(head.degrees) == dict(type='LinearDegrees', t_max=0.6, t_min=0.2)
    assert dict(head.loss_cls) == dict(
        type='OneToFewLoss', use_sigmoid=True, ambiguous_weight=0.4, negative_weight=0.75, gamma=2.0, loss_weight=1.0
    )
    assert dict(head.loss_bbox) == dict(type='GIoULoss', loss_weight=2.0)
    assert [hook.type for hook in config.custom_hooks] == ['EpochHook']


def test_the_defaults_of_the_parts_are_the_same(config, paper_model):
    """A head that names no settings is the published one."""
    default, published = make_head(), paper_model.bbox_head
    for part in ('selection', 'degrees'):
        assert vars(getattr(default, part)) == vars(getattr(published, part))
    for name in ('ambiguous_weight', 'negative_weight', 'gamma', 'loss_weight'):
        assert getattr(default.loss_cls, name) == getattr(published.loss_cls, name)
    assert default.loss_bbox.loss_weight == published.loss_bbox.loss_weight == 2.0
    assert default.box_weight == published.box_weight == 'centerness'


def test_inference(config):
    """Joint score above 0.05, 1000 per level, 100 per image, NMS at 0.6; both readings are evaluated."""
    assert config.model.type == 'TwoReadingsFCOS'
    assert config.model.test_cfg.to_dict() == dict(
        score_thr=0.05, nms_pre=1000, max_per_img=100, min_bbox_size=0, nms=dict(type='nms', iou_threshold=0.6)
    )
    assert (
        config.val_evaluator
        == config.test_evaluator
        == dict(type='TwoReadingsMetric', ann_file='data/coco/annotations/instances_val2017.json')
    )


def test_optimizer_and_schedule(config):
    """SGD 0.01, 0.9, 1e-4; warm-up of 1000 iterations from 0.001; a tenth after epochs 8 and 11 of 12; no clipping."""
    assert dict(config.optim_wrapper.optimizer) == dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0001)
    assert config.optim_wrapper.get('clip_grad') is None
    warm_up, steps = config.param_scheduler
    assert (warm_up.type, warm_up.start_factor, warm_up.by_epoch, warm_up.end) == ('LinearLR', 0.001, False, 1000)
    assert (steps.type, steps.milestones, steps.gamma, steps.by_epoch) == ('MultiStepLR', [8, 11], 0.1, True)
    assert config.train_cfg.max_epochs == steps.end == 12


def test_data(config):
    """COCO 2017, 16 images in a batch on 8 GPUs, short side 800, long side up to 1333."""
    assert config.auto_scale_lr.base_batch_size == 16 == 8 * config.train_dataloader.batch_size
    assert config.train_dataloader.dataset.ann_file == 'annotations/instances_train2017.json'
    resize, flip = (
        next(step for step in config.train_pipeline if step.type == kind) for kind in ('Resize', 'RandomFlip')
    )
    assert resize.scale == (1333, 800) and resize.keep_ratio and flip.prob == 0.5


def test_no_decay_on_norms(config, paper_model):
    """Weight decay 1e-4 on convolutions, scales and biases of convolutions, none on BN and GN."""
    optimizer = build_optim_wrapper(paper_model, config.optim_wrapper).optimizer
    decay = {id(parameter): group['weight_decay'] for group in optimizer.param_groups for parameter in group['params']}
    norms = [module for module in paper_model.modules() if isinstance(module, (nn.BatchNorm2d, nn.GroupNorm))]
    of_norms = {id(parameter) for module in norms for parameter in module.parameters() if parameter.requires_grad}
    assert len(of_norms) > 50 and {decay[each] for each in of_norms} == {0}
    assert {value for each, value in decay.items() if each not in of_norms} == {0.0001}
    assert {group['lr'] for group in optimizer.param_groups} == {0.01}


def test_frozen_parts(paper_model):
    """Stem and stage 1 do not train; BN is in eval mode everywhere, and its affine part trains from stage 2 on."""
    backbone = paper_model.train().backbone
    trained = {name.split('.')[0] for name, parameter in backbone.named_parameters() if parameter.requires_grad}
    assert trained == {'layer2', 'layer3', 'layer4'}
    norms = {name: module for name, module in backbone.named_modules() if isinstance(module, nn.BatchNorm2d)}
    assert len(norms) == 53 and not any(module.training for module in norms.values())
    assert all(module.weight.requires_grad for name, module in norms.items() if name.startswith(('layer2', 'layer4')))


def test_backbone(config):
    """ResNet-50 with torchvision's ImageNet weights, for which MMDetection turns BGR to RGB."""
    assert config.model.backbone.init_cfg == dict(type='Pretrained', checkpoint='torchvision://resnet50')
    assert config.model.backbone.depth == 50 and config.model.data_preprocessor.bgr_to_rgb
