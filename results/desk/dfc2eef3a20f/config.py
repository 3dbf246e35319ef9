_base_ = '../tables/paper-text.py'
randomness = {'seed': 3}
