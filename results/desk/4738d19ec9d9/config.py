_base_ = '../tables/table1.py'
model = {'bbox_head': {'selection': {'k': 2},
               'degrees': {'_delete_': True, 'type': 'ConstantDegrees', 't': 1.0},
               'loss_cls': {'ambiguous_weight': 1.0}}}
randomness = {'seed': 1}
