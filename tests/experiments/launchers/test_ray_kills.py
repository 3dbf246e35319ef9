"""SIGKILL to what drives the trials, to a trial, and to both with their cluster. The kill of the fast tests is in
test_ray.py, where a node dies."""

import kills
import pytest


@pytest.mark.slow
def test_the_next_start_ends_as_if_nothing_had_happened(need_ray, ray_folder, data):
    lines = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('RAY_TMPDIR', ray_folder)
        options = ('--launcher', 'ray')
        assert kills.kills(len(kills.VICTIMS), seed=0, options=options, report=lines.append, data=data) == [], lines
