_base_ = '../tables/successors.py'
randomness = {'seed': 1}
