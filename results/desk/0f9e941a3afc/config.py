_base_ = '../tables/table4.py'
randomness = {'seed': 4}
