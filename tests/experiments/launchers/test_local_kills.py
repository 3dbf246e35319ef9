"""SIGKILL to the launcher, to a worker, to both; the whole experiment is ``python tests/kills.py``."""

import kills


def test_the_next_start_ends_as_if_nothing_had_happened(data):
    lines = []
    assert kills.kills(len(kills.VICTIMS), seed=0, report=lines.append, data=data) == [], lines
    assert sum(' 0 killed' not in line for line in lines[1:]) == len(kills.VICTIMS)
