"""A second branch that only training sees: the 10 best anchors of each instance, all fully positive, on shared towers.

The main branch is whatever it was. Values that a study changes are all written out, so that ``set`` finds them.
"""

model = dict(
    bbox_head=dict(
        second=dict(
            shares='towers',
            stop_gradient='none',
            weight=dict(first=1.0, last=1.0, shape='linear'),
            main_weight=dict(first=1.0, last=1.0, shape='linear'),
            selection=dict(
                type='OneToFewSelection', k=10, alpha=0.8, metric='multiply', radius=1.5, k_includes_certain=True
            ),
            degrees=dict(type='ConstantDegrees', t=1.0),
            loss_cls=dict(
                type='OneToFewLoss',
                use_sigmoid=True,
                ambiguous_weight=1.0,
                negative_weight=0.75,
                gamma=2.0,
                loss_weight=1.0,
            ),
            loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
            box_weight='centerness',
            score_factor='centerness',
        )
    )
)
