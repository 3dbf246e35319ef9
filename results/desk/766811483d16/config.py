_base_ = '../tables/table7.py'
randomness = {'seed': 2}
