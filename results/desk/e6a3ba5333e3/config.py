_base_ = '../tables/table2.py'
model = {'bbox_head': {'selection': {'k': 9}}}
randomness = {'seed': 1}
