_base_ = '../tables/table7.py'
