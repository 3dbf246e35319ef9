"""Instance segmentation (Table 9): CondInst with one-to-few targets, or those of ``condinst-o2m`` or ``poto`` after it.

Released for this method: a box loss of weight 1, a mask loss of weight 2 on every positive, Omega round the mask's
centroid, and a semantic segmentation that only training sees. Nothing says which of these the other rows had. Here POTO
shares all of them but the box loss, to which ``poto`` gives its own weight of 2, and ``condinst-o2m`` is MMDetection's
CondInst as MMDetection has it, without the semantic segmentation.
"""

model = dict(
    type='TwoReadingsCondInst',
    data_preprocessor=dict(pad_mask=True),
    bbox_head=dict(
        type='OneToFewCondInstHead',
        num_params=169,
        region_centre='mask',
        threshold='classification',
        loss_bbox=dict(loss_weight=1.0),
    ),
    mask_head=dict(
        type='SemanticCondInstMaskHead',
        num_classes=80,
        num_layers=3,
        feat_channels=8,
        size_of_interest=8,
        mask_out_stride=4,
        max_masks_to_train=-1,  # every positive; fewer per image save memory
        mask_feature_head=dict(
            in_channels=256,
            feat_channels=128,
            start_level=0,
            end_level=2,
            out_channels=8,
            mask_stride=8,
            num_stacked_convs=4,
            norm_cfg=dict(type='BN', requires_grad=True),
        ),
        loss_mask=dict(type='DiceLoss', use_sigmoid=True, activate=True, eps=5e-6, loss_weight=2.0),
        semantic_channels=128,
        loss_semantic=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
    ),
    test_cfg=dict(mask_thr=0.5),
)
# The pipeline's second step loads the annotations. As released, polygons become bitmaps, which are resized with the
# image. MMDetection's CondInst draws them after resizing: poly2mask=False.
train_dataloader = dict(dataset=dict(pipeline={'1': dict(with_mask=True, poly2mask=True)}))
val_evaluator = dict(masks=True)
test_evaluator = dict(masks=True)

# As released: biases learn twice as fast and do not decay, norm layers decay, and the warm-up is half as long. mmengine
# takes the biases of norm layers for biases, unless it is told the decay of norm layers.
optim_wrapper = dict(paramwise_cfg=dict(_delete_=True, bias_lr_mult=2.0, bias_decay_mult=0.0, norm_decay_mult=1.0))
param_scheduler = {'0': dict(end=500)}
