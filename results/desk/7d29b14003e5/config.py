_base_ = '../tables/table5.py'
