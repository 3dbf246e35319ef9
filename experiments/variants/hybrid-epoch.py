"""H-DETR's Hybrid-Epoch on FCOS: one-to-many targets for the first two thirds of the epochs, then one-to-one.

The paper gives neither the switching point (2/3 in H-DETR) nor the one-to-many targets. They are FCOS's own here; the
10 best by Eq. 1 are ``one_to_many=dict(type='OneToFewSelection', k=10)``.
"""

model = dict(
    bbox_head=dict(
        selection=dict(
            _delete_=True,
            type='HybridEpochSelection',
            switch=2 / 3,
            one_to_many=dict(
                type='FCOSSelection',
                regress_ranges=((-1, 64), (64, 128), (128, 256), (256, 512), (512, 1e8)),
                radius=1.5,
            ),
            one_to_one=dict(type='OneToFewSelection', k=0, alpha=0.8, metric='multiply', radius=1.5),
        ),
        degrees=dict(_delete_=True, type='ConstantDegrees', t=1.0),
        # Every positive counts in full, so that a rerun with one_to_many of soft anchors does too.
        loss_cls=dict(ambiguous_weight=1.0),
    )
)
