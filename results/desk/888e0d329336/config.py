_base_ = '../tables/fig5.py'
