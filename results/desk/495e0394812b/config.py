_base_ = '../tables/table6.py'
randomness = {'seed': 6}
