"""What --format latex prints goes through a real LaTeX, with booktabs, graphicx and nothing else."""

import random
import subprocess

import pytest
from stored_files import axis

from analysis import results
from analysis.tables import render
from experiments.spec.schema import Result, Speed

DOCUMENT = """\\documentclass%s{article}
\\usepackage{booktabs,graphicx}
\\begin{document}
%s\\end{document}
"""
NASTY = 'a_b & 50% #1 $x$ {y} ~ ^ \\z <|> "q" T^max α ≤ é 机'


def compile_latex(text, folder, options=''):
    (folder / 'table.tex').write_text(DOCUMENT % (options, text), encoding='utf-8')
    command = ['pdflatex', '-interaction=nonstopmode', '-halt-on-error', 'table.tex']
    done = subprocess.run(command, cwd=folder, capture_output=True, encoding='latin-1', timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (folder / 'table.pdf').stat().st_size > 1000
    return done.stdout


def rendered(store, name, provenance):
    """A table with random numbers of three digits for all that it shows."""
    plan = results.load_plan(store.runs, 'desk', name)
    draw = random.Random(1)
    numbers = {run: {key: draw.uniform(0.1, 0.9) for key in plan.keys(run)} for run in plan.runs}
    shared = dict(schema=1, profile='desk', seed=0, provenance=provenance)
    found = {run: Result(run=run, metrics=metrics, **shared) for run, metrics in numbers.items()}
    timed = dict(schema=1, device=NASTY, image=[96, 128], versions={}, repeats=1)
    speeds = {run: Speed(run=run, metrics=metrics, **timed) for run, metrics in numbers.items()}
    speeds = speeds if 'FPS' in plan.metrics else {}
    return render.render(plan, results.Results(plan, found, speeds, []), 'latex')


def test_table_3_with_spreads_fits_the_width_of_a_page(store, tmp_path, need):
    need('pdflatex')
    store.plan(
        seeds=(0, 1, 2),
        columns=[axis('t_max', 'T^max', '0.7', '0.6', '0.5', '0.4')],
        cells=[
            {
                'at': {'t_min': t_min, 't_max': t_max},
                'keys': {'AP': ['without_nms/AP', 'with_nms/AP']},
                'paper': {'AP': '38.3/39.5'},
                'runs': {'0': 'a', '1': 'b', '2': 'c'},
            }
            for t_min in ('0.4', '0.2')
            for t_max in ('0.7', '0.6', '0.5', '0.4')
        ],
    )
    text = rendered(store, 'table3', {'commit': 'abc1234', 'dirty': False, 'device': 'Intel(R) Xeon(R), 1 thread(s)'})
    assert '{\\scriptsize$\\pm$' in text
    assert 'Overfull' not in compile_latex(text, tmp_path)


@pytest.mark.parametrize('options', ['', '[twocolumn]'])
@pytest.mark.parametrize('name', ['table1', 'table2', 'table4', 'table5'])
def test_the_papers_layouts_compile_and_fit_the_width_of_any_text(store, tmp_path, need, name, options):
    need('pdflatex')
    getattr(store, name)(seeds=(0, 1, 2))
    text = rendered(store, name, {'commit': 'abc1234', 'dirty': False, 'device': 'Intel(R) Xeon(R), 1 thread(s)'})
    assert '{\\scriptsize$\\pm$' in text
    assert 'Overfull' not in compile_latex(text, tmp_path, options)


def test_any_text_compiles(store, tmp_path, need):
    need('pdflatex')
    store.plan(
        'nasty',
        title=NASTY,
        caption=NASTY,
        source=NASTY,
        rows=[axis('r', NASTY, '[48]', '*'), axis('s', 'S', 'x', 'y')],
        columns=[axis('c', NASTY, '1×', '3×')],
        metrics={'AP': ['without_nms/AP'], 'AR_50': ['with_nms/AP']},
    )
    compile_latex(rendered(store, 'nasty', {'commit': None, 'dirty': True, 'device': NASTY}), tmp_path)


def test_a_missing_program_is_a_skip_by_name_or_a_failure(need, monkeypatch):
    monkeypatch.setenv('O2F_REQUIRE_PROGRAMS', '0')
    with pytest.raises(pytest.skip.Exception, match='no-such-program'):
        need('no-such-program')
    monkeypatch.setenv('O2F_REQUIRE_PROGRAMS', '1')
    with pytest.raises(pytest.fail.Exception, match='no-such-program'):
        need('no-such-program')
