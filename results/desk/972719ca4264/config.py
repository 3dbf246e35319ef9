_base_ = '../tables/crowding.py'
model = {'test_cfg': {'nms': {'iou_threshold': 0.6}}}
generate = {'scenes': {'cluster': 1.0, 'twin': 1.0, 'visible': 0.2}}
