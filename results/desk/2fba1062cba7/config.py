_base_ = '../tables/table2.py'
randomness = {'seed': 1}
