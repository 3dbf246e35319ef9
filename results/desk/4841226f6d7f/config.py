_base_ = '../tables/scaling.py'
model = {'bbox_head': {'selection': {'k': 7, 'alpha': 1},
               'degrees': {'_delete_': True, 'type': 'LinearDegrees', 't_max': 0.6, 't_min': 0.2},
               'loss_cls': {'ambiguous_weight': 0.4}}}
