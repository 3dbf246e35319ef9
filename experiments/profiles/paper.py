"""The paper profile: COCO 2017 under ``data/coco`` and ImageNet weights, with the published settings."""

_base_ = '../../o2f/configs/o2f_r50_fpn_1x_coco.py'

# Each loader has as many workers as its process has cores besides its own, at most this many. With None there are as
# many as the loader says; neither changes what is computed.
max_workers = 8

data_root = '${DATA}/coco/'
# The published rates are for 16 images in a batch, on 8 GPUs with 2 each; with another batch they are scaled linearly.
train_dataloader = dict(batch_size=16, dataset=dict(data_root=data_root))
auto_scale_lr = dict(enable=True)
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/instances_val2017.json')
test_evaluator = val_evaluator

variants = {
    # One level more than the ranges of FCOS are for.
    'fcos+stride-4': dict(
        model=dict(bbox_head=dict(regress_ranges=((-1, 32), (32, 64), (64, 128), (128, 256), (256, 512), (512, 1e8))))
    ),
}
