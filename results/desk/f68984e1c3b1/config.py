_base_ = '../tables/table2.py'
model = {'bbox_head': {'selection': {'k': 11}}}
randomness = {'seed': 2}
