_base_ = '../tables/successors.py'
train_dataloader = {'dataset': {'pipeline': [{'type': 'LoadImageFromFile'},
                          {'type': 'LoadAnnotations', 'with_bbox': True},
                          {'type': 'RandomResize', 'scale': [(72, 58), (72, 72)], 'keep_ratio': True},
                          {'type': 'RandomFlip', 'prob': 0.5},
                          {'type': 'PackDetInputs'}]}}
val_evaluator = {'second': True}
train_cfg = {'max_epochs': 36}
param_scheduler = [{'type': 'LinearLR', 'start_factor': 0.001, 'by_epoch': False, 'begin': 0, 'end': 100},
 {'type': 'MultiStepLR', 'begin': 0, 'end': 36, 'by_epoch': True, 'milestones': [24, 33], 'gamma': 0.1}]
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
