"""FCOS on CrowdHuman, after ``fcos``: MMDetection's head with the switch for regions to ignore of the other heads."""

model = dict(bbox_head=dict(type='FCOSHeadWithIgnore', ignore_regions=False))
