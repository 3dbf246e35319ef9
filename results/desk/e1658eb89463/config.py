_base_ = '../tables/table4.py'
model = {'bbox_head': {'selection': {'alpha': 0.6}}}
randomness = {'seed': 2}
