_base_ = '../tables/table3.py'
