_base_ = '../tables/scaling.py'
