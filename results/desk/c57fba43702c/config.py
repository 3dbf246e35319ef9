_base_ = '../tables/table1.py'
model = {'bbox_head': {'selection': {'k': 7}, 'degrees': {'_delete_': True, 'type': 'ConstantDegrees', 't': 0.1}}}
randomness = {'seed': 10}
