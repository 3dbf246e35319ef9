"""The figure of the study `crowding`: its differences are those of the stored results."""

import numpy as np
from stored_studies import write_study

from analysis import figures

OVERLAPS = ['none', 'desk', 'high', 'highest']
#: AP without and with NMS on scenes without overlap, and what each step of overlap takes from both.
METHODS = {
    'FCOS-0.5': ((0.1, 0.41), 0.06),
    'FCOS-0.6': ((0.1, 0.40), 0.05),
    'FCOS-0.7': ((0.1, 0.38), 0.04),
    'POTO': ((0.36, 0.5), 0.02),
    'Ours': ((0.39, 0.5), 0.01),
    'Dual': ((0.39, 0.5), 0.02),
    'one-to-one': ((0.35, 0.5), 0.03),
    'claims-7-keeps-1': ((0.35, 0.5), 0.02),
}


def test_the_lines_are_differences_from_fcos_with_nms(store):
    """FCOS is shown with NMS, the others without. A method that lacks scenes has a shorter line, and one that lacks
    seeds is compared on those it has."""

    def ap(at, seed):
        both, loss = METHODS[at['method']]
        return tuple(value - loss * OVERLAPS.index(at['overlap']) + 0.01 * (seed - 1) for value in both)

    plan = write_study(store, 'crowding', (0, 1, 2), ap)
    for cell in plan.cells:
        lacks = {'POTO highest': (0, 1, 2), 'FCOS-0.5 desk': (1, 2)}.get(' '.join(cell.cell.at.values()), ())
        for seed in lacks:
            (store.runs / 'desk' / cell.runs[seed].id / 'result.json').unlink()
    axes = figures.draw('crowding', store.runs, 'desk').axes[0]
    lines = {line.get_label(): line.get_ydata() for line in axes.get_lines()}
    expected = {
        'FCOS, NMS at 0.5': [1, 0, -1, -2],
        'FCOS, NMS at 0.7': [-2, -1, 0, 1],
        'POTO': [-4, -1, 2],
        'Ours': [-1, 3, 7, 11],
        'Dual': [-1, 2, 5, 8],
        'one-to-one': [-5, -3, -1, 1],
        'one-to-one, claims 7': [-5, -2, 1, 4],
    }
    assert {name for name in lines if not name.startswith('_')} == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(lines[name], values, atol=1e-9)


def test_it_is_there_if_the_study_is(store):
    assert 'crowding' not in figures.entries(store.runs, 'desk')
