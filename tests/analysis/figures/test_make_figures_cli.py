"""make_figures.py as a user runs it."""

import subprocess
import sys

import numpy as np
import pytest
from stored_files import ROOT

from experiments.store.errors import UserError


def test_it_writes_what_can_be_drawn_and_says_what_the_rest_needs(store, tmp_path):
    store.fig5()
    store.detections()
    done = store.figures('--out', tmp_path / 'out', cwd=tmp_path)
    assert done.returncode == 0
    drawn = {path.name for path in (tmp_path / 'out').iterdir()}
    assert drawn == {
        f'{name}.{kind}' for name in ('schedule', 'fig5', 'fig7', 'curves-fig5') for kind in ('pdf', 'png')
    }
    said = done.stderr.splitlines()
    assert len(said) == 8  # fidelity, positives, mechanism, gap, fig6, fig8, fig9, losses-fig5
    captures, runs = store.runs / 'desk' / 'captures', f'--runs {store.runs}'
    missing = f'no capture {captures / "fig9.npz"}: run python experiments/run.py capture fig9 {runs} first'
    assert f'make_figures.py: fig9: {missing}' in said
    assert any(line.startswith('make_figures.py: gap: no plan') and 'run.py table3' in line for line in said)


def test_a_named_figure_that_is_missing_is_status_1_and_the_others_are_drawn(store):
    store.fig5()
    done = store.figures('fig6', 'fig5', '--format', 'png')
    assert done.returncode == 1 and [line.split()[1][-8:] for line in done.stdout.splitlines()] == ['fig5.png']
    assert (store.runs / 'desk' / 'figures' / 'fig5.png').exists()


def test_unknown_names_and_formats_are_status_2(store):
    done = store.figures('fig55')
    assert done.returncode == 2 and done.stderr.startswith(
        "make_figures.py: no figure 'fig55': there are fidelity, schedule, fig5"
    )
    assert store.figures('fig5', '--format', 'gif').returncode == 2


def test_the_list_has_two_figures_for_each_table(store):
    store.plan()
    names = [line.split()[0] for line in store.figures('--list').stdout.splitlines()]
    fixed = ['fidelity', 'schedule', 'fig5', 'positives', 'mechanism', 'gap', 'fig6', 'fig7', 'fig8', 'fig9']
    assert names == [*fixed, 'curves-table3', 'losses-table3']


@pytest.mark.parametrize('module', ['torch', 'o2f', 'mmengine'])
def test_it_starts_without_the_rest_of_the_suite(module):
    code = f'import sys; from analysis import make_figures; sys.exit({module!r} in sys.modules)'
    assert subprocess.run([sys.executable, '-c', code], cwd=ROOT, timeout=60).returncode == 0


def broken(store, what):
    """A capture in which something is wrong."""
    path = store.runs / 'desk' / 'captures' / 'fig7.npz'
    arrays = store.detections()
    if what == 'half of it':
        path.write_bytes(path.read_bytes()[:500])
    elif what == 'no zip':
        path.write_bytes(b'hello')
    elif what == 'an object':
        np.savez(path, meta=np.array([{}], dtype=object))
    elif what == 'another schema':
        store.detections(schema=2)
    elif what == 'another profile':
        store.detections(profile='paper')
    elif what == 'an array lacks':
        store.detections(images=[dict(id=17, size=[40, 60]), dict(id=18, size=[40, 60])])
    elif what == 'no image':
        arrays['image0'] = np.zeros(9, np.uint8)
        np.savez(path, **arrays, meta=np.load(path)['meta'])
    return path


@pytest.mark.parametrize(
    'what, says',
    [
        ('half of it', 'is no capture'),
        ('no zip', 'is no capture'),
        ('an object', 'is no capture'),
        ('another schema', 'is no capture (schema is 2, but 1 belongs here)'),
        ('another profile', "is no capture (it is of figure 'fig7' in profile 'paper')"),
        ('an array lacks', "'truth1.boxes' is missing"),
        ('no image', 'the image is damaged'),
    ],
)
def test_a_broken_capture_is_named_in_one_line(store, what, says):
    from analysis import figures

    path = broken(store, what)
    with pytest.raises(UserError) as caught:
        figures.draw('fig7', store.runs, 'desk')
    text = str(caught.value)
    assert text.startswith(str(path)) and says in text and 'run.py capture fig7' in text and '\n' not in text
