"""SIGKILL to the launcher; in the slow test to a worker and to both too. All fifty are in tests/kills.py."""

import kills
import pytest


@pytest.mark.parametrize(
    'count, options', [(1, kills.ONE), pytest.param(len(kills.VICTIMS), (), marks=pytest.mark.slow)], ids=['one', 'all']
)
def test_the_next_start_ends_as_if_nothing_had_happened(data, count, options):
    lines = []
    assert kills.kills(count, seed=0, options=options, report=lines.append, data=data) == [], lines
    assert sum(' 0 killed' not in line for line in lines[1:]) == count
