_base_ = '../tables/real.py'
