_base_ = '../tables/table6.py'
