"""The benchmark of the assignment: it runs, and it does not time what is not the same."""

import dataclasses

import pytest
import torch

from benchmarks import assignment, per_instance
from benchmarks.problem import problem
from o2f.assign.matching_score import Instances


@pytest.fixture(scope='module')
def given():
    return problem(20, size=(160, 240), classes=5)


def test_rows_of_a_quick_run():
    """Each figure is a positive number of milliseconds or megabytes, and what holds on any machine holds."""
    rows = assignment.measure(quick=True)
    assert all(row.ours > 0 and (row.against is None or row.against > 0) for row in rows)
    assert {row.unit for row in rows} == {'ms', 'MB'}
    memory = [row for row in rows if row.unit == 'MB']
    assert [row.met for row in memory] == [True, True]
    assert len({row.case for row in rows}) == len(rows)


def test_both_give_the_same(given):
    """Also with an image without instances."""
    assignment.require_identical(given, *assignment.assign(given))
    of_first = given.instances.image == 0
    columns = (getattr(given.instances, name)[of_first] for name in ('boxes', 'labels', 'image'))
    alone = Instances(*columns)
    one = dataclasses.replace(given, instances=alone)
    assignment.require_identical(one, *assignment.assign(one))


def test_instances_compete_in_the_problem(given):
    """The comparison is of a batch in which anchors are lost to other instances and instances are short of anchors."""
    found = per_instance.assign(given)
    kept = torch.tensor([len(of_instance.anchor) for of_instance in found])
    assert (kept == 7).any() and ((kept > 0) & (kept < 7)).any()
    anchors = torch.cat([of_instance.anchor for of_instance in found])
    assert len(anchors.unique()) == len(anchors)


@pytest.mark.parametrize('what', ['anchor', 'kept', 'certain', 'degree', 'instances'])
def test_a_difference_is_caught(given, what):
    """One anchor, one that is missing, another certain one, a degree that is off by a millionth, one instance less."""
    selected, degrees = assignment.assign(given)
    row = int(selected.kept.sum(dim=1).argmax())
    changed = {name: getattr(selected, name).clone() for name in ('anchor', 'kept', 'certain')}
    if what == 'anchor':
        changed['anchor'][row, 1] += 1
    elif what == 'kept':
        changed['kept'][row, 1] = False
    elif what == 'certain':
        changed['certain'][row, :2] = torch.tensor([False, True])
    elif what == 'degree':
        degrees[row, 1] *= 1 + 1e-6
    else:
        changed = {name: value[1:] for name, value in changed.items()}
    with pytest.raises(AssertionError):
        assignment.require_identical(given, dataclasses.replace(selected, **changed), degrees)


def test_the_largest_tensor_is_no_view():
    """Made by an operation; what only looks at another one's elements does not count."""
    x = torch.zeros(100, 100)
    with assignment.LargestTensor() as largest:
        x.flatten()[:50].add_(1)
    assert largest.bytes == 0
    with assignment.LargestTensor() as largest:
        (x[:10] + 1.0).double()
    assert largest.bytes == 1000 * 8
