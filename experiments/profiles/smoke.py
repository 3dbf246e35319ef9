"""The smoke profile: the desk profile on a few images for one epoch, to try the machinery in seconds."""

_base_ = './desk.py'

generate = dict(scenes=dict(train=16, val=8), backbone=dict(images=16, epochs=1, batch=32))
train_cfg = dict(max_epochs=1)
epoch_images = None

variants = {
    'crowdhuman': dict(generate=dict(crowd=dict(train=16, val=8)), train_cfg=dict(max_epochs=1)),
    'crowdhuman-defcn': dict(train_cfg=dict(max_epochs=1)),
    '3x': dict(train_cfg=dict(max_epochs=2)),
    '9x': dict(train_cfg=dict(max_epochs=3)),
    'swin-t': dict(generate=dict(backbone=dict(images=16, epochs=1, batch=32))),
}
