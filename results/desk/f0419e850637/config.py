_base_ = '../tables/table2.py'
model = {'bbox_head': {'selection': {'k': 5}}}
randomness = {'seed': 2}
