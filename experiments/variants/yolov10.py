"""YOLOv10's consistent dual assignment on this head, after ``dual``.

Both branches rank by p^0.5 IoU^6 in the whole box, take 1 and 10 anchors, and weight them by quality. Towers are
their own, and the main branch does not train the backbone. YOLOv10 has CIoU in place of IoU and of GIoU, a loss on the
distribution of distances, and loss weights for its own head; here they are those of the other rows.

Scores start as in its code: 5 objects in an image of 640 pixels, 5 / 80 classes / 80^2 cells of stride 8. Plain BCE
needs this. From the 0.01 that suits a focal loss, the first steps silence the classification towers on all objects.
"""

_parts: dict = dict(
    selection=dict(
        _delete_=True,
        type='OneToFewSelection',
        k=0,
        alpha=12 / 13,
        metric='multiply',
        radius=None,
        k_includes_certain=True,
    ),
    degrees=dict(_delete_=True, type='QualityDegrees', p_power=0.5, iou_power=6.0),
    loss_cls=dict(ambiguous_weight=1.0, negative_weight=1.0, gamma=0.0),
    box_weight='degree',
    normaliser='degrees',
    score_factor='none',
    init_cfg=dict(
        type='Normal',
        layer='Conv2d',
        std=0.01,
        override=dict(type='Normal', name='conv_cls', std=0.01, bias_prob=1e-5),
    ),
)
model = dict(
    bbox_head=dict(
        **_parts,
        second=dict(_parts, shares='neck', stop_gradient='main', selection=dict(_parts['selection'], k=10)),
    )
)
del _parts
