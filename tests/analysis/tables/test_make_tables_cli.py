"""The command line as a user runs it: in a process of its own, from any folder, with nothing installed."""

import json
import os
import subprocess
import sys
import time

import pytest
from stored_files import ROOT, run_id

from analysis import make_tables, results
from analysis.tables import render
from experiments.spec.plan import make_plan, save_plan
from experiments.spec.table_file import load_table


def test_it_prints_a_table_from_the_repository_root_and_from_elsewhere(full, tmp_path):
    here, elsewhere = full.cli('table3'), full.cli('table3', cwd=tmp_path)
    assert here.returncode == elsewhere.returncode == 0 and here.stderr == elsewhere.stderr == ''
    assert here.stdout == elsewhere.stdout and '| 0.2       | 28.0/28.4 | 30.0/30.1 |' in here.stdout


def test_it_prints_dashes_in_any_locale(store):
    store.plan(seeds=(0, 1))
    done = store.cli(env={'PYTHONIOENCODING': 'latin-1', 'PYTHONUTF8': '0'})
    assert done.returncode == 0 and '| –' in done.stdout


@pytest.mark.parametrize('module', ['torch', 'matplotlib', 'scipy', 'o2f', 'mmengine'])
def test_it_starts_without_heavy_modules_or_the_rest_of_the_suite(module):
    code = f'import sys; from analysis import make_tables; sys.exit({module!r} in sys.modules)'
    assert subprocess.run([sys.executable, '-c', code], cwd=ROOT, timeout=60).returncode == 0


def test_without_a_name_it_shows_all_plans_of_the_profile(full):
    full.plan('table1', title='First')
    full.plan('table9', title='Elsewhere', profile='smoke')
    done = full.cli('--format', 'markdown')
    assert [line for line in done.stdout.splitlines() if line.startswith('## ')] == ['## First', '## T^max and T^min']
    assert '## Elsewhere' in full.cli('--profile', 'smoke').stdout


def test_without_a_name_tables_come_before_figures_and_both_by_number(store):
    names = ['table1', 'table2', 'table3', 'table3+k=5', 'table10', 'fig5', 'fig12', 'ablation', 'tables']
    for name in reversed(names):
        store.plan(name, table=name.partition('+')[0], title=name)
    done = store.cli()
    assert [line[3:] for line in done.stdout.splitlines() if line.startswith('## ')] == names
    assert f'(there are {", ".join(names)})' in store.cli('table4').stderr


def test_an_unknown_table_lists_the_known_ones(full):
    done = full.cli('tabel3')
    assert (done.returncode, done.stdout) == (2, '')
    path = full.runs / 'desk' / 'tables' / 'tabel3.json'
    command = f'python experiments/run.py tabel3 --runs {full.runs}'
    assert done.stderr == f'make_tables.py: no plan {path} (there are table3): run {command} first\n'


def test_without_any_plan_it_says_what_to_run(store):
    done = store.cli('--profile', 'smoke')
    assert done.returncode == 2 and done.stderr.count('\n') == 1
    assert f'run python experiments/run.py table3 --profile smoke --runs {store.runs} first' in done.stderr


def test_a_plan_with_overrides_is_a_table_of_its_own(full, tmp_path):
    full.plan('table3+k=[1, 2]', table='table3', overrides={'k': [1, 2]})
    done = full.cli('--out', str(tmp_path / 'out'))
    assert done.returncode == 0 and len(list((tmp_path / 'out').iterdir())) == 2
    assert 'Measured (profile desk, k=[1, 2])' in (tmp_path / 'out' / 'table3+k=[1, 2].md').read_text(encoding='utf-8')
    assert "run python experiments/run.py table3 --set 'k=5 6' --runs" in full.cli('table3+k=5 6').stderr


def test_a_broken_plan_and_a_wrong_format_end_with_status_2(full):
    assert full.cli('--format', 'word').returncode == 2
    full.write('desk/tables/table3.json', '{')
    done = full.cli()
    assert done.returncode == 2 and done.stderr.count('\n') == 1 and 'table3.json: is not JSON' in done.stderr


def test_a_broken_result_is_one_warning_even_when_two_tables_show_it(full):
    full.plan('table1')
    full.write(f'desk/{run_id(2)}/result.json', '{"schema"')
    done = full.cli()
    assert done.returncode == 0 and done.stdout.count('| 0.2       | –         | 30.0/30.1 |') == 2
    assert done.stderr.count('\n') == 1 and done.stderr.startswith('make_tables.py: warning: ')
    assert f'{run_id(2)}/result.json: is not JSON' in done.stderr and 'Traceback' not in done.stderr


def test_strict_counts_a_cell_whose_speed_was_not_measured(store):
    store.table5()
    for run in range(4):
        store.result(run, 0.2, 0.3, metrics={'without_nms/AR': 0.4, 'with_nms/AR': 0.5})
    store.speed(0, 8.0)
    done = store.cli('--strict')
    assert done.returncode == 1 and done.stderr == 'make_tables.py: 1 cells are missing (table5: 1 of 6)\n'
    store.speed(2, 8.0)
    assert store.cli('--strict').returncode == 0
    store.write(f'desk/{run_id(2)}/speed.json', '{')
    done = store.cli('--strict')
    assert done.returncode == 1 and f'warning: {store.runs}/desk/{run_id(2)}/speed.json: is not JSON' in done.stderr


def test_strict_counts_missing_cells_and_still_shows_the_table(full):
    assert full.cli('--strict').returncode == 0
    (full.runs / 'desk' / run_id(2) / 'result.json').unlink()
    full.result(1, 0.1, None)
    assert full.cli().returncode == 0
    done = full.cli('--strict')
    assert done.returncode == 1 and '10.0/–' in done.stdout
    assert done.stderr == 'make_tables.py: 2 cells are missing (table3: 2 of 4)\n'


@pytest.mark.parametrize('format, suffix', [('markdown', 'md'), ('latex', 'tex'), ('csv', 'csv'), ('json', 'json')])
def test_out_writes_one_file_for_each_table(full, tmp_path, format, suffix):
    full.plan('table1')
    out = tmp_path / 'deep' / 'out'
    done = full.cli('--format', format, '--out', str(out))
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in out.iterdir()) == [f'table1.{suffix}', f'table3.{suffix}']
    assert done.stdout == f'wrote {out}/table1.{suffix}\nwrote {out}/table3.{suffix}\n'
    assert (out / f'table3.{suffix}').read_text(encoding='utf-8') == full.cli('table3', '--format', format).stdout


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(full, tmp_path, monkeypatch, capsys):
    out = tmp_path / 'out'
    out.mkdir()
    (out / 'table3.md').write_text('old')

    def full_disk(descriptor):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full_disk)
    assert make_tables.main(['--runs', str(full.runs), '--out', str(out)]) == 2
    assert capsys.readouterr().err == (
        f'make_tables.py: cannot write {out}/table3.md (No space left on device): choose another folder with --out\n'
    )
    assert [path.name for path in out.iterdir()] == ['table3.md'] and (out / 'table3.md').read_text() == 'old'


def test_out_that_is_a_file_is_an_error(full, tmp_path):
    (tmp_path / 'out').write_text('')
    done = full.cli('--out', str(tmp_path / 'out'))
    assert done.returncode == 2 and 'cannot write' in done.stderr and done.stderr.count('\n') == 1


def test_a_reader_that_leaves_early_is_no_error(full):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, str(ROOT / 'analysis/make_tables.py'), '--runs', str(full.runs)]
    # Without PYTHONUNBUFFERED, which would hide that what is still in the buffer is flushed once more at exit.
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, env={}, encoding='utf-8', timeout=60)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, '')


def test_runs_lie_in_the_repository_unless_told_otherwise():
    assert results.RUNS == ROOT / 'runs'


def test_all_nine_tables_of_a_thousand_runs_take_less_than_three_seconds(store):
    """The paper's own tables, with as many seeds as make a thousand runs; processor time, as others may be at work."""
    runs = {}
    for number in range(1, 10):
        table = load_table(f'table{number}')
        plan = json.loads(save_plan(make_plan(table, table.cells, 'desk', [0], {}), store.runs).read_text())
        for cell in plan['cells']:
            cell['runs'] = {str(seed): f'{cell["runs"]["0"][:9]}{seed:03}' for seed in range(16)}
            keys = [key for of_metric in cell['keys'].values() for key in of_metric]
            for seed, run in cell['runs'].items():
                runs.setdefault(run, (int(seed), set()))[1].update(keys)
        store.write(f'desk/tables/table{number}.json', json.dumps(plan))
    for run, (seed, keys) in runs.items():
        metrics = {key: 0.3 + seed / 1000 for key in keys if not key.startswith('speed/')}
        content = store.result(0, seed=seed, metrics=metrics, run=run)
        store.write(f'desk/{run}/result.json', json.dumps(content))
        speeds = store.speed(0, 10, run=run)
        store.write(f'desk/{run}/speed.json', json.dumps(speeds))
    assert len(runs) >= 1000
    begin = time.process_time()
    for number in range(1, 10):
        plan = results.load_plan(store.runs, 'desk', f'table{number}')
        found = results.load_results(store.runs, 'desk', plan)
        assert render.render(plan, found).count('±') >= len(plan.cells)
    assert time.process_time() - begin < 3
