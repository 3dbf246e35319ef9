"""SIGKILL to what drives the trials; in the slow test to a trial and to both with their cluster too."""

import kills
import pytest


@pytest.mark.parametrize('count', [1, pytest.param(len(kills.VICTIMS), marks=pytest.mark.slow)])
def test_the_next_start_ends_as_if_nothing_had_happened(need_ray, ray_folder, data, count):
    lines = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('RAY_TMPDIR', ray_folder)
        options = ('--launcher', 'ray')
        assert kills.kills(count, seed=0, options=options, report=lines.append, data=data) == [], lines
