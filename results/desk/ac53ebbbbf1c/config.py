_base_ = '../tables/table3.py'
model = {'bbox_head': {'degrees': {'t_max': 0.6, 't_min': 0.3}}}
randomness = {'seed': 2}
