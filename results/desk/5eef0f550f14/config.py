_base_ = '../tables/crowding.py'
model = {'test_cfg': {'nms': {'iou_threshold': 0.6}}}
generate = {'scenes': {'cluster': 0.9, 'twin': 0.9, 'visible': 0.35}}
