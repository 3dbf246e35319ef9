"""Runs as trials of Ray Tune, on this machine or on a cluster of Ray.

=============  =========================================================================
options.py     ``--ray-address``, ``--cpus-per-run`` and ``--gpus-per-run``
cluster.py     connects to a cluster or starts one here, and says what it has
trial.py       what a trial does, in the process that Ray gives it
experiment.py  one Tune experiment: begun, or restored after the driver has died
launcher.py    has every run trained, in as many experiments as it takes
=============  =========================================================================
"""
