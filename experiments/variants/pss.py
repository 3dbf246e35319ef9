"""PSS's recipe, after ``dual``, ``dual-fcos`` and ``fcos-losses``: FCOS as it is, and a score that picks one anchor.

The score's layers learn from the focal loss on the product of the three scores, and from the order of these products.
FCOS's own losses train everything else. PSS matches within FCOS's positives; here Omega is the centre region.
"""

model = dict(
    bbox_head=dict(
        score_factor='pss',
        selection=dict(_delete_=True, type='HungarianSelection', alpha=0.8, metric='multiply', radius=1.5),
        degrees=dict(_delete_=True, type='ConstantDegrees', t=1.0),
        loss_cls=dict(positive_weight=0.25, positive_gamma=2.0, negative_weight=0.75, gamma=2.0),
        loss_bbox=dict(loss_weight=0.0),
        loss_rank=dict(type='RankingLoss', loss_weight=0.25, margin=0.5, negatives=100),
        second=dict(shares='predictors'),
    )
)
