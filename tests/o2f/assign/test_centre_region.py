"""Omega of section 3.2: the enumerated candidates are exactly the points a full search finds."""

import itertools

import numpy as np
import pytest
import torch
from assignment_cases import TRUTH, make_batch
from mmdet.models.task_modules.prior_generators import MlvlPointGenerator
from reference import anchor_points, in_centre_region

from o2f.assign.centre_region import AnchorGrid, candidate_points, grid_of, points_of

GRID = AnchorGrid(((12, 17), (6, 9), (3, 5), (2, 3), (1, 2)), (8, 16, 32, 64, 128))


def found(boxes, grid, radius, centres=None) -> list:
    """Per box, the indices of the points reported inside, in the order reported."""
    centres = None if centres is None else torch.tensor(centres)
    index, inside = candidate_points(torch.as_tensor(boxes, dtype=torch.float32), grid, radius, centres)
    assert index.shape == inside.shape and index.dtype == torch.int64
    return [row[mask].tolist() for row, mask in zip(index, inside)]


def searched(boxes, grid, radius, centres=None) -> list:
    """The same by looking at every point."""
    points = anchor_points(grid.shapes, grid.strides)
    return [
        [i for i, point in enumerate(points) if in_centre_region(*point, box, radius, centre)]
        for box, centre in zip(boxes, centres or [None] * len(boxes))
    ]


KINDS = [kind for kind in TRUTH if kind not in ('none', 'many')]


def boxes_of(kind: str) -> tuple:
    """The boxes of a batch of that kind, and its grid."""
    batch = make_batch(kind, seed=1)
    return [box for image in batch.instances for box, _ in image], batch.grid


@pytest.mark.parametrize('radius', [0.5, 1, 1.5, 2, 3.25, None])
@pytest.mark.parametrize('kind', KINDS)
def test_equals_a_full_search(kind, radius):
    """Same points, in ascending order, each once, for every kind of box; also with radii the paper does not use, and
    with none, where every point strictly inside the box counts."""
    boxes, grid = boxes_of(kind)
    assert found(boxes, grid, radius) == searched(boxes, grid, radius)


@pytest.mark.parametrize('radius', [1.5, 2, None])
@pytest.mark.parametrize('kind', KINDS)
def test_given_centres(kind, radius):
    """The square is round the given point, as with a mask's centroid, and still cut with the box; without a radius
    there is no square."""
    boxes, grid = boxes_of(kind)
    rng = np.random.default_rng(7)
    centres = [
        tuple(np.float32(rng.uniform((x1 - 9, y1 - 9), (x2 + 9, y2 + 9))).tolist())
        for x1, y1, x2, y2 in (np.sort(np.reshape(box, (2, 2)), axis=0).ravel() for box in boxes)
    ]
    assert found(boxes, grid, radius, centres) == searched(boxes, grid, radius, centres)


def test_a_centre_on_the_edge_of_the_box():
    """Half of the square is outside of the box and does not count; a centre far away leaves nothing."""
    grid, box = AnchorGrid(((8, 8),), (8,)), [0, 0, 40, 64]
    assert found([box], grid, 1.5, [(40, 28)]) == [[r * 8 + c for r in (2, 3, 4) for c in (4,)]]
    assert found([box], grid, 1.5, [(1000, 28)]) == found([box], grid, 1.5, [(-1000, 28)]) == [[]]
    assert found([box], grid, 1.5, [(20, 32)]) == found([box], grid, 1.5)


def test_points_on_the_edge_are_outside():
    """Both conditions are strict: a point on the box's edge or on the square's edge does not count."""
    grid = AnchorGrid(((8, 8),), (8,))
    assert found([[4, 4, 20, 20]], grid, 1.5) == [[9]]  # points 4 and 20 lie on the edge, 12 is inside
    # Centre (32, 32): the square reaches from 20 to 44, where points lie; those at 28 and 36 are inside.
    assert found([[0, 0, 64, 64]], grid, 1.5) == [[27, 28, 35, 36]]
    # A centre on a point has its neighbours one stride away.
    assert found([[0, 0, 56, 56]], grid, 1.5) == [[r * 8 + c for r, c in itertools.product((2, 3, 4), repeat=2)]]
    assert found([[0, 0, 56, 56]], grid, 1) == [[27]]


def test_at_most_nine_points_of_a_level():
    """Radius 1.5 never holds more than 3 x 3 points of a level, wherever the box is."""
    corner = np.random.default_rng(0).uniform(0, 100, (200, 2))
    index, inside = candidate_points(torch.tensor(np.hstack((corner - 200, corner + 200))).float(), GRID, 1.5)
    assert index.shape == inside.shape == (200, 5 * 9)
    level = torch.bucketize(index, torch.tensor(GRID.offsets[1:]), right=True)
    assert max((inside & (level == number)).sum(dim=1).max() for number in range(5)) == 9


def test_indices_are_valid_even_where_meaningless():
    """Candidates beyond the map are clamped into it, so that gathering them cannot fail."""
    far = [[-1e5, -1e5, -9e4, -9e4], [1e5, 1e5, 2e5, 2e5], [-1e6, 10, 1e6, 12], [5, 5, 5, 5], [50, 50, -50, -50]]
    index, _ = candidate_points(torch.tensor(far), GRID, 1.5)
    assert index.dtype == torch.int64 and 0 <= index.min() and index.max() < GRID.num_points
    assert found(far, GRID, 1.5) == searched(far, GRID, 1.5)


@pytest.mark.parametrize(('radius', 'columns'), [(1.5, 45), (1, 20), (None, 281)])
def test_without_boxes(radius, columns):
    index, inside = candidate_points(torch.zeros(0, 4), GRID, radius)
    assert index.shape == inside.shape == (0, columns)


def test_points_are_those_of_mmdetection():
    """Same points in the same order as MMDetection's generator, which its heads decode with at test time."""
    theirs = MlvlPointGenerator(GRID.strides).grid_priors(GRID.shapes, device='cpu')
    assert torch.equal(points_of(GRID, torch.device('cpu')), torch.cat(theirs))
    assert points_of(GRID, torch.device('cpu')).tolist() == [
        list(point[:2]) for point in anchor_points(GRID.shapes, GRID.strides)
    ]


def test_the_grid_of_maps():
    maps = [torch.zeros(2, 80, *shape) for shape in GRID.shapes]
    assert grid_of(maps, list(GRID.strides)) == GRID
    assert GRID.num_points == 204 + 54 + 15 + 6 + 2
    assert GRID.offsets == (0, 204, 258, 273, 279)
