_base_ = '../tables/table8.py'
