_base_ = '../tables/crowding.py'
generate = {'scenes': {'cluster': 0.6, 'twin': 0.6}}
