_base_ = '../tables/crowding.py'
model = {'test_cfg': {'nms': {'iou_threshold': 0.7}}}
