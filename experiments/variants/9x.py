"""Three times the 3x schedule, after ``3x``: 108 epochs, decay after 72 and 99."""

train_cfg = dict(max_epochs=108)
param_scheduler = {'1': dict(end=108, milestones=[72, 99])}
