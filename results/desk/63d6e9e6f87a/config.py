_base_ = '../tables/table2.py'
