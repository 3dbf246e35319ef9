_base_ = '../tables/table9.py'
