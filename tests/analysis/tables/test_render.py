"""Layouts to the letter, means and spreads, and what is said about the numbers."""

import csv
import io
import json

import pytest
from stored_files import axis, run_id

from analysis import results
from analysis.tables import render
from analysis.tables.notes import seeds_in_words

MARKDOWN = """\
## T^max and T^min

Table 3, section 4.2

Measured (profile desk), AP in %, without NMS / with NMS:

|           | T^max     |           |
| --------- | --------- | --------- |
| **T^min** | **0.7**   | **0.6**   |
| 0.4       | 27.1/28.1 | 27.1/28.5 |
| 0.2       | 28.0/28.4 | –         |

Paper (Table 3, section 4.2):

|           | T^max     |           |
| --------- | --------- | --------- |
| **T^min** | **0.7**   | **0.6**   |
| 0.4       | 38.3/39.5 | 38.0/39.5 |
| 0.2       | 38.9/39.3 | 39.0/39.3 |

On the paper's table: A small T^min narrows the gap.

3 of 4 runs, seed 0, profile desk: generated scenes, not COCO. 1 of 4 cells incomplete. Device cpu: Intel Xeon, 1 \
thread; commit abc1234.
Desk numbers are not COCO numbers: compare them with each other, not with the paper's.
"""

LATEX = r"""% needs \usepackage{booktabs,graphicx}
\begin{table}[htbp]
\centering
\small
\caption{$T^{\max}$ and $T^{\min}$ (Table 3, section 4.2). On the paper's table: A small $T^{\min}$ narrows the gap.}
\label{tab:table3}
\par\medskip
Measured (profile desk), AP in \%, without NMS / with NMS\\[2pt]
\setlength{\tabcolsep}{6pt}
\sbox0{\begin{tabular}{lcc}
\toprule
 & \multicolumn{2}{c}{$T^{\max}$} \\
\cmidrule(lr){2-3}
$T^{\min}$ & 0.7 & 0.6 \\
\midrule
0.4 & 27.1/28.1 & 27.1/28.5 \\
0.2 & \textbf{28.0}/\textbf{28.4} & -- \\
\bottomrule
\end{tabular}}%
\ifdim\wd0>\linewidth\resizebox{\linewidth}{!}{\usebox0}\else\usebox0\fi
\\[8pt]
Paper (Table 3, section 4.2)\\[2pt]
\setlength{\tabcolsep}{6pt}
\sbox0{\begin{tabular}{lcc}
\toprule
 & \multicolumn{2}{c}{$T^{\max}$} \\
\cmidrule(lr){2-3}
$T^{\min}$ & 0.7 & 0.6 \\
\midrule
0.4 & 38.3/\textbf{39.5} & 38.0/\textbf{39.5} \\
0.2 & \textbf{38.9}/39.3 & \textbf{39.0}/39.3 \\
\bottomrule
\end{tabular}}%
\ifdim\wd0>\linewidth\resizebox{\linewidth}{!}{\usebox0}\else\usebox0\fi
\par\smallskip
{\footnotesize FACTS HONEST Bold: the best of each column, as shown.\par}
\end{table}
"""
LATEX = LATEX.replace('FACTS', MARKDOWN.splitlines()[-2]).replace('HONEST', MARKDOWN.splitlines()[-1])

CSV = """\
table,profile,axis_t_min,axis_t_max,metric,key,unit,mean,std,seeds,paper,difference
table3,desk,0.4,0.7,AP,without_nms/AP,%,27.1,,1,38.3,
table3,desk,0.4,0.7,AP,with_nms/AP,%,28.1,,1,39.5,
table3,desk,0.4,0.6,AP,without_nms/AP,%,27.12,,1,38.0,
table3,desk,0.4,0.6,AP,with_nms/AP,%,28.49,,1,39.5,
table3,desk,0.2,0.7,AP,without_nms/AP,%,28.0,,1,38.9,
table3,desk,0.2,0.7,AP,with_nms/AP,%,28.36,,1,39.3,
table3,desk,0.2,0.6,AP,without_nms/AP,%,,,0,39.0,
table3,desk,0.2,0.6,AP,with_nms/AP,%,,,0,39.3,
"""


def rendered(store, format='markdown', name='table3', profile='desk'):
    plan = results.load_plan(store.runs, profile, name)
    found = results.load_results(store.runs, profile, plan)
    assert found.warnings == []
    return render.render(plan, found, format)


def lines_of(text, start='|'):
    return [line for line in text.splitlines() if line.startswith(start)]


@pytest.mark.parametrize('format, expected', [('markdown', MARKDOWN), ('latex', LATEX), ('csv', CSV)])
def test_a_two_by_two_with_a_missing_run_to_the_letter(full, format, expected):
    (full.runs / 'desk' / run_id(3) / 'result.json').unlink()
    assert rendered(full, format) == expected


def test_json_has_the_numbers_their_places_and_all_provenance(full):
    content = json.loads(rendered(full, 'json'))
    assert content['schema'] == 2 and content['table'] == 'table3' and content['profile'] == 'desk'
    assert content['runs_planned'] == 4 and content['missing_cells'] == 0
    assert content['cells'][1] == {
        'at': {'t_min': '0.4', 't_max': '0.6'},
        'runs': {'0': run_id(1)},
        'readings': [
            {
                'metric': 'AP',
                'key': 'without_nms/AP',
                'unit': '%',
                'mean': 27.12,
                'std': None,
                'seeds': 1,
                'paper': 38.0,
                'difference': None,
            },
            {
                'metric': 'AP',
                'key': 'with_nms/AP',
                'unit': '%',
                'mean': 28.49,
                'std': None,
                'seeds': 1,
                'paper': 39.5,
                'difference': None,
            },
        ],
    }
    assert set(content['provenance']) == {run_id(i) for i in range(4)}
    assert content['provenance'][run_id(0)]['wall_s'] == 121.3
    assert 'not COCO' in content['notes'][0]


def test_several_seeds_show_mean_and_sample_standard_deviation(store):
    store.plan(seeds=(0, 1, 2))
    for seed, shift in enumerate((-0.01, 0, 0.03)):
        for i in range(4):
            store.result(i, 0.3 + shift, 0.4, seed=seed)
    text = rendered(store)
    # The mean of 29, 30, 33 is 92 / 3; the squared distances sum to 26 / 3, so the variance is 13 / 3.
    assert '| 0.4       | 30.7/40.0 ±2.1/0.0 | 30.7/40.0 ±2.1/0.0 |' in text
    assert '12 of 12 runs, seeds 0, 1, 2 (mean ± sample standard deviation), profile desk' in text
    assert 'table3,desk,0.4,0.7,AP,without_nms/AP,%,30.666667,2.081666,3,38.3,\n' in rendered(store, 'csv')
    assert r'& 30.7/40.0\,{\scriptsize$\pm$2.1/0.0} \\' in rendered(store, 'latex')


@pytest.mark.parametrize(
    'seeds, words',
    [
        ((), 'seed none'),
        ((2,), 'seed 2'),
        ((0, 1, 2), 'seeds 0, 1, 2'),
        (range(12), 'seeds 0 to 11'),
        ((0, 1, 2, 3, 5), 'seeds 0, 1, 2, 3, 5'),
        ((3, 4, 5, 6), 'seeds 3 to 6'),
    ],
)
def test_more_than_three_seeds_in_a_row_are_named_by_the_first_and_the_last(seeds, words):
    assert seeds_in_words(seeds) == words


def test_runs_that_found_nothing_are_named_where_their_zeros_are_in_a_mean(store):
    store.plan(seeds=(0, 1))
    for i in range(4):
        store.result(i, 0.3, 0.4)
        store.result(i, 0 if i == 1 else 0.3, 0 if i == 1 else 0.4, seed=1)
    assert '8 of 8 runs, ' in rendered(store)
    assert ' 1 of 8 runs found nothing (AP 0): 0.4, 0.6, seed 1. Device' in rendered(store)
    for i in range(4):
        store.result(i, 0, 0, seed=1)
    assert ' 4 of 8 runs found nothing (AP 0). Device' in rendered(store)  # too many to name


@pytest.mark.parametrize('without, with_nms', [(0, 0.4), (None, None), (0, None)])
def test_a_reading_that_found_something_or_that_nobody_knows_is_not_nothing(store, without, with_nms):
    store.plan()
    store.result(0, without, with_nms)
    assert 'found nothing' not in rendered(store)


def test_a_cell_that_lacks_seeds_says_how_many_it_has(store):
    store.plan(seeds=(0, 1, 2))
    store.result(0, 0.2, 0.4)
    store.result(0, 0.3, 0.4, seed=2)
    store.result(1, 0.3, 0.4, seed=1)
    text = rendered(store)
    assert '25.0/40.0 ±7.1/0.0 (n=2) | 30.0/40.0 (n=1)' in text
    assert '3 of 12 runs' in text and '4 of 4 cells incomplete' in text


def test_a_null_reading_is_a_dash_and_leaves_the_other_reading(store):
    store.plan()
    store.result(0, None, 0.4)
    store.result(1, None, None)
    assert '| 0.4       | –/40.0  | –       |' in rendered(store)
    assert results.Results(results.load_plan(store.runs, 'desk', 'table3'), {}, {}, []).missing_cells == 4


def test_a_table_without_any_result_is_all_dashes(store):
    store.plan()
    text = rendered(store)
    assert text.count('| –') == 4
    assert '0 of 4 runs, seed 0, profile desk: generated scenes, not COCO. 4 of 4 cells incomplete.\n' in text
    assert '38.9/39.3' in text


def test_a_place_without_a_cell_is_a_dash_in_both_tables(full):
    plan = json.loads((full.runs / 'desk/tables/table3.json').read_text())
    full.plan(cells=plan['cells'][:3])
    text = rendered(full)
    assert '| 0.2       | 28.0/28.4 | –         |' in text and '| 0.2       | 38.9/39.3 | –         |' in text
    assert '3 of 3 runs' in text and 'incomplete' not in text


def test_several_axes_and_metrics_nest_outermost_first(store):
    store.plan(
        rows=[axis('metric', 'Function', 'Add', 'Multiply'), axis('alpha', 'α', '0', '0.8')],
        columns=[axis('epochs', 'Schedule', '1×', '3×')],
        metrics={'AP': ['n/AP'], 'AR': ['n/AR', 'y/AR']},
    )
    for i in range(8):
        store.result(i, metrics={'n/AP': i / 10, 'n/AR': i / 100, 'y/AR': 1})
    assert lines_of(rendered(store)) == [
        '|              |       | Schedule |           |        |           |',
        '| ------------ | ----- | -------- | --------- | ------ | --------- |',
        '|              |       | **1×**   |           | **3×** |           |',
        '| **Function** | **α** | **AP**   | **AR**    | **AP** | **AR**    |',
        '| Add          | 0     | 0.0      | 0.0/100.0 | 10.0   | 1.0/100.0 |',
        '|              | 0.8   | 20.0     | 2.0/100.0 | 30.0   | 3.0/100.0 |',
        '| Multiply     | 0     | 40.0     | 4.0/100.0 | 50.0   | 5.0/100.0 |',
        '|              | 0.8   | 60.0     | 6.0/100.0 | 70.0   | 7.0/100.0 |',
    ]
    text = rendered(store, 'latex')
    assert (
        r""" &  & \multicolumn{4}{c}{Schedule} \\
\cmidrule(lr){3-6}
 &  & \multicolumn{2}{c}{1$\times$} & \multicolumn{2}{c}{3$\times$} \\
\cmidrule(lr){3-4} \cmidrule(lr){5-6}
Function & $\alpha$ & AP & AR & AP & AR \\"""
        in text
    )
    assert ' & 0.8 & 20.0 & 2.0/100.0 & 30.0 & 3.0/100.0 \\\\\n\\addlinespace\nMultiply & 0 &' in text
    assert len(list(csv.DictReader(io.StringIO(rendered(store, 'csv'))))) == 8 * 3
    assert 'Measured (profile desk), AP in %, n; AR in %, n / y:' in rendered(store)
    assert 'Paper' not in rendered(store)  # it has no numbers of the paper's


def test_two_column_axes_span_their_inner_values(store):
    store.plan(rows=[axis('r', 'R', 'x')], columns=[axis('a', 'A', 'p', 'q'), axis('b', 'B', 's', 't')])
    assert lines_of(rendered(store))[:6] == [
        '|       | A     |       |       |       |',
        '| ----- | ----- | ----- | ----- | ----- |',
        '|       | **p** |       | **q** |       |',
        '|       | **B** |       | **B** |       |',
        '| **R** | **s** | **t** | **s** | **t** |',
        '| x     | –     | –     | –     | –     |',
    ]
    assert r"""
 & \multicolumn{2}{c}{p} & \multicolumn{2}{c}{q} \\
 & \multicolumn{2}{c}{B} & \multicolumn{2}{c}{B} \\
\cmidrule(lr){2-3} \cmidrule(lr){4-5}
R & s & t & s & t \\""" in rendered(store, 'latex')


def test_notes_name_overrides_devices_commits_and_the_setting(store):
    store.plan(overrides={'optim_wrapper.optimizer.lr': 0.005}, setting='COCO val2017, ResNet-50')
    for i, (commit, dirty) in enumerate([('abc1234', False), (None, None), ('abc1234', True), ('abc1234', False)]):
        store.result(i, 0.1, 0.2, provenance={'commit': commit, 'dirty': dirty, 'device': f'gpu {i % 2}'})
    text = rendered(store)
    assert 'Measured (profile desk, optim_wrapper.optimizer.lr=0.005), AP in %, without NMS' in text
    assert 'Device gpu 0; Device gpu 1; commit abc1234; commit abc1234 with local changes; commit unknown.' in text
    assert 'Paper (COCO val2017, ResNet-50):' in text


@pytest.mark.parametrize('profile, warned', [('desk', True), ('smoke', True), ('mine', True), ('paper', False)])
def test_only_the_papers_profile_is_not_said_to_be_no_coco(store, profile, warned):
    store.plan(profile=profile)
    store.all_results(profile=profile)
    for format in ('markdown', 'latex', 'json'):
        assert ('not COCO numbers' in rendered(store, format, profile=profile)) == warned
    assert f'profile {profile}' in rendered(store, profile=profile)


def test_markdown_keeps_its_columns_whatever_the_labels(store):
    store.plan(rows=[axis('r', 'a|b', 'x\ny', '*', '<i>')], columns=[axis('c', '', 'C')], cells=[])
    assert lines_of(rendered(store)) == [
        '| a\\|b | C   |',
        '| ---- | --- |',
        '| x y  | –   |',
        '| \\*   | –   |',
        '| \\<i> | –   |',
    ]


@pytest.mark.parametrize(
    'text, expected',
    [
        ('T^max, T^min; T^j and p^test', r'$T^{\max}$, $T^{\min}$; $T^{j}$ and $p^{\mathrm{test}}$'),
        ('p^(1-α)', r'p\textasciicircum{}(1-$\alpha$)'),
        ('50% & $5 #1 a_b {c} ~ \\x', r'50\% \& \$5 \#1 a\_b \{c\} \textasciitilde{} \textbackslash{}x'),
        ('[48] *', '{[}48] {*}'),
        ('AP↑ 3× é – ± < >', r'AP$\uparrow$ 3$\times$ é -- $\pm$ \textless{} \textgreater{}'),
        ('"机\x07"', "''??''"),
    ],
)
def test_latex_sets_every_character_as_it_was_written(store, text, expected):
    store.plan(rows=[axis('r', text, 'v')], columns=[axis('c', '', 'C')])
    assert f'\n{expected} & C \\\\\n' in rendered(store, 'latex')


def test_differences_from_the_paper_are_shown_where_they_mean_something(store):
    """With the paper's profile and settings; never of numbers from generated scenes."""
    for profile, overrides in (('paper', {}), ('paper', {'lr': 0.1}), ('desk', {})):
        name = 'table3' + ''.join(f'+{key}={value}' for key, value in overrides.items())
        store.plan(name, profile, table='table3', overrides=overrides)
        for i in range(3):
            store.result(i, 0.381, 0.396, profile=profile)
        texts = {format: rendered(store, format, name, profile) for format in render.SUFFIXES}
        differences = [
            reading['difference'] for cell in json.loads(texts['json'])['cells'] for reading in cell['readings']
        ]
        if profile == 'paper' and not overrides:
            assert differences == [-0.2, 0.1, 0.1, 0.1, -0.8, 0.3, None, None]
            shown = texts['markdown'].split("\nMeasured less the paper's numbers, in points:\n")[1]
            assert lines_of(shown)[3:] == [
                '| 0.4       | -0.2/+0.1 | +0.1/+0.1 |',
                '| 0.2       | -0.8/+0.3 | –         |',
            ]
            assert "Measured less the paper's" in texts['latex'] and ',38.3,-0.2\n' in texts['csv']
        else:
            assert differences == [None] * 8
            assert not any('less the paper' in text for text in texts.values()) and ',38.3,\n' in texts['csv']


def test_the_best_numbers_are_bold_in_latex(store):
    """Of each column, or of each row where the table has no axis down; a miss rate and duplicates are best where least,
    equal numbers are bold together, and a column of equals has none."""
    store.plan(
        columns=[],
        rows=[axis('method', 'Method', 'a', 'b', 'c')],
        metrics={'AP': ['n/AP', 'y/AP'], 'mMR': ['n/mMR'], 'JI': ['n/JI'], 'D': ['n/duplicates']},
    )
    for i, (ap, miss_rate) in enumerate([(0.3004, 0.5), (0.3, 0.4), (0.2, 0.6)]):
        store.result(i, metrics={'n/AP': ap, 'y/AP': 0.1 * i, 'n/mMR': miss_rate, 'n/JI': 0.7, 'n/duplicates': ap})
    text = rendered(store, 'latex')
    assert r'a & \textbf{30.0}/0.0 & 50.0 & 70.0 & 30.0 \\' in text
    assert r'b & \textbf{30.0}/10.0 & \textbf{40.0} & 70.0 & 30.0 \\' in text
    assert r'c & 20.0/\textbf{20.0} & 60.0 & 70.0 & \textbf{20.0} \\' in text
    store.table2()
    for i, values in enumerate([(0.1, 0.2), (0.3, 0.1), (0.3, 0.2)]):
        store.result(i, *values, metrics={'without_nms/AP50': 0.5, 'with_nms/AP50': 0.1 * i})
    text = rendered(store, 'latex', 'table2')
    assert r'AP & 10.0/\textbf{20.0} & \textbf{30.0}/10.0 & \textbf{30.0}/\textbf{20.0} \\' in text
    assert r'AP50 & 50.0/0.0 & 50.0/10.0 & 50.0/\textbf{20.0} \\' in text and 'best of each row' in text


def test_the_caption_of_a_table_of_one_s_own_is_no_paper_s(store):
    store.plan(source='')
    assert 'A small T^min' in store.cli('table3').stdout and "On the paper's" not in store.cli('table3').stdout


@pytest.mark.parametrize('printed', ['38.3/-', '38.3 / 39.5', '1_0/39.5', '+2/3', 'nan/1', ''])
def test_numbers_of_the_paper_have_one_form(store, printed):
    """Others would be shown, and neither compared nor marked as the best."""
    content = store.plan()
    content['cells'][0]['paper'] = {'AP': printed}
    store.write('desk/tables/table3.json', json.dumps(content))
    done = store.cli('table3')
    assert done.returncode == 2 and "must be numbers such as 38.3, joined by '/' without blanks" in done.stderr
