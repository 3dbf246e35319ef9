_base_ = '../tables/paper-text.py'
model = {'bbox_head': {'loss_cls': {'ambiguous_weight': 1.0}, 'box_weight': 'centerness'}}
randomness = {'seed': 3}
