"""DeFCN's recipe for CrowdHuman, after ``crowdhuman``: SGD, 30,000 iterations of 16 images, the short side always 800.

30,000 iterations are 32 epochs of 15,000 images. DeFCN decays after 20,000 and 25,000 of them, which is in the 22nd and
the 27th epoch. Decays here come after whole epochs, so that they keep their place with ``--subset`` and other batches.
DeFCN starts from other ImageNet weights (Caffe's) and fixes γ and β of the backbone. Here both are as in other rows.
"""

model = dict(test_cfg=dict(nms_pre=1000))
# The pipeline's resize, third of its steps, keeps one size.
train_dataloader = dict(dataset=dict(pipeline={'2': dict(type='Resize', scale=(1400, 800))}))
train_cfg = dict(max_epochs=32)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0001),
    paramwise_cfg=dict(norm_decay_mult=0.0),
)
param_scheduler = {'1': dict(end=32, milestones=[21, 27])}
