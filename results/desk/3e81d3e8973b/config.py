_base_ = '../tables/table1.py'
