_base_ = '../tables/successors.py'
train_dataloader = {'dataset': {'pipeline': [{'type': 'LoadImageFromFile'},
                          {'type': 'LoadAnnotations', 'with_bbox': True},
                          {'type': 'RandomResize', 'scale': [(72, 58), (72, 72)], 'keep_ratio': True},
                          {'type': 'RandomFlip', 'prob': 0.5},
                          {'type': 'PackDetInputs'}]}}
val_evaluator = {'second': True}
train_cfg = {'max_epochs': 36}
param_scheduler = [{'type': 'LinearLR', 'start_factor': 0.001, 'by_epoch': False, 'begin': 0, 'end': 100},
 {'type': 'MultiStepLR', 'begin': 0, 'end': 36, 'by_epoch': True, 'milestones': [24, 33], 'gamma': 0.1}]
model = {'bbox_head': {'centerness_convs': 0,
               'selection': {'_delete_': True,
                             'type': 'HungarianSelection',
                             'alpha': 0.8,
                             'metric': 'multiply',
                             'radius': 1.5},
               'degrees': {'_delete_': True, 'type': 'ConstantDegrees', 't': 1.0},
               'loss_cls': {'loss_weight': 2.0, 'positive_weight': 0.25, 'positive_gamma': 2.0},
               'box_weight': 'uniform',
               'score_factor': 'none',
               'second': {'shares': 'towers',
                          'selection': {'_delete_': True,
                                        'type': 'FCOSSelection',
                                        'regress_ranges': ((-1, 24), (24, 48), (48, 96), (96, 100000000.0)),
                                        'radius': None},
                          'loss_cls': {'positive_weight': 0.25, 'positive_gamma': 2.0},
                          'loss_bbox': {'type': 'IoULoss', 'loss_weight': 1.0},
                          'score_factor': 'centerness',
                          'loss_centerness': {'type': 'CrossEntropyLoss',
                                              'use_sigmoid': True,
                                              'loss_weight': 1.0}},
               'loss_l1': {'type': 'L1Loss', 'loss_weight': 5.0}}}
