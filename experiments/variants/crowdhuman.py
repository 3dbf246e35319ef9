"""CrowdHuman (section 4.4), from its original .odgt files: K 4, 50 epochs of AdamW, 500 detections per image.

The settings are those of the authors' code; the paper prints none. The boxes are those of full bodies, clipped to the
image as the metric clips them. As released, anchors in regions to ignore are negatives. With
``model.bbox_head.ignore_regions=true`` they are left out of the loss.
"""

dataset_type = 'CrowdHumanDataset'
data_root = '${DATA}/CrowdHuman/'
train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomResize', scale=[(1400, 480), (1400, 960)], keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='Resize', scale=(1400, 800), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
# The sizes of the images are looked for in id_hw_{train,val}.json; without it all of them are opened once to write it.
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type=dataset_type,
        data_root=data_root,
        ann_file='annotation_train.odgt',
        data_prefix=dict(img='Images/'),
        pipeline=train_pipeline,
    )
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type=dataset_type,
        data_root=data_root,
        ann_file='annotation_val.odgt',
        data_prefix=dict(img='Images/'),
        test_mode=True,
        pipeline=test_pipeline,
    )
)
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type='TwoReadingsCrowdHumanMetric', ann_file=data_root + 'annotation_val.odgt')
test_evaluator = val_evaluator

model = dict(
    bbox_head=dict(num_classes=1, selection=dict(k=4), ignore_regions=False),
    test_cfg=dict(nms_pre=5000, max_per_img=500),
)
train_cfg = dict(max_epochs=50)
# As released: norm layers decay like the rest.
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=0.00004, weight_decay=0.0001), paramwise_cfg=dict(_delete_=True)
)
param_scheduler = {'1': dict(end=50, milestones=[40])}
