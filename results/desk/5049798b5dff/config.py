_base_ = '../tables/scaling.py'
train_cfg = {'max_epochs': 108}
param_scheduler = [{'type': 'LinearLR', 'start_factor': 0.001, 'by_epoch': False, 'begin': 0, 'end': 100},
 {'type': 'MultiStepLR', 'begin': 0, 'end': 108, 'by_epoch': True, 'milestones': [72, 99], 'gamma': 0.1}]
model = {'neck': {'start_level': 1, 'num_outs': 3},
 'bbox_head': {'strides': [8, 16, 32],
               'selection': {'k': 0},
               'degrees': {'_delete_': True, 'type': 'LinearDegrees', 't_max': 0.6, 't_min': 0.2},
               'loss_cls': {'ambiguous_weight': 0.4}}}
