_base_ = '../tables/successors.py'
val_evaluator = {'second': True}
model = {'bbox_head': {'selection': {'alpha': 0.9230769230769231, 'radius': None},
               'degrees': {'_delete_': True, 'type': 'QualityDegrees', 'p_power': 0.5, 'iou_power': 6.0},
               'loss_cls': {'ambiguous_weight': 1.0, 'negative_weight': 1.0, 'gamma': 0.0},
               'box_weight': 'degree',
               'second': {'shares': 'neck',
                          'stop_gradient': 'main',
                          'selection': {'alpha': 0.9230769230769231, 'radius': None},
                          'degrees': {'_delete_': True,
                                      'type': 'QualityDegrees',
                                      'p_power': 0.5,
                                      'iou_power': 6.0},
                          'loss_cls': {'negative_weight': 1.0, 'gamma': 0.0},
                          'loss_bbox': {'loss_weight': 2.0},
                          'box_weight': 'degree',
                          'normaliser': 'degrees'},
               'normaliser': 'degrees',
               'score_factor': 'none'}}
