_base_ = '../tables/paper-text.py'
model = {'bbox_head': {'loss_cls': {'ambiguous_weight': 1.0}}}
randomness = {'seed': 3}
