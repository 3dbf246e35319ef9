_base_ = '../tables/successors.py'
val_evaluator = {'second': True}
model = {'bbox_head': {'second': {'shares': 'towers',
                          'weight': {'first': 1.6, 'last': 0.2},
                          'main_weight': {'first': 0.4, 'last': 1.8},
                          'loss_bbox': {'loss_weight': 2.0},
                          'score_factor': 'centerness'}}}
randomness = {'seed': 2}
