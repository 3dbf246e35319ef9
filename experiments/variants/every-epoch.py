"""Every epoch is evaluated on so many validation images that Fig. 5 can be drawn: on all, as the paper's settings do.

A profile that evaluates few images before the last epoch says under ``variants`` how many they are here.
"""

train_cfg = dict(val_interval=1)
