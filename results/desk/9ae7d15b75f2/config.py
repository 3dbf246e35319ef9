_base_ = '../tables/crowding.py'
generate = {'scenes': {'cluster': 0.9, 'twin': 0.9, 'visible': 0.35}}
