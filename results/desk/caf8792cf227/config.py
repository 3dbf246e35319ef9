_base_ = '../tables/paper-text.py'
