_base_ = '../tables/crowding.py'
model = {'test_cfg': {'nms': {'iou_threshold': 0.7}}}
generate = {'scenes': {'cluster': 0.6, 'twin': 0.6}}
