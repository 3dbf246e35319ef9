_base_ = '../tables/table4.py'
model = {'bbox_head': {'selection': {'alpha': 1, 'metric': 'add'}}}
randomness = {'seed': 2}
