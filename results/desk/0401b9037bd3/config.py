_base_ = '../tables/table3.py'
randomness = {'seed': 2}
