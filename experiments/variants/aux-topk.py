"""DeFCN's auxiliary one-to-many loss, after ``poto`` and ``3dmf``: the 9 best by quality."""

model = dict(bbox_head=dict(auxiliary=dict(type='OneToFewSelection', k=9, alpha=0.8, radius=None)))
