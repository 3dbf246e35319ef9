_base_ = '../tables/scaling.py'
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
