_base_ = '../tables/scaling.py'
train_dataloader = {'dataset': {'pipeline': [{'type': 'LoadImageFromFile'},
                          {'type': 'LoadAnnotations', 'with_bbox': True},
                          {'type': 'RandomFlip', 'prob': 0.5},
                          {'type': 'PackDetInputs'}]}}
train_cfg = {'max_epochs': 12}
param_scheduler = [{'type': 'LinearLR', 'start_factor': 0.001, 'by_epoch': False, 'begin': 0, 'end': 100},
 {'type': 'MultiStepLR', 'begin': 0, 'end': 12, 'by_epoch': True, 'milestones': [8, 11], 'gamma': 0.1}]
model = {'bbox_head': {'_delete_': True,
               'type': 'FCOSHead',
               'regress_ranges': ((-1, 24), (24, 48), (48, 96), (96, 100000000.0)),
               'norm_on_bbox': True,
               'centerness_on_reg': True,
               'center_sampling': True,
               'center_sample_radius': 1.5,
               'conv_bias': True,
               'loss_cls': {'type': 'FocalLoss',
                            'use_sigmoid': True,
                            'gamma': 2.0,
                            'alpha': 0.25,
                            'loss_weight': 1.0},
               'loss_bbox': {'type': 'GIoULoss', 'loss_weight': 1.0},
               'loss_centerness': {'type': 'CrossEntropyLoss', 'use_sigmoid': True, 'loss_weight': 1.0},
               'num_classes': 8,
               'in_channels': 24,
               'feat_channels': 24,
               'stacked_convs': 4,
               'strides': [4, 8, 16, 32],
               'norm_cfg': {'type': 'GN', 'num_groups': 8, 'requires_grad': True}}}
randomness = {'seed': 3}
