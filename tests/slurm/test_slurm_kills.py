"""SIGKILL to what waits for the jobs, to a job, to both; the whole experiment is in tests/kills.py."""

import kills


def test_the_next_start_ends_as_if_nothing_had_happened(cluster, data, tmp_path):
    file = tmp_path / 'cluster.yaml'
    file.write_text('timeout_min: 10')
    options = ('--launcher', 'slurm', '--cluster', str(file), '--wait')
    lines = []
    assert kills.kills(len(kills.VICTIMS), seed=0, options=options, report=lines.append, data=data) == [], lines
