"""Benchmarks run from end to end on small sizes; what they measure there means nothing and is not judged."""

import math

import pytest

from benchmarks import commands, export, grid, inference, leave_out, loading, many_runs, step
from benchmarks.rows import table


@pytest.mark.parametrize(
    'module',
    [
        *(export, loading, leave_out),
        *(pytest.param(module, marks=pytest.mark.slow) for module in (step, inference, commands, grid, many_runs)),
    ],
    ids=lambda module: module.__name__,
)
def test_every_figure_is_there(module):
    rows = module.measure(quick=True)
    assert rows and len({row.case for row in rows}) == len(rows)
    for row in rows:
        figures = [row.ours] + ([] if row.against is None else [row.against])
        assert all(math.isfinite(figure) and figure > 0 for figure in figures), row
        assert (row.against is not None) or (row.faster is None and row.at_most is None)
    assert len(table(rows).splitlines()) == len(rows) + 2
    assert any(row.met is not None for row in rows) or module is loading
    if module is grid:  # a share of what the workers had
        split_batch = {row.case.split(': ')[1]: row.ours for row in rows if row.unit == '%'}
        assert 0 < split_batch['workers waiting for data'] < split_batch['workers not training or evaluating'] < 100
