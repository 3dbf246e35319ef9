_base_ = '../tables/table3.py'
model = {'bbox_head': {'degrees': {'t_max': 0.4}}}
randomness = {'seed': 1}
