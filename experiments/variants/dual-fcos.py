"""FCOS's own targets for the second branch, after ``dual``."""

model = dict(
    bbox_head=dict(
        second=dict(
            selection=dict(
                _delete_=True,
                type='FCOSSelection',
                regress_ranges=((-1, 64), (64, 128), (128, 256), (256, 512), (512, 1e8)),
                radius=1.5,
            )
        )
    )
)
