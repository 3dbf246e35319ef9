"""The 3x schedule: 36 epochs, decay after 24 and 33, the short side drawn from 640 to 800 for each image."""

train_cfg = dict(max_epochs=36)
param_scheduler = {'1': dict(end=36, milestones=[24, 33])}
# The pipeline's resize, third of its steps, becomes one at random; it keeps the ratio as before.
train_dataloader = dict(dataset=dict(pipeline={'2': dict(type='RandomResize', scale=[(1333, 640), (1333, 800)])}))
