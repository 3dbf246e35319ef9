"""The desk profile: the paper's method and epochs on generated scenes, small enough for one CPU core."""

_base_ = '../../o2f/configs/o2f_r50_fpn_1x_coco.py'

# What is generated on first use (experiments/data/synthetic/scenes.py, backbone.py); how it was chosen: docs/desk.md.
generate = dict(
    scenes=dict(
        train=1080,
        val=2000,
        size=72,
        objects=(2, 6),
        scale=(20.0, 68.0),
        turn=0.2,
        cluster=0.6,
        twin=0.6,
        visible=0.5,
        clutter=(0, 3),
        contrast=15.0,
    ),
    backbone=dict(images=6000, depth=18, base_channels=16, crop=40, epochs=5, batch=128, lr=0.004),
)

# Channels: a ResNet-18 of width 16, pre-trained on object crops where the paper has ImageNet weights.
# Levels from stride 4, so that objects are as large in cells as COCO's; those of stride 64 and 128 would be 2 x 2 and
# 1 x 1 cells.
model = dict(
    data_preprocessor=dict(pad_size_divisor=8),
    backbone=dict(depth=18, base_channels=16, init_cfg=dict(type='Pretrained', checkpoint='${BACKBONE}/backbone.pth')),
    neck=dict(in_channels=[16, 32, 64, 128], out_channels=24, start_level=0, num_outs=4),
    bbox_head=dict(
        num_classes=8,
        in_channels=24,
        feat_channels=24,
        strides=[4, 8, 16, 32],
        centerness_channels=16,
        norm_cfg=dict(type='GN', num_groups=8, requires_grad=True),
    ),
)

data_root = '${SCENES}/'
classes = ('disc', 'square', 'triangle', 'star', 'ring', 'cross', 'crescent', 'heart')
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(72, 72), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader = dict(
    batch_size=12,
    num_workers=0,
    persistent_workers=False,
    batch_sampler=None,
    dataset=dict(data_root=data_root, metainfo=dict(classes=classes), pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=50,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(data_root=data_root, metainfo=dict(classes=classes), pipeline=test_pipeline),
)
test_dataloader = val_dataloader
# All are evaluated after the last epoch; after the others the first hundred, for the live view (training/train.py).
epoch_images = 100
val_evaluator = dict(ann_file=data_root + 'annotations/instances_val2017.json')
test_evaluator = val_evaluator
# Constants chosen by measurement: docs/desk.md. Norm layers decay like the rest: mmengine would make a group of every
# parameter to spare them, and stepping so many groups one by one is slow.
optim_wrapper = dict(
    _delete_=True, type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.004, weight_decay=0.05, fused=True)
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=100),
    dict(type='MultiStepLR', begin=0, end=12, by_epoch=True, milestones=[8, 11], gamma=0.1),
]

# What a variant needs beyond its own file at this scale (experiments/spec/config.py).
_ranges = ((-1, 24), (24, 48), (48, 96), (96, 1e8))  # a fifth of the objects on the second level: docs/desk.md
# CrowdHuman's 480 to 960 of 800 pixels, on images of 112.
_crowd_train = [
    *train_pipeline[:2],
    dict(type='RandomResize', scale=[(134, 67), (134, 134)], keep_ratio=True),
    *train_pipeline[2:],
]
_crowd_test = [test_pipeline[0], dict(type='Resize', scale=(112, 112), keep_ratio=True), *test_pipeline[2:]]
_scores_of_yolo = dict(override=dict(bias_prob=0.0019))
variants = {
    'fcos': dict(model=dict(bbox_head=dict(regress_ranges=_ranges))),
    'aux-fcos': dict(model=dict(bbox_head=dict(auxiliary=dict(regress_ranges=_ranges)))),
    'hybrid-epoch': dict(model=dict(bbox_head=dict(selection=dict(one_to_many=dict(regress_ranges=_ranges))))),
    'dual-fcos': dict(model=dict(bbox_head=dict(second=dict(selection=dict(regress_ranges=_ranges))))),
    'stride-4': dict(model=dict(neck=dict(num_outs=4), bbox_head=dict(strides=[4, 8, 16, 32]))),
    'stride-8': dict(model=dict(neck=dict(num_outs=3), bbox_head=dict(strides=[8, 16, 32]))),
    'fcos+stride-8': dict(model=dict(bbox_head=dict(regress_ranges=((-1, 48), *_ranges[2:])))),
    'every-epoch': dict(epoch_images=1000),
    '3x': dict(  # 640 to 800 of 800 pixels
        train_dataloader=dict(
            dataset=dict(
                pipeline=[
                    *train_pipeline[:2],
                    dict(type='RandomResize', scale=[(72, 58), (72, 72)], keep_ratio=True),
                    *train_pipeline[2:],
                ]
            )
        )
    ),
    'swin-t': dict(
        generate=dict(
            backbone=dict(
                _delete_=True,
                type='swin',
                embed_dims=16,
                depths=(2, 2, 2, 2),
                window_size=6,
                images=6000,
                crop=48,
                epochs=30,
                lr=0.002,
            )
        ),
        model=dict(
            backbone=dict(
                embed_dims=16,
                depths=[2, 2, 2, 2],
                num_heads=[1, 2, 4, 8],
                window_size=6,
                out_indices=(0, 1, 2, 3),
                convert_weights=False,
                init_cfg=dict(checkpoint='${BACKBONE}/backbone.pth'),
            ),
            neck=dict(in_channels=[16, 32, 64, 128]),
        ),
        optim_wrapper=dict(
            _delete_=True, type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.003, weight_decay=0.05, fused=True)
        ),
    ),
    # A generated crowd (experiments/data/synthetic/crowd.py); the backbone stays the one of the scenes.
    'crowdhuman': dict(
        generate=dict(crowd=dict(train=600, val=1500, size=112, height=(28.0, 84.0))),
        data_root='${CROWD}/',
        classes=('person',),
        train_pipeline=_crowd_train,
        test_pipeline=_crowd_test,
        train_dataloader=dict(dataset=dict(data_root='${CROWD}/', pipeline=_crowd_train)),
        val_dataloader=dict(dataset=dict(data_root='${CROWD}/', pipeline=_crowd_test)),
        test_dataloader=dict(dataset=dict(data_root='${CROWD}/', pipeline=_crowd_test)),
        val_evaluator=dict(ann_file='${CROWD}/annotation_val.odgt'),
        test_evaluator=dict(ann_file='${CROWD}/annotation_val.odgt'),
        optim_wrapper=dict(optim_wrapper),  # the desk's own again
    ),
    'crowdhuman-defcn': dict(
        train_dataloader=dict(dataset=dict(pipeline={'2': dict(scale=(112, 112))})),
        optim_wrapper=dict(optim_wrapper),  # what this profile has for the paper's SGD with the same constants
    ),
    'condinst': dict(
        model=dict(
            data_preprocessor=dict(pad_size_divisor=16),  # its mask features add levels whose sizes must be multiples
            mask_head=dict(
                num_classes=8,
                semantic_channels=16,
                mask_feature_head=dict(in_channels=24, feat_channels=16, mask_stride=4),
            ),
        ),
        # '3x' replaces the pipeline, and masks with holes are no polygons.
        train_dataloader=dict(dataset=dict(type='CocoWithMasks')),
        optim_wrapper=dict(optim_wrapper),
        param_scheduler={'0': dict(end=100)},
    ),
    # 5 objects in an image: 5 / 8 classes / 18^2 cells of stride 4.
    'yolov10': dict(model=dict(bbox_head=dict(init_cfg=_scores_of_yolo, second=dict(init_cfg=_scores_of_yolo)))),
    'condinst-o2m': dict(model=dict(bbox_head=dict(regress_ranges=_ranges))),
    'r101': dict(  # as much deeper than the 18 layers as is cheap
        generate=dict(backbone=dict(depth=34, epochs=20)),
        model=dict(backbone=dict(depth=34, init_cfg=dict(checkpoint='${BACKBONE}/backbone.pth'))),
    ),
}
del _ranges, _crowd_train, _crowd_test, _scores_of_yolo
