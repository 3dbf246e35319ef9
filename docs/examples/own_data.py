"""One-to-few FCOS with a ResNet-50 for a dataset of one's own in COCO's format; how it is used: docs/own-data.md."""

_base_ = '../../o2f/configs/o2f_r50_fpn_1x_coco.py'

root = 'bccd/'
classes = ('Platelets', 'RBC', 'WBC')
model = dict(bbox_head=dict(num_classes=len(classes)))

common = dict(data_root=root, metainfo=dict(classes=classes))
train = dict(ann_file='train.json', data_prefix=dict(img='images/'), **common)
val = dict(ann_file='val.json', data_prefix=dict(img='images/'), **common)
train_dataloader = dict(batch_size=2, dataset=train)
val_dataloader = dict(dataset=val)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=root + 'val.json')
test_evaluator = val_evaluator

optim_wrapper = dict(optimizer=dict(lr=0.01 * 2 / 16))  # the paper's 0.01 is for 16 images in a batch
auto_scale_lr = dict(base_batch_size=2)  # what that rate is for, if --auto-scale-lr is given
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))
