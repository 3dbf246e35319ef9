"""DeFCN's 3D max filtering, after ``poto``: p is the classification score times the filter."""

model = dict(bbox_head=dict(score_factor='3dmf'))
