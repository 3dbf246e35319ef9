_base_ = '../tables/scaling.py'
model = {'neck': {'start_level': 1, 'num_outs': 3}, 'bbox_head': {'strides': [8, 16, 32]}}
