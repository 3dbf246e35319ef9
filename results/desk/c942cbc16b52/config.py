_base_ = '../tables/fig5.py'
randomness = {'seed': 7}
