_base_ = '../tables/scaling.py'
train_cfg = {'max_epochs': 108}
param_scheduler = [{'type': 'LinearLR', 'start_factor': 0.001, 'by_epoch': False, 'begin': 0, 'end': 100},
 {'type': 'MultiStepLR', 'begin': 0, 'end': 108, 'by_epoch': True, 'milestones': [72, 99], 'gamma': 0.1}]
model = {'neck': {'start_level': 1, 'num_outs': 3},
 'bbox_head': {'strides': [8, 16, 32],
               'selection': {'_delete_': True,
                             'type': 'HungarianSelection',
                             'alpha': 0.8,
                             'metric': 'multiply',
                             'radius': 1.5},
               'loss_cls': {'ambiguous_weight': 0.4, 'positive_weight': 0.25, 'positive_gamma': 2.0},
               'box_weight': 'uniform',
               'score_factor': 'none'}}
