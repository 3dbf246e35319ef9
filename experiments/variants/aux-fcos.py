"""DeFCN's auxiliary one-to-many loss, after ``poto`` and ``3dmf``: FCOS's own targets."""

model = dict(
    bbox_head=dict(
        auxiliary=dict(
            type='FCOSSelection', regress_ranges=((-1, 64), (64, 128), (128, 256), (256, 512), (512, 1e8)), radius=1.5
        )
    )
)
