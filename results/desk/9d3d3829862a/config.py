_base_ = '../tables/paper-text.py'
model = {'bbox_head': {'selection': {'k_includes_certain': False}}}
randomness = {'seed': 3}
