_base_ = '../tables/successors.py'
val_evaluator = {'second': True}
model = {'bbox_head': {'second': {'shares': 'towers',
                          'selection': {'_delete_': True,
                                        'type': 'FCOSSelection',
                                        'regress_ranges': ((-1, 24), (24, 48), (48, 96), (96, 100000000.0)),
                                        'radius': 1.5},
                          'loss_bbox': {'loss_weight': 2.0},
                          'score_factor': 'centerness'}}}
randomness = {'seed': 1}
