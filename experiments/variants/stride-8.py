"""Levels from stride 8 on, as in the paper."""

model = dict(
    neck=dict(start_level=1, num_outs=5),
    bbox_head=dict(strides=[8, 16, 32, 64, 128]),
)
