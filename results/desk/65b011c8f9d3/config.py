_base_ = '../tables/table3.py'
model = {'bbox_head': {'degrees': {'t_max': 0.5, 't_min': 0.1}}}
randomness = {'seed': 2}
