_base_ = '../tables/table3.py'
model = {'bbox_head': {'degrees': {'t_min': 0.2}}}
randomness = {'seed': 1}
