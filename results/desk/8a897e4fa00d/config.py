_base_ = '../tables/table9.py'
randomness = {'seed': 1}
