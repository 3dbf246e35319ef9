"""SIGKILL to the launcher; in the slow test to a worker and to both too. All fifty are in tests/kills.py."""

import kills
import pytest


@pytest.mark.parametrize('count', [1, pytest.param(len(kills.VICTIMS), marks=pytest.mark.slow)])
def test_the_next_start_ends_as_if_nothing_had_happened(data, count):
    lines = []
    assert kills.kills(count, seed=0, report=lines.append, data=data) == [], lines
    assert sum(' 0 killed' not in line for line in lines[1:]) == count
