"""POTO (DeFCN): one anchor per instance by Hungarian matching, p the classification score, focal loss on p."""

model = dict(
    bbox_head=dict(
        score_factor='none',
        # Arg-max instead of Hungarian matching is dict(type='OneToFewSelection', k=0).
        selection=dict(_delete_=True, type='HungarianSelection', alpha=0.8, metric='multiply', radius=1.5),
        degrees=dict(_delete_=True, type='ConstantDegrees', t=1.0),
        loss_cls=dict(positive_weight=0.25, positive_gamma=2.0, negative_weight=0.75, gamma=2.0),
        loss_bbox=dict(loss_weight=2.0),
        box_weight='uniform',
    )
)
