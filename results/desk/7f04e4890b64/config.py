_base_ = '../tables/paper-text.py'
model = {'bbox_head': {'selection': {'k_includes_certain': False}, 'loss_cls': {'ambiguous_weight': 1.0}}}
randomness = {'seed': 3}
