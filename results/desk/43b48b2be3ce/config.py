_base_ = '../tables/table4.py'
model = {'bbox_head': {'selection': {'alpha': 1}}}
randomness = {'seed': 1}
