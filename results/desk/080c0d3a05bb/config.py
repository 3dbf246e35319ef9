_base_ = '../tables/table5.py'
randomness = {'seed': 2}
