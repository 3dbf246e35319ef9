_base_ = '../tables/crowding.py'
generate = {'scenes': {'cluster': 1.0, 'twin': 1.0, 'visible': 0.2}}
