_base_ = '../tables/table1.py'
randomness = {'seed': 1}
