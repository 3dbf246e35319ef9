"""docs/results.md as make_results.py writes it."""

import json
import subprocess
import sys

import pytest
import stored_claims
from stored_files import ROOT, axis, run_id

from analysis import make_results, results
from experiments.commands.parser import parse


def make(store, out, *args):
    command = [sys.executable, str(ROOT / 'analysis' / 'make_results.py'), '--runs', str(store.runs), '--out', str(out)]
    return subprocess.run([*command, *args], capture_output=True, text=True, cwd='/')


@pytest.fixture
def claimed(store):
    """Three runs, of which the first is the best: one claim says so, another says the contrary, a third is open."""
    pairs = {'better': ('new', 'old'), 'worse': ('old', 'new'), 'equal': ('old', 'other')}
    claims = [
        stored_claims.claim(stored_claims.compare(left, 'greater', right), name=name)
        for name, (left, right) in pairs.items()
    ]
    stored_claims.write_plan(store, *claims, seeds=(0, 1))
    for number, quality in enumerate((0.8, 0.3, 0.3)):
        for seed in (0, 1):
            stored_claims.write_run(store, number, quality, seed)
            store.epochs(number, [(0.1, 0.1)] * 6, seed)
    return store


def test_claims_stand_under_their_verdict_and_tables_with_their_commands(claimed, tmp_path):
    claimed.write('notes/head.md', 'What it comes to.\n')
    claimed.write('notes/table1.md', 'What we make of it.\n')
    assert make(claimed, tmp_path / 'docs').returncode == 0
    text = (tmp_path / 'docs' / 'results.md').read_text()
    places = [
        text.index(part) for part in ('What it comes to.', '## What holds (1)', '`better`', '## What does not (1)')
    ]
    places += [text.index(part, places[-1]) for part in ('`worse`', '## What is undecided (1)', '`equal`')]
    places += [text.index(part, places[-1]) for part in ('## What was run', 'Measured (profile desk)', 'What we make')]
    assert places == sorted(places)
    assert '6 trainings, up to 2 seeds per cell, 0.1 hours' in text
    assert 'python experiments/run.py table1 --only la=new --seeds 0 1 --runs again' in text


def test_what_errors_cost_is_the_mean_over_seeds(claimed, tmp_path):
    """A value that a seed does not define is a dash, cells without breakdowns are left out, a broken one is named."""
    for number, seed, duplicate in ((0, 0, 0.1), (0, 1, 0.2), (1, 0, 0.3), (1, 1, None)):
        errors = {reading: {'duplicate': duplicate, 'missed': 0.05} for reading in ('without_nms', 'with_nms')}
        content = dict(schema=1, classes={}, errors=errors)
        claimed.write(f'desk/{run_id(number, seed)}/breakdown.json', json.dumps(content))
    claimed.write(f'desk/{run_id(2)}/breakdown.json', '{"schema": 1}')
    done = make(claimed, tmp_path / 'docs')
    text = (tmp_path / 'docs' / 'results.md').read_text()
    rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in text.splitlines() if line[:1] == '|']
    found = {row[0]: row[2:] for row in rows if len(row) == 4 and row[1] == 'without NMS'}
    assert found == {'la=new': ['15.0', '5.0'], 'la=old': ['–', '5.0']}
    [line] = [line for line in done.stderr.splitlines() if 'breakdown.json' in line]
    assert run_id(2) in line and line.endswith('left out')


def test_figures_are_drawn_where_their_captures_are(claimed, tmp_path):
    claimed.fig5()
    claimed.result(0, 0.2, 0.2)
    done = make(claimed, tmp_path / 'docs')
    assert done.returncode == 0 and (tmp_path / 'docs/images/fig5.svg').stat().st_size > 10_000
    assert '](images/fig5.svg)' in (tmp_path / 'docs' / 'results.md').read_text()
    assert (
        'fig6 is left out: no capture' in done.stderr and 'fig6.svg' not in (tmp_path / 'docs/results.md').read_text()
    )


def test_what_is_broken_is_named_and_left_out(claimed, tmp_path):
    for seed in (0, 1):
        claimed.write(f'desk/{run_id(1, seed)}/result.json', '{')
    done = make(claimed, tmp_path / 'docs')
    assert done.returncode == 0 and 'is not JSON' in done.stderr
    assert 'Not measured' in (tmp_path / 'docs' / 'results.md').read_text()
    empty = make(type(claimed)(tmp_path / 'nothing'), tmp_path / 'docs')
    assert empty.returncode == 2 and empty.stderr.count('\n') == 1


def test_a_table_with_other_settings_changes_nothing(claimed):
    """Its plan stands beside the paper's: neither the page, its counts nor the headline are about it."""
    before = make_results.page(claimed.runs, 'desk')
    plan = json.loads((claimed.runs / 'desk/tables/table1.json').read_text())
    name = 'table1+optim_wrapper.optimizer.lr=0.002'
    plan['overrides'] = {'optim_wrapper.optimizer.lr': 0.002}
    for number, cell in enumerate(plan['cells'], 10):
        cell['runs'] = {seed: run_id(number, seed) for seed in (0, 1)}
        for seed in (0, 1):
            stored_claims.write_run(claimed, number, 0.1 * (number - 8), seed)
    claimed.write(f'desk/tables/{name}.json', json.dumps(plan))
    assert name in results.plan_names(claimed.runs, 'desk')
    assert make_results.page(claimed.runs, 'desk') == before


def test_a_table_that_does_not_fit_its_figure_costs_the_figure_alone(claimed, tmp_path):
    claimed.plan('fig5', rows=[axis('method', 'Method', *(f'm{i}' for i in range(6)))], columns=[])
    done = make(claimed, tmp_path / 'docs')
    assert done.returncode == 0 and 'fig5 is left out: the plan of fig5 does not fit the figure fig5' in done.stderr
    assert 'fig5.svg' not in (tmp_path / 'docs' / 'results.md').read_text()


@pytest.mark.slow
def test_the_page_of_the_docs_is_made_of_the_published_results():
    text, pictures, short = make_results.page(ROOT / 'results', 'desk')
    assert text == (ROOT / 'docs' / 'results.md').read_text()
    assert all((ROOT / 'docs' / 'images' / name).exists() for name in pictures)
    assert short in (ROOT / 'README.md').read_text()


@pytest.mark.parametrize('value', [1e-5, None, True, 'x+y', 'w/f.pth', '1e-4', [1, {'a': 2.5}], ''])
def test_printed_settings_are_read_as_they_were(value):
    words = results.words_of('table3+a.b=...', {'a.b': value, 'c': 1})
    assert words[:3] == ['python', 'experiments/run.py', 'table3']
    assert parse(words[2:]).set == [('a.b', value), ('c', 1)]
