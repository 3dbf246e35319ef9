_base_ = '../tables/table4.py'
model = {'bbox_head': {'selection': {'metric': 'add'}}}
randomness = {'seed': 4}
