_base_ = '../tables/table5.py'
train_dataloader = {'dataset': {'pipeline': [{'type': 'LoadImageFromFile'},
                          {'type': 'LoadAnnotations', 'with_bbox': True},
                          {'type': 'RandomResize', 'scale': [(72, 58), (72, 72)], 'keep_ratio': True},
                          {'type': 'RandomFlip', 'prob': 0.5},
                          {'type': 'PackDetInputs'}]}}
train_cfg = {'max_epochs': 36}
param_scheduler = [{'type': 'LinearLR', 'start_factor': 0.001, 'by_epoch': False, 'begin': 0, 'end': 100},
 {'type': 'MultiStepLR', 'begin': 0, 'end': 36, 'by_epoch': True, 'milestones': [24, 33], 'gamma': 0.1}]
model = {'bbox_head': {'_delete_': True,
               'type': 'OneToFewHead',
               'num_classes': 8,
               'in_channels': 24,
               'feat_channels': 24,
               'stacked_convs': 4,
               'strides': [4, 8, 16, 32],
               'centerness_convs': 3,
               'centerness_channels': 16,
               'norm_cfg': {'type': 'GN', 'num_groups': 8, 'requires_grad': True},
               'selection': {'type': 'HungarianSelection', 'alpha': 0.8, 'metric': 'multiply', 'radius': 1.5},
               'degrees': {'type': 'ConstantDegrees', 't': 1.0},
               'loss_cls': {'type': 'OneToFewLoss',
                            'use_sigmoid': True,
                            'ambiguous_weight': 0.4,
                            'negative_weight': 0.75,
                            'gamma': 2.0,
                            'loss_weight': 1.0,
                            'positive_weight': 0.25,
                            'positive_gamma': 2.0},
               'loss_bbox': {'type': 'GIoULoss', 'loss_weight': 2.0},
               'box_weight': 'uniform',
               'score_factor': '3dmf',
               'auxiliary': {'type': 'QualityATSSSelection', 'topk': 9, 'alpha': 0.8}}}
randomness = {'seed': 2}
