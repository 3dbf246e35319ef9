"""DATE's recipe, after ``poto``, ``dual``, ``dual-fcos`` and ``fcos-losses``: POTO and FCOS on shared towers.

DATE's FCOS has no centre sampling. Its distances are exponentials and its centerness is on the classification tower;
here both are as in the other rows. Its L1 loss is on centres, widths and heights; here it is on edges.
"""

model = dict(
    bbox_head=dict(
        loss_cls=dict(loss_weight=2.0),
        loss_l1=dict(type='L1Loss', loss_weight=5.0),
        second=dict(selection=dict(radius=None), loss_bbox=dict(type='IoULoss', loss_weight=1.0)),
    )
)
