_base_ = '../tables/crowding.py'
