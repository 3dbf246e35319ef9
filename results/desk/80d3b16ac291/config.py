_base_ = '../tables/successors.py'
val_evaluator = {'second': True}
model = {'bbox_head': {'second': {'shares': 'towers',
                          'loss_bbox': {'loss_weight': 2.0},
                          'score_factor': 'centerness'}}}
randomness = {'seed': 2}
