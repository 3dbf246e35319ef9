"""OneNet's recipe, after ``poto``: the anchor of least cost over the whole image, focal, L1 and GIoU losses.

The paper takes the least cost of each instance. ``HungarianSelection`` with the same settings is the released code's.
"""

model = dict(
    bbox_head=dict(
        selection=dict(_delete_=True, type='OneToFewSelection', k=0, metric='detr_cost', radius='image'),
        loss_cls=dict(loss_weight=2.0),
        loss_l1=dict(type='L1Loss', loss_weight=5.0),
    )
)
