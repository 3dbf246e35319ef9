from itertools import combinations

import numpy as np
import pytest

from experiments.data.synthetic.shapes import NAMES, SHAPES, blend, stamp, tight_box


@pytest.mark.parametrize('shape', SHAPES, ids=NAMES)
def test_a_shape_fits_its_window_however_it_is_turned(shape):
    for turn in np.linspace(0, 2 * np.pi, 13):
        piece = stamp(shape, (30.3, 40.8), (21.0, 15.5), turn)
        edge = [piece.mask[0], piece.mask[-1], piece.mask[:, 0], piece.mask[:, -1]]
        assert piece.mask.any() and not np.concatenate(edge).any()
        assert piece.distance.dtype == np.float32


@pytest.mark.parametrize('shape', SHAPES, ids=NAMES)
def test_area_grows_with_both_half_sizes(shape):
    small, large = stamp(shape, (50, 50), (10, 12)), stamp(shape, (50, 50), (20, 36))
    assert large.mask.sum() == pytest.approx(6 * small.mask.sum(), rel=0.1)


def test_shapes_differ_even_at_twelve_pixels():
    """Turned to match best, no two kinds agree on more than 90 % of their pixels."""
    turns = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    masks = [[stamp(shape, (20.0, 20.0), (6.0, 6.0), turn).mask for turn in turns] for shape in SHAPES]
    for (i, (one, *_)), (j, others) in combinations(enumerate(masks), 2):
        best = max((one & other).sum() / (one | other).sum() for other in others)
        assert best < 0.9, (NAMES[i], NAMES[j])


def test_a_disc_lies_where_it_is_put():
    piece = stamp(SHAPES[0], (10.0, 20.0), (10.0, 10.0))
    assert tight_box(piece.mask, piece.left, piece.top) == pytest.approx((0.5, 10.5, 19, 19), abs=1)
    assert piece.mask.sum() == pytest.approx(np.pi * 9.5**2, rel=0.05)


def test_clip_cuts_what_lies_outside():
    piece = stamp(SHAPES[1], (0.0, 5.0), (8.0, 8.0))
    here, there = piece.clip(30, 40)
    image = np.zeros((30, 40, 3), np.float32)
    assert image[here].shape[:2] == piece.mask[there].shape
    blend(image[here], piece.distance[there], np.array([9.0, 9.0, 9.0]))
    assert image[5, 0, 0] == 9 and image[29].max() == 0
    here, there = stamp(SHAPES[1], (-50.0, 500.0), (8.0, 8.0)).clip(30, 40)
    assert image[here].size == 0 and piece.mask[there].size == 0


def test_an_empty_mask_has_no_box():
    with pytest.raises(ValueError):
        tight_box(np.zeros((3, 3), bool))
