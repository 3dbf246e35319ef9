_base_ = '../tables/scaling.py'
train_dataloader = {'dataset': {'pipeline': [{'type': 'LoadImageFromFile'},
                          {'type': 'LoadAnnotations', 'with_bbox': True},
                          {'type': 'RandomFlip', 'prob': 0.5},
                          {'type': 'PackDetInputs'}]}}
train_cfg = {'max_epochs': 12}
param_scheduler = [{'type': 'LinearLR', 'start_factor': 0.001, 'by_epoch': False, 'begin': 0, 'end': 100},
 {'type': 'MultiStepLR', 'begin': 0, 'end': 12, 'by_epoch': True, 'milestones': [8, 11], 'gamma': 0.1}]
model = {'bbox_head': {'selection': {'k': 7},
               'degrees': {'_delete_': True, 'type': 'LinearDegrees', 't_max': 0.6, 't_min': 0.2},
               'loss_cls': {'ambiguous_weight': 0.4}}}
randomness = {'seed': 8}
