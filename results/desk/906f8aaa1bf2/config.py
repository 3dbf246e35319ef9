_base_ = '../tables/paper-text.py'
model = {'bbox_head': {'selection': {'k_includes_certain': False}, 'box_weight': 'centerness'}}
randomness = {'seed': 3}
