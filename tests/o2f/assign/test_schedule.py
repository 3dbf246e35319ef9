"""The schedules of T, K and weights, against their formulas written out."""

import math

import pytest

from o2f.assign.schedule import SHAPES, Schedule, read_schedule

#: The number of epoch j of N, by shape; a and b are the ends.
FORMULAS = dict(
    linear=lambda a, b, j, n: a + (b - a) * j / (n - 1),
    cosine=lambda a, b, j, n: (a + b) / 2 + (a - b) / 2 * math.cos(math.pi * j / (n - 1)),
    step=lambda a, b, j, n: a if j < n / 2 else b,
    exponential=lambda a, b, j, n: math.exp(math.log(a) + (math.log(b) - math.log(a)) * j / (n - 1)),
)


def numbers(schedule, epochs):
    return [schedule.at(epoch, epochs) for epoch in range(epochs)]


@pytest.mark.parametrize('epochs', [2, 12, 13, 36])
@pytest.mark.parametrize(('first', 'last'), [(0.6, 0.2), (0.2, 0.6), (0.4, 0.4), (7, 1)])
@pytest.mark.parametrize('shape', SHAPES)
def test_each_epoch(shape, first, last, epochs):
    found = numbers(Schedule(first, last, shape), epochs)
    assert found == pytest.approx([FORMULAS[shape](first, last, epoch, epochs) for epoch in range(epochs)], rel=1e-12)
    assert (found[0], found[-1]) == pytest.approx((first, last))
    assert found == sorted(found, reverse=first > last)


def test_the_shapes_are_all_there():
    assert set(FORMULAS) == set(SHAPES)


@pytest.mark.parametrize('shape', ['linear', 'cosine', 'step'])
def test_symmetric_shapes_have_the_mean_of_their_ends(shape):
    """So the study of T compares shapes, not amounts."""
    assert sum(numbers(Schedule(0.6, 0.2, shape), 12)) / 12 == pytest.approx(0.4)


@pytest.mark.parametrize('shape', SHAPES)
def test_one_epoch_has_the_first_number(shape):
    assert Schedule(0.6, 0.2, shape).at(0, 1) == 0.6


def test_a_number_stands_for_itself():
    assert numbers(read_schedule(0.4, 'x'), 5) == [0.4] * 5
    assert read_schedule(dict(first=2, last=1, shape='step'), 'x') == Schedule(2, 1, 'step')


@pytest.mark.parametrize(
    ('config', 'says'),
    [
        (1.5, 'degrees: t must be between 0 and 1, not 1.5'),
        (dict(first=0.5, last=-1), 'degrees: t must be between 0 and 1, not -1'),
        (float('nan'), 'degrees: t must be between 0 and 1, not nan'),
        ('high', "degrees: t must be a number or a schedule, not 'high'"),
        (True, 'degrees: t must be a number or a schedule, not True'),
        (dict(start=1), 'degrees: t: a schedule has first, last and shape, not start'),
        (dict(first=1, last=0, shape='wave'), "schedule: shape must be one of linear, .*, not 'wave'"),
        (dict(first=1, last=0, shape='exponential'), 'schedule: an exponential one needs ends above 0, not 1 and 0'),
    ],
)
def test_bad_schedules_are_named(config, says):
    with pytest.raises(ValueError, match=says):
        read_schedule(config, 'degrees: t', 0, 1)
