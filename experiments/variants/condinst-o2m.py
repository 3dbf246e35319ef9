"""CondInst with its one-to-many targets, after ``condinst``: MMDetection's heads and their settings."""

model = dict(
    bbox_head=dict(
        _keep_=['num_classes', 'in_channels', 'feat_channels', 'stacked_convs', 'strides', 'norm_cfg', 'num_params'],
        type='CondInstBboxHead',
        regress_ranges=((-1, 64), (64, 128), (128, 256), (256, 512), (512, 1e8)),
        norm_on_bbox=True,
        centerness_on_reg=True,
        center_sampling=True,
        center_sample_radius=1.5,
        conv_bias=True,
        loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox=dict(type='GIoULoss', loss_weight=1.0),
        loss_centerness=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
    ),
    mask_head=dict(
        _keep_=['num_layers', 'feat_channels', 'size_of_interest', 'mask_out_stride', 'mask_feature_head'],
        type='CondInstMaskHead',
        max_masks_to_train=300,
        loss_mask=dict(type='DiceLoss', use_sigmoid=True, activate=True, eps=5e-6, loss_weight=1.0),
    ),
)
# This CondInst leaves its mask branch out where a batch has no positive; in several processes a step waits for the
# gradient of every parameter, unless it is told to look which have none.
find_unused_parameters = True
