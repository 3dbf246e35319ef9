"""Levels from stride 4 on. A profile whose images are small says under ``variants`` which levels it has."""

model = dict(
    neck=dict(start_level=0, num_outs=6),
    bbox_head=dict(strides=[4, 8, 16, 32, 64, 128]),
)
