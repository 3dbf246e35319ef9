_base_ = '../tables/table9.py'
train_dataloader = {'dataset': {'pipeline': [{'type': 'LoadImageFromFile'},
                          {'type': 'LoadAnnotations', 'with_bbox': True},
                          {'type': 'RandomResize', 'scale': [(72, 58), (72, 72)], 'keep_ratio': True},
                          {'type': 'RandomFlip', 'prob': 0.5},
                          {'type': 'PackDetInputs'}]}}
train_cfg = {'max_epochs': 36}
param_scheduler = [{'type': 'LinearLR', 'start_factor': 0.001, 'by_epoch': False, 'begin': 0, 'end': 100},
 {'type': 'MultiStepLR', 'begin': 0, 'end': 36, 'by_epoch': True, 'milestones': [24, 33], 'gamma': 0.1}]
randomness = {'seed': 1}
