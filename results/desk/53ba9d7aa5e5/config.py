_base_ = '../tables/scaling.py'
model = {'neck': {'start_level': 1, 'num_outs': 3},
 'bbox_head': {'strides': [8, 16, 32],
               'selection': {'k': 7},
               'degrees': {'_delete_': True, 'type': 'LinearDegrees', 't_max': 0.6, 't_min': 0.2},
               'loss_cls': {'ambiguous_weight': 0.4}}}
