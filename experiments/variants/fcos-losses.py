"""FCOS's own losses for the second branch, after ``dual`` and ``dual-fcos``: on classification, centerness and boxes.

They are those of ``fcos``: focal loss on the classification score, centerness by its own loss, weights of 1.
"""

model = dict(
    bbox_head=dict(
        centerness_convs=0,
        second=dict(
            loss_cls=dict(positive_weight=0.25, positive_gamma=2.0, negative_weight=0.75, gamma=2.0),
            loss_bbox=dict(type='GIoULoss', loss_weight=1.0),
            loss_centerness=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
        ),
    )
)
