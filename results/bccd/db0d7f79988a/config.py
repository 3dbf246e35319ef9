_base_ = '../tables/real.py'
randomness = {'seed': 3}
