"""The figure of the study `scaling`: its ratios are those of the stored results."""

import numpy as np
import pytest
from stored_studies import write_study

from analysis import figures
from experiments.store.errors import UserError

METHODS = ['FCOS', 'POTO', 'one-to-one', 'one-to-two', 'Ours', 'α=1']


def ap(at, seed):
    """Each method has its own AP; it grows with the schedule, and without NMS it is half at stride 8."""
    with_nms = (0.2 + 0.02 * METHODS.index(at['method'])) * dict(zip(('1x', '3x', '9x'), (1, 1.2, 1.5)))[at['schedule']]
    return with_nms * (0.5 if at['strides'] == '8-32' else 0.9) + 0.01 * (seed - 1), with_nms


def test_the_ratios_are_of_mean_ap(store):
    """Every ratio is inside its panel, also that of ours at stride 4, 1.26."""
    write_study(store, 'scaling', (0, 1, 2), ap)
    panels = {axes.get_title(): axes for axes in figures.draw('scaling', store.runs, 'desk').axes}
    assert list(panels) == ['FCOS / FCOS with NMS', 'POTO / FCOS with NMS', 'ours / FCOS with NMS', 'α = 1 / ours']
    expected = {'FCOS': 0.2, 'POTO': 0.22, 'Ours': 0.28, 'α=1': 0.3}
    for title, (above, below) in zip(panels, (('FCOS', 'FCOS'), ('POTO', 'FCOS'), ('Ours', 'FCOS'), ('α=1', 'Ours'))):
        lines = {line.get_label(): line for line in panels[title].get_lines()}
        assert list(lines) == ['strides 8-32', 'strides 4-32', 'paper']
        for label, share in (('strides 8-32', 0.5), ('strides 4-32', 0.9)):
            ratio = expected[above] / expected[below] * (share if below == 'FCOS' else 1)
            np.testing.assert_allclose(lines[label].get_ydata(), [ratio] * 3, rtol=1e-9)
            assert panels[title].get_ylim()[0] == 0 and panels[title].get_ylim()[1] > ratio
    for title, paper in {  # as Tables 4 and 5 print them
        'FCOS / FCOS with NMS': [17.7 / 38.6, 19.1 / 41.4],
        'POTO / FCOS with NMS': [36.5 / 38.6, 40.2 / 41.4],
        'ours / FCOS with NMS': [39.0 / 38.6, 42.2 / 41.4],
        'α = 1 / ours': [10.4 / 39.0],
    }.items():
        np.testing.assert_allclose(panels[title].get_lines()[-1].get_data(), [range(len(paper)), paper])


def test_it_is_there_if_the_study_is(store):
    assert 'scaling' not in figures.entries(store.runs, 'desk')
    store.plan()
    with pytest.raises(UserError, match="no figure 'scaling'"):
        figures.draw('scaling', store.runs, 'desk')
