"""DeFCN's auxiliary one-to-many loss, after ``poto`` and ``3dmf``: targets in ATSS's manner, by quality."""

model = dict(bbox_head=dict(auxiliary=dict(type='QualityATSSSelection', topk=9, alpha=0.8)))
