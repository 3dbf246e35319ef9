"""The paper profile: COCO 2017 under ``data/coco`` and ImageNet weights, with the published settings."""

_base_ = '../../o2f/configs/o2f_r50_fpn_1x_coco.py'

# COCO's train2017 holds two boxes without area (images 200365 and 550395, github.com/cocodataset/cocoapi issue 355);
# MMDetection leaves them out when it loads the file.
degenerate_boxes = 'drop'

data_root = '${DATA}/coco/'
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/instances_val2017.json')
test_evaluator = val_evaluator

# The published rates are for 16 images in a batch, 8 GPUs with 2 each; with fewer they are scaled linearly.
auto_scale_lr = dict(enable=True)

# On several GPUs a step waits for the gradient of every parameter, unless it is told to look which have none.
variants = {
    # MMDetection's Swin freezes its first stage only when training begins, after the model was spread over the GPUs.
    'swin-t': dict(find_unused_parameters=True),
    # MMDetection's CondInst leaves its mask branch out where a batch has no positive.
    'condinst-o2m': dict(find_unused_parameters=True),
}
