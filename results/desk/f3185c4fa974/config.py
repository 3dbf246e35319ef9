_base_ = '../tables/successors.py'
