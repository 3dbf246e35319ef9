"""make_report.py as a user runs it, and what its page says."""

import html
import json
import re
import shlex
import shutil
import subprocess
import sys

import pytest
from stored_claims import claim, compare, write_plan, write_seeds
from stored_files import ROOT, run_id
from stored_studies import write_study

from analysis import make_report
from analysis.claims import explain, judge
from analysis.report.page import gather, render
from analysis.report.runs import load_trainings
from analysis.results import load_plan, load_results
from experiments.commands.parser import parse
from experiments.spec.plan import make_plan, save_plan
from experiments.spec.table_file import load_table, select

CONFIG = "model = {'type': 'FCOS', 'degrees': {'t_max': 0.6, 't_min': T_MIN}}\nrandomness = {'seed': SEED}\n"


def make(store, *arguments):
    """Run the command line in this process; returns the exit status."""
    return make_report.main([*map(str, arguments), '--runs', str(store.runs)])


def page_of(store, *names, warn=lambda line: None):
    return render(gather(store.runs, 'desk', names or None, warn))


def section(page, run):
    """The section of a run, as text with its tags."""
    return re.search(rf'<details class="run" id="run-{run}">.*?(?=<details class="run"|<section )', page, re.S)[0]


def words(text):
    return ' '.join(html.unescape(re.sub('<[^>]*>', ' ', text)).split())


@pytest.fixture
def judged(store):
    """A table with a claim that holds, one that fails and one that is undecided, over three seeds."""
    claims = [
        claim(compare('new', 'greater', 'old'), name='holds'),
        claim(compare('new', 'less', 'old'), name='fails'),
        claim(compare('new', 'greater', 'other'), name='open'),
    ]
    write_plan(store, *claims, seeds=(0, 1, 2))
    write_seeds(store, (30.0, 30.1, 30.2), (20.0, 20.1, 20.2), (30.3, 29.9, 30.1))
    return store


def test_it_says_what_was_measured_beside_what_the_paper_has(full):
    for number in range(4):  # 10 s an epoch
        full.epochs(number, [(0.1, 0.2)] * 12)
    page = page_of(full)
    measured, paper = re.findall('<table class="grid">.*?</table>', page, re.S)[:2]
    assert '28.0/28.4' in words(measured).replace(' ', '') and 'profile desk' in measured
    assert '39.0/39.3' in words(paper).replace(' ', '') and '28.0' not in paper
    assert '4 of 4 finished' in words(page) and '8 min 0 s' in page and 'abc1234' in page
    assert f'<a href="#run-{run_id(2)}">' in measured and '<a' not in paper
    assert 'Compare the numbers of profile desk with each other' in page


def test_claims_of_studies_are_not_the_papers(judged):
    """They are counted apart, in the report and by check_claims.py, and alone where a report has studies only."""
    write_study(judged, 'scaling', (0, 1), lambda at, seed: (0.3 + 0.01 * seed, 0.4))
    page = words(page_of(judged))
    assert 'The paper makes 3 claims about the table shown here.' in page
    assert '1 holds, 1 fails and 1 is undecided. Studies beyond it make 5 more: ' in page
    assert 'Studies beyond the paper make 5 claims about the table shown here.' in words(page_of(judged, 'scaling'))
    verdicts, _ = judge.judge(judged.runs, 'desk', ['table1', 'scaling'])
    assert explain.counts(verdicts).startswith(
        '3 claims of the paper: 1 hold, 1 fail, 1 undecided; 5 claims of studies: '
    )


def test_claims_with_other_settings_are_not_the_papers(judged):
    """A plan with --set stands beside the paper's, and alone."""
    plan = json.loads((judged.runs / 'desk/tables/table1.json').read_text())
    name = 'table1+lr=0.002'
    judged.write(f'desk/tables/{name}.json', json.dumps({**plan, 'overrides': {'lr': 0.002}}))
    page = words(page_of(judged))
    assert 'The paper makes 3 claims about the table shown here.' in page
    assert '1 is undecided. Other settings (--set) test 3 more: 1 holds, 1 fails and 1 is undecided.' in page
    assert page.count('What the paper claims of it') == page.count('What is claimed of it') == 1
    assert 'Other settings (--set) test 3 claims about the table shown here.' in words(page_of(judged, name))


def test_warnings_are_counted_as_what_they_are(full):
    """Detectors that were not timed together are shown; a file that is broken is left out."""
    for number in range(4):
        full.result(number, 0.2, 0.3, metrics={'without_nms/AR': 0.5, 'with_nms/AR': 0.5})
        full.speed(number, 20.0, sitting=f's{number}')
    full.table5()
    page = page_of(full)
    assert '<summary>1 warning</summary>' in page and 'were not timed together' in page and 'left out<' not in page
    full.write(f'desk/{run_id(0)}/result.json', '{')
    assert '<summary>1 file was left out, and 1 more warning</summary>' in page_of(full)


def test_files_of_ones_own_are_named_in_the_commands(full):
    """A profile by its file in the folder of the runs, a table by a path that the reader must complete."""
    full.plan('radius')
    full.write('desk/desk.py', "base = 'smoke'\n")
    page = html.unescape(page_of(full, 'radius'))
    assert re.search(
        r'python experiments/run.py PATH/radius.yaml --only t_min=0.4 --only t_max=0.7 '
        r'--profile \S+/desk/desk.py --data DIR --seeds 0 --runs again',
        page,
    )


def test_the_section_of_a_run_has_the_ap_of_each_class_and_the_errors(full):
    """Names are shown as they are written, and a class without an object has no AP. A broken file is named."""
    classes = {'without_nms': {'<b>cat</b>': 0.4321, 'dog': None}, 'with_nms': {'<b>cat</b>': 0.45, 'dog': None}}
    errors = {
        reading: {'duplicate': share, 'missed': 0.02} for reading, share in (('without_nms', 0.2), ('with_nms', 0))
    }
    right = {'schema': 1, 'classes': classes, 'errors': errors}
    full.write(f'desk/{run_id(2)}/breakdown.json', json.dumps(right))
    wrong = {**right, 'classes': {'with_nms': {'cat': 'much'}}}
    full.write(f'desk/{run_id(3)}/breakdown.json', json.dumps(wrong))
    warned = []
    page = page_of(full, warn=warned.append)
    shown = words(section(page, run_id(2)))
    assert 'class without NMS with NMS <b>cat</b> 43.2 45.0 dog – –' in shown
    assert 'error without NMS with NMS duplicate 20.0 0.0 missed 2.0 2.0' in shown
    assert '<b>cat</b>' not in page and 'AP of each class' not in section(page, run_id(3))
    [line] = warned
    assert 'breakdown.json: classes.with_nms.cat' in line and 'left out' in line


def test_a_claim_stands_there_with_verdict_effect_interval_and_evidence(judged):
    page = page_of(judged)
    assert '1 holds, 1 fails and 1 is undecided' in words(page)
    card = re.search('<article class="claim holds".*?</article>', page, re.S)[0]
    assert 'The difference is +10.00 points, 95 % interval' in words(card) and '<svg class="bar"' in card
    assert 'AP without NMS, LA new: 30.10 seed 0 30.00, seed 1 30.10, seed 2 30.20' in words(card).replace(' ,', ',')
    assert f'href="#run-{run_id(0, 2)}"' in card and 'It is better.' in card and 'section 9' in card
    assert len(re.findall('<article class="claim', page)) == 3


def test_the_section_of_a_run_has_its_numbers_curves_log_and_origin(full):
    full.epochs(2, [(0.1, 0.2), (0.28, 0.2836)], losses=lambda number, epoch: {'loss': 2.0 / epoch})
    full.write(f'desk/{run_id(2)}/worker.log', '\n'.join(f'line {i}' for i in range(2000)) + '\n\n')
    text = words(section(page_of(full), run_id(2)))
    assert 'Table 3: T min 0.2, T max 0.7, seed 0' in text
    assert 'without NMS 28.0' in text and 'with NMS 28.4' in text
    assert (
        'AP in % over 2 epochs: without NMS (line) from 10 to 28' in text and 'Loss over 2 epochs: sum from 2' in text
    )
    assert 'line 1999' in text and 'line 1000 ' not in text and 'origin 1' in text and 'for 20 s' in text
    assert 'Its config is not kept here' in text


def test_configs_are_shown_by_what_sets_them_apart(store):
    store.plan(seeds=(0, 1))
    for number in range(4):
        for seed in (0, 1):
            text = CONFIG.replace('T_MIN', '0.2' if number else '0.1').replace('SEED', str(seed))
            store.write(f'desk/{run_id(number, seed)}/config.py', text)
    page = page_of(store)
    first, second, other = (section(page, run) for run in (run_id(0), run_id(0, 1), run_id(2)))
    assert '1 difference from' in words(first) and '>model.degrees.t_min = 0.1\n</pre>' in first
    assert f'Config: that of {run_id(0)} , with seed 1' in words(second)
    assert f'Config: that of {run_id(1)} , with seed 0' in words(other)
    assert 'model.degrees.t_max = 0.6' in page[page.index('id="shared"') :]


def test_a_config_that_is_more_than_values_is_not_run(full, tmp_path):
    full.write(f'desk/{run_id(0)}/config.py', f'import pathlib\nx = pathlib.Path({str(tmp_path)!r}, "ran").touch()\n')
    told = []
    page_of(full, warn=told.append)
    assert not (tmp_path / 'ran').exists()
    assert len(told) == 1 and told[0].startswith(f'{full.runs}/desk/{run_id(0)}/config.py: is no config of a run')


def test_runs_that_are_not_finished_say_so(full):
    for number in range(4):
        (full.runs / 'desk' / run_id(number) / 'result.json').unlink()
    full.epochs(0, [(0.1, 0.2)])
    full.write(f'desk/{run_id(1)}/failure.json', json.dumps(dict(schema=1, message='out of <memory>')))
    full.write(f'desk/{run_id(2)}/result.json', '{')
    page = page_of(full, 'table3')
    assert re.findall('<tr data-state="([^"]*)"', page) == ['unfinished', 'failed', 'unreadable', 'not started']
    assert 'Its last attempt failed: out of &lt;memory&gt;' in section(page, run_id(1))
    assert 'Metrics of the last epoch' in section(page, run_id(0))


@pytest.mark.parametrize('at', [('t_min', '0.1', 't_max', '0.5'), ('t_min', '0.4', 't_max', '0.7')])
def test_the_command_of_a_run_trains_that_run(store, at):
    table = load_table('table3')
    cells = select(table, [(at[0], at[1]), (at[2], at[3])])
    save_plan(make_plan(table, cells, 'smoke', [2], {'model.bbox_head.selection.k': 5}), store.runs)
    plan = load_plan(store.runs, 'smoke', 'table3+model.bbox_head.selection.k=5')
    trainings, _ = load_trainings(store.runs, 'smoke', [plan], [load_results(store.runs, 'smoke', plan)])
    [(run, training)] = trainings.items()
    python, script, *arguments = shlex.split(training.command)
    assert (python, script) == ('python', 'experiments/run.py')
    args = parse(arguments)
    chosen = select(table, args.only)
    again = make_plan(table, chosen, args.profile, args.seeds, dict(args.set))
    assert list(again.runs()) == [run] and str(args.runs) == 'again'


def test_bad_files_are_named_once_and_left_out(full, capsys):
    full.plan('table1')
    full.write('desk/tables/table9.json', '{"schema": 2}')
    full.write(f'desk/{run_id(0)}/result.json', '{')
    full.result(1, 0.1, 0.2, profile='paper')
    shutil.copytree(full.runs / 'paper' / run_id(1), full.runs / 'desk' / run_id(1), dirs_exist_ok=True)
    full.write(f'desk/{run_id(2)}/metrics.json', '[]')
    full.write(f'desk/{run_id(2)}/worker.log', '')
    full.write(f'desk/{run_id(3)}/failure.json', '3')
    (full.runs / 'desk' / run_id(3) / 'result.json').unlink()
    full.write(f'desk/{run_id(3)}/image_groups.json', 'no JSON')
    assert make(full) == 0
    said = capsys.readouterr().err.splitlines()
    paths = [f'{full.runs}/desk/{name}' for name in ('tables/table9.json', *_broken())]
    assert len(said) == len(paths) and all(line.startswith('make_report.py: warning: ') for line in said)
    page = (full.runs / 'desk' / 'report.html').read_text(encoding='utf-8')
    for path in paths:
        assert sum(path in line for line in said) == 1 and path in html.unescape(page)
    assert f'{len(paths)} files were left out' in page


def _broken():
    names = ('result', 'result', 'metrics', 'failure')
    return [f'{run_id(number)}/{name}.json' for number, name in enumerate(names)]


def test_a_named_table_that_is_missing_or_broken_is_an_error(full, capsys):
    assert make(full, 'table4') == 2
    full.write('desk/tables/table9.json', '{')
    assert make(full, 'table9') == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and 'no plan' in said[0] and 'is not JSON' in said[1]
    assert not (full.runs / 'desk' / 'report.html').exists()


def test_without_any_plan_it_says_what_to_run(store, capsys):
    assert make(store) == 2
    assert 'run python experiments/run.py table3' in capsys.readouterr().err


def test_named_tables_have_their_own_figures_alone(full):
    full.plan('table1')
    full.fig5()
    page = page_of(full, 'table3')
    assert 'id="table-table3"' in page and 'id="table-table1"' not in page
    assert 'Figure 5' not in page and 'The gap between the readings' in page


def test_figures_stand_in_the_page_or_say_what_makes_them(full):
    full.fig5()
    page = page_of(full)
    pictures = re.findall('<img src="data:image/(?:png|webp);base64,[^"]{2000,}"[^>]* alt="([^"]+)"', page)
    assert len(pictures) == 6  # fidelity, schedule, gap, fig5 and two tables' curves: their runs are the same here
    assert f'run python experiments/run.py capture fig7 --runs {full.runs} first' in html.unescape(page)


def test_the_page_loads_nothing_and_is_the_same_each_time(judged, tmp_path):
    pages = []
    for out in ('a', 'b'):
        assert make(judged, '--out', tmp_path / out) == 0
        pages.append((tmp_path / out / 'report.html').read_bytes())
    assert pages[0] == pages[1]
    text = re.sub('<pre.*?</pre>', '', pages[0].decode(), flags=re.S)
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?!["']?(?:#|data:))|url\(|@import""", text)


def test_texts_of_files_cannot_become_markup(store):
    evil = '"><script>alert(1)</script>'
    store.plan(title=evil, caption=evil, source=evil)
    store.all_results(
        provenance=dict(commit=evil, dirty=False, device=evil, host=evil, started=evil, versions={evil: 1})
    )
    store.write(f'desk/{run_id(0)}/worker.log', f'</pre>{evil}')
    store.write(f'desk/{run_id(0)}/config.py', f'x = {evil!r}\n')
    page = page_of(store)
    assert page.count('alert(1)') > 8 and '<script>alert' not in page and page.count('</script>') == 1


@pytest.mark.slow
def test_a_thousand_runs_stay_below_five_megabytes(store):
    """With the configs of a real table and logs; figures take another 1.3 MB where all tables are shown."""
    table = load_table('table4')
    planned = make_plan(table, table.cells, 'desk', [0], {})
    path = save_plan(planned, store.runs)
    plan = json.loads(path.read_text())
    for cell in plan['cells']:
        cell['runs'] = {str(seed): f'{cell["runs"]["0"][:9]}{seed:03}' for seed in range(143)}
    path.write_text(json.dumps(plan))
    seeds = {run: int(seed) for cell in plan['cells'] for seed, run in cell['runs'].items()}
    configs = {run[:9]: each.config_text for run, each in planned.runs().items()}
    assert len(seeds) >= 1000
    metrics = {f'{reading}/{name}': 0.3 for reading in ('without_nms', 'with_nms') for name in _METRICS}
    epochs = [
        dict(epoch=e, metrics=metrics, losses={'loss': 2 / e}, positives=dict(certain=0.9, ambiguous=5 - 1 / e))
        for e in range(1, 13)
    ]
    log = 'a line as long as those of a real log, about a hundred characters\n' * 90
    for run, seed in seeds.items():
        store.write(f'desk/{run}/result.json', json.dumps(store.result(0, seed=seed, metrics=metrics, run=run)))
        store.write(f'desk/{run}/metrics.json', json.dumps(dict(schema=1, epochs=epochs)))
        store.write(f'desk/{run}/worker.log', log)
        store.write(f'desk/{run}/config.py', configs[run[:9]])
    page = page_of(store, 'table4')
    assert page.count('<details class="run"') == len(seeds)
    assert len(page.encode()) - len(''.join(re.findall('data:image[^"]*', page))) < 3_700_000


_METRICS = ('AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', 'AR')


def test_it_starts_without_the_rest_of_the_suite():
    heavy = "{'torch', 'o2f', 'mmengine'}"
    code = f'import sys; from analysis import make_report; sys.exit(bool({heavy} & set(sys.modules)))'
    assert subprocess.run([sys.executable, '-c', code], cwd=ROOT, timeout=120).returncode == 0


def test_it_runs_as_a_script_from_any_folder(full, tmp_path):
    command = [sys.executable, str(ROOT / 'analysis' / 'make_report.py'), '--runs', str(full.runs)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding='utf-8', timeout=120)
    assert (done.returncode, done.stderr) == (0, '') and done.stdout == f'wrote {full.runs}/desk/report.html\n'


def test_out_may_be_a_file(judged, tmp_path):
    assert make(judged, '--out', tmp_path / 'mine.html') == 0
    assert (tmp_path / 'mine.html').is_file()
