_base_ = '../tables/fig5.py'
model = {'bbox_head': {'selection': {'k': 7}}}
randomness = {'seed': 6}
