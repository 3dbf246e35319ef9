_base_ = '../tables/table8.py'
train_dataloader = {'dataset': {'pipeline': [{'type': 'LoadImageFromFile'},
                          {'type': 'LoadAnnotations', 'with_bbox': True},
                          {'type': 'Resize', 'scale': (112, 112), 'keep_ratio': True},
                          {'type': 'RandomFlip', 'prob': 0.5},
                          {'type': 'PackDetInputs'}]}}
train_cfg = {'max_epochs': 32}
param_scheduler = [{'type': 'LinearLR', 'start_factor': 0.001, 'by_epoch': False, 'begin': 0, 'end': 100},
 {'type': 'MultiStepLR', 'begin': 0, 'end': 32, 'by_epoch': True, 'milestones': [21, 27], 'gamma': 0.1}]
model = {'test_cfg': {'nms_pre': 1000}}
randomness = {'seed': 2}
