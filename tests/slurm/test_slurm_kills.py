"""SIGKILL to what waits for the jobs; in the slow test to a job and to both too. All fifty are in tests/kills.py."""

import kills
import pytest


@pytest.mark.parametrize(
    'count, fewer', [(1, kills.ONE), pytest.param(len(kills.VICTIMS), (), marks=pytest.mark.slow)], ids=['one', 'all']
)
def test_the_next_start_ends_as_if_nothing_had_happened(cluster, data, tmp_path, count, fewer):
    file = tmp_path / 'cluster.yaml'
    file.write_text('timeout_min: 10')
    options = (*fewer, '--launcher', 'slurm', '--cluster', str(file), '--wait')
    lines = []
    assert kills.kills(count, seed=0, options=options, report=lines.append, data=data) == [], lines
