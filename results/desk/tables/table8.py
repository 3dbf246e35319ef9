dataset_type = 'CrowdHumanDataset'
data_root = '${CROWD}/'
backend_args = None
train_pipeline = [{'type': 'LoadImageFromFile'},
 {'type': 'LoadAnnotations', 'with_bbox': True},
 {'type': 'RandomResize', 'scale': [(134, 67), (134, 134)], 'keep_ratio': True},
 {'type': 'RandomFlip', 'prob': 0.5},
 {'type': 'PackDetInputs'}]
test_pipeline = [{'type': 'LoadImageFromFile'},
 {'type': 'Resize', 'scale': (112, 112), 'keep_ratio': True},
 {'type': 'LoadAnnotations', 'with_bbox': True},
 {'type': 'PackDetInputs', 'meta_keys': ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')}]
train_dataloader = {'batch_size': 12,
 'num_workers': 0,
 'persistent_workers': False,
 'sampler': {'type': 'DefaultSampler', 'shuffle': True, '_scope_': 'mmdet'},
 'batch_sampler': None,
 'dataset': {'type': 'CrowdHumanDataset',
             'data_root': '${CROWD}/',
             'ann_file': 'annotation_train.odgt',
             'data_prefix': {'img': 'Images/'},
             'pipeline': [{'type': 'LoadImageFromFile'},
                          {'type': 'LoadAnnotations', 'with_bbox': True},
                          {'type': 'RandomResize', 'scale': [(134, 67), (134, 134)], 'keep_ratio': True},
                          {'type': 'RandomFlip', 'prob': 0.5},
                          {'type': 'PackDetInputs'}]}}
val_dataloader = {'batch_size': 50,
 'num_workers': 0,
 'persistent_workers': False,
 'drop_last': False,
 'sampler': {'type': 'DefaultSampler', 'shuffle': False, '_scope_': 'mmdet'},
 'dataset': {'type': 'CrowdHumanDataset',
             'data_root': '${CROWD}/',
             'ann_file': 'annotation_val.odgt',
             'data_prefix': {'img': 'Images/'},
             'test_mode': True,
             'pipeline': [{'type': 'LoadImageFromFile'},
                          {'type': 'Resize', 'scale': (112, 112), 'keep_ratio': True},
                          {'type': 'LoadAnnotations', 'with_bbox': True},
                          {'type': 'PackDetInputs',
                           'meta_keys': ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')}]}}
test_dataloader = {'batch_size': 50,
 'num_workers': 0,
 'persistent_workers': False,
 'drop_last': False,
 'sampler': {'type': 'DefaultSampler', 'shuffle': False, '_scope_': 'mmdet'},
 'dataset': {'type': 'CrowdHumanDataset',
             'data_root': '${CROWD}/',
             'ann_file': 'annotation_val.odgt',
             'data_prefix': {'img': 'Images/'},
             'test_mode': True,
             'pipeline': [{'type': 'LoadImageFromFile'},
                          {'type': 'Resize', 'scale': (112, 112), 'keep_ratio': True},
                          {'type': 'LoadAnnotations', 'with_bbox': True},
                          {'type': 'PackDetInputs',
                           'meta_keys': ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')}]}}
val_evaluator = {'type': 'TwoReadingsCrowdHumanMetric', 'ann_file': '${CROWD}/annotation_val.odgt'}
test_evaluator = {'type': 'TwoReadingsCrowdHumanMetric', 'ann_file': '${CROWD}/annotation_val.odgt'}
train_cfg = {'type': 'EpochBasedTrainLoop', 'max_epochs': 50, 'val_interval': 1, '_scope_': 'mmdet'}
val_cfg = {'type': 'ValLoop', '_scope_': 'mmdet'}
test_cfg = {'type': 'TestLoop', '_scope_': 'mmdet'}
param_scheduler = [{'type': 'LinearLR', 'start_factor': 0.001, 'by_epoch': False, 'begin': 0, 'end': 100},
 {'type': 'MultiStepLR', 'begin': 0, 'end': 50, 'by_epoch': True, 'milestones': [40], 'gamma': 0.1}]
optim_wrapper = {'type': 'OptimWrapper', 'optimizer': {'type': 'AdamW', 'lr': 0.004, 'weight_decay': 0.05, 'fused': True}}
auto_scale_lr = {'enable': False, 'base_batch_size': 16}
default_scope = 'mmdet'
default_hooks = {'timer': {'type': 'IterTimerHook', '_scope_': 'mmdet'},
 'logger': {'type': 'LoggerHook', 'interval': 50, '_scope_': 'mmdet'},
 'param_scheduler': {'type': 'ParamSchedulerHook', '_scope_': 'mmdet'},
 'checkpoint': {'type': 'CheckpointHook', 'interval': 1, '_scope_': 'mmdet'},
 'sampler_seed': {'type': 'DistSamplerSeedHook', '_scope_': 'mmdet'},
 'visualization': {'type': 'DetVisualizationHook', '_scope_': 'mmdet'},
 'dataset_check': {'type': 'DatasetCheckHook'},
 'settings_check': {'type': 'SettingsCheckHook'},
 'loss_check': {'type': 'FiniteLossHook'}}
env_cfg = {'cudnn_benchmark': False,
 'mp_cfg': {'mp_start_method': 'fork', 'opencv_num_threads': 0},
 'dist_cfg': {'backend': 'nccl'}}
vis_backends = [{'type': 'LocalVisBackend', '_scope_': 'mmdet'}]
visualizer = {'type': 'DetLocalVisualizer',
 'vis_backends': [{'type': 'LocalVisBackend'}],
 'name': 'visualizer',
 '_scope_': 'mmdet'}
log_processor = {'type': 'LogProcessor', 'window_size': 50, 'by_epoch': True, '_scope_': 'mmdet'}
log_level = 'INFO'
load_from = None
resume = False
custom_imports = {'imports': ['o2f'], 'allow_failed_imports': False}
model = {'type': 'TwoReadingsFCOS',
 'data_preprocessor': {'type': 'DetDataPreprocessor',
                       'mean': [123.675, 116.28, 103.53],
                       'std': [58.395, 57.12, 57.375],
                       'bgr_to_rgb': True,
                       'pad_size_divisor': 8},
 'backbone': {'type': 'ResNet',
              'depth': 18,
              'num_stages': 4,
              'out_indices': (0, 1, 2, 3),
              'frozen_stages': 1,
              'norm_cfg': {'type': 'BN', 'requires_grad': True},
              'norm_eval': True,
              'style': 'pytorch',
              'init_cfg': {'type': 'Pretrained', 'checkpoint': '${BACKBONE}/backbone.pth'},
              'base_channels': 16},
 'neck': {'type': 'FPN',
          'in_channels': [16, 32, 64, 128],
          'out_channels': 24,
          'start_level': 0,
          'add_extra_convs': 'on_output',
          'num_outs': 4,
          'relu_before_extra_convs': True},
 'bbox_head': {'type': 'FCOSHeadWithIgnore',
               'regress_ranges': ((-1, 24), (24, 48), (48, 96), (96, 100000000.0)),
               'norm_on_bbox': True,
               'centerness_on_reg': True,
               'center_sampling': True,
               'center_sample_radius': 1.5,
               'conv_bias': True,
               'loss_cls': {'type': 'FocalLoss',
                            'use_sigmoid': True,
                            'gamma': 2.0,
                            'alpha': 0.25,
                            'loss_weight': 1.0},
               'loss_bbox': {'type': 'GIoULoss', 'loss_weight': 1.0},
               'loss_centerness': {'type': 'CrossEntropyLoss', 'use_sigmoid': True, 'loss_weight': 1.0},
               'num_classes': 1,
               'in_channels': 24,
               'feat_channels': 24,
               'stacked_convs': 4,
               'strides': [4, 8, 16, 32],
               'norm_cfg': {'type': 'GN', 'num_groups': 8, 'requires_grad': True},
               'ignore_regions': False},
 'test_cfg': {'score_thr': 0.05,
              'nms_pre': 5000,
              'max_per_img': 500,
              'min_bbox_size': 0,
              'nms': {'type': 'nms', 'iou_threshold': 0.6}}}
custom_hooks = [{'type': 'EpochHook'}]
generate = {'scenes': {'train': 1080,
            'val': 2000,
            'size': 72,
            'objects': (2, 6),
            'scale': (20.0, 68.0),
            'turn': 0.2,
            'cluster': 0.6,
            'twin': 0.6,
            'visible': 0.5,
            'clutter': (0, 3),
            'contrast': 15.0},
 'backbone': {'images': 6000,
              'depth': 18,
              'base_channels': 16,
              'crop': 40,
              'epochs': 5,
              'batch': 128,
              'lr': 0.004},
 'crowd': {'train': 600, 'val': 1500, 'size': 112, 'height': (28.0, 84.0)}}
classes = ('person',)
epoch_images = 100
randomness = {'seed': 0}
