"""One-to-few FCOS, ResNet-50, FPN, 12 epochs on COCO: the paper's default (39.0 AP without NMS), as released."""

_base_ = [
    'mmdet::_base_/datasets/coco_detection.py',
    'mmdet::_base_/schedules/schedule_1x.py',
    'mmdet::_base_/default_runtime.py',
]
custom_imports = dict(imports=['o2f'], allow_failed_imports=False)

model = dict(
    type='TwoReadingsFCOS',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32,
    ),
    backbone=dict(
        type='ResNet',
        depth=50,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        frozen_stages=1,
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=True,
        style='pytorch',
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50'),
    ),
    neck=dict(
        type='FPN',
        in_channels=[256, 512, 1024, 2048],
        out_channels=256,
        start_level=1,
        add_extra_convs='on_output',
        num_outs=5,
        relu_before_extra_convs=True,
    ),
    bbox_head=dict(
        type='OneToFewHead',
        num_classes=80,
        in_channels=256,
        feat_channels=256,
        stacked_convs=4,
        strides=[8, 16, 32, 64, 128],
        centerness_convs=3,
        centerness_channels=64,
        norm_cfg=dict(type='GN', num_groups=32, requires_grad=True),
        # Section 3.2. In the paper's text, K does not include the certain anchor: k_includes_certain=False.
        selection=dict(
            type='OneToFewSelection', k=7, alpha=0.8, metric='multiply', radius=1.5, k_includes_certain=True
        ),
        # Section 3.3.
        degrees=dict(type='LinearDegrees', t_max=0.6, t_min=0.2),
        # Section 3.4. The paper's text has ambiguous_weight=1.0.
        loss_cls=dict(
            type='OneToFewLoss',
            use_sigmoid=True,
            ambiguous_weight=0.4,
            negative_weight=0.75,
            gamma=2.0,
            loss_weight=1.0,
        ),
        loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
        # Eq. 5 as written in the paper is box_weight='uniform'.
        box_weight='centerness',
    ),
    test_cfg=dict(
        score_thr=0.05, nms_pre=1000, max_per_img=100, min_bbox_size=0, nms=dict(type='nms', iou_threshold=0.6)
    ),
)

val_evaluator = dict(_delete_=True, type='TwoReadingsMetric', ann_file='data/coco/annotations/instances_val2017.json')
test_evaluator = val_evaluator

optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0001), paramwise_cfg=dict(norm_decay_mult=0.0)
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(type='MultiStepLR', begin=0, end=12, by_epoch=True, milestones=[8, 11], gamma=0.1),
]
custom_hooks = [dict(type='EpochHook')]
# Safeguards, for every config that inherits from this one.
default_hooks = dict(
    dataset_check=dict(type='DatasetCheckHook'),
    settings_check=dict(type='SettingsCheckHook'),
    loss_check=dict(type='FiniteLossHook'),
)
