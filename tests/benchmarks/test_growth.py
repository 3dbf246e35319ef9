"""The benchmark of growth: a quick run has the ends of all curves, and the picture shows every point."""

import pytest

from benchmarks import growth


@pytest.fixture(scope='module')
def found(tmp_path_factory):
    """Rows of a quick run, and the file that it drew."""
    path = tmp_path_factory.mktemp('images') / 'growth.svg'
    return growth.measure(quick=True, figure=path), path


@pytest.mark.slow
def test_rows_of_a_quick_run(found):
    """Four quantities along four sweeps, all positive; memory is the same on every machine: it grows with the batch."""
    rows, _ = found
    assert len(rows) == 16 and len({row.case for row in rows}) == 16
    assert all(row.ours > 0 and row.against > 0 and row.met is None for row in rows)
    in_mb = {row.case: row for row in rows if row.unit == 'MB'}
    assert sum(case.startswith('loss, ') for case in in_mb) == 4
    images = in_mb['loss, memory at the peak, 2 images per batch']
    assert images.ours > 1.5 * images.against


@pytest.mark.slow
def test_the_picture(found):
    """An SVG; drawn again from the same figures it is the same file."""
    _, path = found
    assert path.read_text(encoding='utf-8').startswith('<?xml')
    curves = [
        growth.Curve(name, *quantity, ours=[(1.0, 2.0), (10.0, 3.0)], other=[(1.0, 5.0)])
        for name, *_ in growth.SWEEPS[:1]
        for quantity in growth.QUANTITIES
    ]
    drawn = []
    for name in ('once', 'again'):
        folder = path.parent / name
        growth.draw(curves, folder / 'growth.svg')
        drawn.append((folder / 'growth.svg').read_bytes())
    assert drawn[0] == drawn[1]


def test_the_others_end_where_they_take_too_long(monkeypatch):
    """Ours go on to the end, the others have no point after the one that took longer than they may."""
    monkeypatch.setattr(growth, 'ENOUGH_S', 0.0)
    curves = growth._sweep(*growth.SWEEPS[0], quick=True)
    assert [len(curve.ours) for curve in curves] == [2] * 4
    assert [len(curve.other) for curve in curves] == [1] * 4
