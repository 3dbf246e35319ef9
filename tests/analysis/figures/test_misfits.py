"""A reader's own table may have the name of one that a figure was made for: the figure is left out with one line."""

import html
import json
import shutil

import pytest
from stored_files import axis, metric
from stored_studies import write_study

from analysis import figures
from analysis.figures import curves
from analysis.report.page import gather, render
from experiments.store.errors import UserError

POSITIVES = dict(positives=lambda number, epoch: {'certain': 1.0, 'ambiguous': 5.0, 'degree': 2.0})


def why_not(store, name):
    """The message of a figure that cannot be drawn."""
    with pytest.raises(UserError) as caught:
        figures.draw(name, store.runs, 'desk')
    text = str(caught.value)
    assert '\n' not in text and name in text
    return text


def fig5_of(store, rows):
    store.plan('fig5', rows=[axis('method', 'Method', *(f'm{i}' for i in range(rows)))], columns=[])
    for number in range(rows):
        store.epochs(number, [(0.1, 0.2), (0.2, 0.3)], **POSITIVES)


def without(store, study, name, value):
    """Take a value of an axis out of the plan of a study."""
    path = store.runs / 'desk' / 'tables' / f'{study}.json'
    plan = json.loads(path.read_text())
    del plan['axes'][name]['values'][value]
    plan['cells'] = [cell for cell in plan['cells'] if cell['at'][name] != value]
    path.write_text(json.dumps({**plan, 'claims': []}))


@pytest.mark.parametrize('rows, left_out', [(3, []), (4, ['positives']), (6, ['fig5', 'positives'])])
def test_more_lines_than_can_be_told_apart(store, rows, left_out):
    fig5_of(store, rows)
    for name in ('fig5', 'positives', 'curves-fig5'):
        if name in left_out:
            line = f'the plan of fig5 does not fit the figure {name}: it has {rows} cells'
            assert why_not(store, name).startswith(line)
        else:
            figures.draw(name, store.runs, 'desk')


def test_a_table_without_a_reading(store):
    store.plan('fig5', rows=[axis('method', 'Method', 'a')], columns=[], metrics={'AP': ['without_nms/AP']})
    store.epochs(0, [(0.1, 0.2)])
    assert 'no pair of values, without and with NMS' in why_not(store, 'fig5')


def test_a_table_of_speeds_alone(store):
    store.plan('table1', columns=[], metrics={'FPS': metric('speed/{reading}/fps')})
    store.epochs(0, [(0.1, 0.2)])
    assert 'its metrics are speeds alone' in why_not(store, 'curves-table1')


@pytest.mark.parametrize(
    'study, name, value',
    [('crowding', 'method', 'FCOS-0.6'), ('scaling', 'schedule', '3x'), ('scaling', 'method', 'Ours')],
)
def test_a_study_without_what_its_figure_compares(store, study, name, value):
    write_study(store, study, (0,), lambda at, seed: (0.3, 0.4))
    without(store, study, name, value)
    assert f'its axis {name} lacks {value}' in why_not(store, study)


def test_a_study_that_lacks_a_cell_or_has_other_axes(store):
    write_study(store, 'scaling', (0,), lambda at, seed: (0.3, 0.4))
    path = store.runs / 'desk' / 'tables' / 'scaling.json'
    plan = json.loads(path.read_text())
    path.write_text(json.dumps({**plan, 'claims': [], 'cells': plan['cells'][1:]}))
    assert f'it has no cell {" ".join(plan["cells"][0]["at"].values())}' in why_not(store, 'scaling')
    store.plan('scaling')
    store.all_results()
    assert 'its axes are t_min, t_max, not strides, method, schedule' in why_not(store, 'scaling')


@pytest.mark.parametrize(
    'changes, says',
    [
        (dict(rows=[axis('t_min', 'T^min', 'low', '0.2')]), 'its t_min low is no number'),
        (dict(columns=[]), 'one axis down and one across'),
        (dict(metrics={'AP': ['with_nms/AP']}), 'no pair of values'),
    ],
)
def test_the_gap_of_another_table_3(store, changes, says):
    store.plan(**changes)
    store.all_results()
    assert says in why_not(store, 'gap')


def test_anything_else_that_is_raised_is_named_and_faults_of_the_program_are_not_hidden(store, monkeypatch):
    store.fig5()

    def raises(error):
        def function(plan, stored):
            raise error

        monkeypatch.setattr(curves, 'curves', function)

    raises(KeyError('colour'))
    line = 'what is stored of fig5 does not fit the figure curves-fig5, which raised KeyError in '
    assert why_not(store, 'curves-fig5').startswith(line) and "'colour'" in why_not(store, 'curves-fig5')
    raises(AttributeError('no such attribute'))
    with pytest.raises(AttributeError):
        figures.draw('curves-fig5', store.runs, 'desk')


def test_the_other_figures_are_still_drawn(store, tmp_path):
    fig5_of(store, 4)
    done = store.figures('--out', tmp_path, '--format', 'png')
    assert done.returncode == 0 and 'Traceback' not in done.stderr
    assert 'make_figures.py: positives: the plan of fig5 does not fit the figure positives' in done.stderr
    assert (tmp_path / 'fig5.png').exists() and (tmp_path / 'curves-fig5.png').exists()


def test_the_report_says_why_a_figure_is_not_drawn(store):
    fig5_of(store, 6)
    page = html.unescape(render(gather(store.runs, 'desk')))
    assert '<dd>the plan of fig5 does not fit the figure fig5: it has 6 cells' in page
    assert page.count('<img src="data:image/webp') == 2  # the schedule and the curves


def test_what_is_missing_for_the_differences(store, full):
    """A profile whose tables print no numbers is told so; else the first table that has some is named."""
    paper = 'python experiments/run.py table3 --runs'
    for path in (full.runs / 'desk').glob('*/result.json'):
        path.unlink()
    assert f'has been measured: run {paper}' in why_not_fidelity(full)
    content = full.plan('table1', columns=[])
    assert not any(cell['paper'] for cell in content['cells'])
    assert f'has been measured: run {paper}' in why_not_fidelity(full)
    (full.runs / 'desk' / 'tables' / 'table3.json').unlink()
    said = why_not_fidelity(full)
    assert 'no table of profile desk (table1) has differences that the paper prints' in said and paper in said


def why_not_fidelity(store):
    with pytest.raises(UserError) as caught:
        figures.draw('fidelity', store.runs, 'desk')
    return str(caught.value)


def test_older_runs_of_a_profile_of_ones_own_are_trained_anew_with_its_file(store):
    store.fig5()
    shutil.move(store.runs / 'desk', store.runs / 'mine')
    for path in (store.runs / 'mine').glob('tables/*.json'):
        path.write_text(json.dumps({**json.loads(path.read_text()), 'profile': 'mine'}))
    (store.runs / 'mine' / 'mine.py').write_text("base = 'smoke'\n")
    with pytest.raises(UserError) as caught:
        figures.draw('losses-fig5', store.runs, 'mine')
    assert '/mine/mine.py --data DIR --runs OTHER' in str(caught.value)
