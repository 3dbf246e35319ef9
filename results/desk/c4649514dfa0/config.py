_base_ = '../tables/table4.py'
