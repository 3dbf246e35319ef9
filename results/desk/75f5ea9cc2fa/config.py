_base_ = '../tables/table2.py'
model = {'bbox_head': {'selection': {'k': 4}}}
randomness = {'seed': 3}
