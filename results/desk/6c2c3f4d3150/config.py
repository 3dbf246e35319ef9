_base_ = '../tables/table8.py'
randomness = {'seed': 7}
