"""The layouts of the paper's tables to the letter: no axis down or across, words beside labels, readings and speeds."""

import csv
import io
import json

import pytest
from stored_files import axis, metric, run_id

from analysis import results
from analysis.tables import render


def load(store, name):
    plan = results.load_plan(store.runs, 'desk', name)
    found = results.load_results(store.runs, 'desk', plan)
    assert found.warnings == []
    return plan, found


def rendered(store, name, format='markdown'):
    return render.render(*load(store, name), format)


def lines_of(text):
    return [line for line in text.splitlines() if line.startswith('|')]


@pytest.fixture
def table5(store):
    """Table 5 with all of its results and speeds."""
    store.table5()
    for run, ap in enumerate([0.1, 0.2, 0.3, 0.4]):
        store.result(run, ap, ap + 0.05, metrics={'without_nms/AR': ap + 0.1, 'with_nms/AR': ap + 0.2})
    store.speed(0, 20.0)
    store.speed(2, 12.34)
    return store


MARKDOWN_5 = """\
|            |        |         | 1×     |        | 3×     |        |                 |         |
| ---------- | ------ | ------- | ------ | ------ | ------ | ------ | --------------- | ------- |
| **Method** | **LA** | **NMS** | **AP** | **AR** | **AP** | **AR** | **forward(ms)** | **FPS** |
| FCOS [48]  | o2m    | ✓       | 15.0   | 30.0   | 25.0   | 40.0   | 20.0            | 40.0    |
| FCOS [48]  | o2m    | ✗       | 10.0   | 20.0   | 20.0   | 30.0   | 20.0            | 50.0    |
| Ours       | o2f    | ✗       | 30.0   | 40.0   | 40.0   | 50.0   | 12.3            | 81.0    |
|            |        |         | 1×     |        | 3×     |        |                 |         |
| ---------- | ------ | ------- | ------ | ------ | ------ | ------ | --------------- | ------- |
| **Method** | **LA** | **NMS** | **AP** | **AR** | **AP** | **AR** | **forward(ms)** | **FPS** |
| FCOS [48]  | o2m    | ✓       | 38.6   | 57.2   | 41.4   | 59.1   | 27.7            | 35.2    |
| FCOS [48]  | o2m    | ✗       | 17.7   | 52.9   | 19.1   | 54.2   | 27.7            | 36.1    |
| Ours       | o2f    | ✗       | 39.0   | –      | –      | 63.5   | –               | 35.5    |
"""

LATEX_5 = r"""\sbox0{\begin{tabular}{lllcccccc}
\toprule
 &  &  & \multicolumn{2}{c}{1$\times$} & \multicolumn{2}{c}{3$\times$} & \multicolumn{2}{c}{} \\
\cmidrule(lr){4-5} \cmidrule(lr){6-7}
Method & LA & NMS & AP & AR & AP & AR & forward(ms) & FPS \\
\midrule
FCOS {[}48] & o2m & $\surd$ & 15.0 & 30.0 & 25.0 & 40.0 & 20.0 & 40.0 \\
FCOS {[}48] & o2m & $\times$ & 10.0 & 20.0 & 20.0 & 30.0 & 20.0 & 50.0 \\
Ours & o2f & $\times$ & \textbf{30.0} & \textbf{40.0} & \textbf{40.0} & \textbf{50.0} & \textbf{12.3} & \textbf{81.0} \\
\bottomrule
"""


def test_table_5_has_words_beside_labels_a_reading_per_row_and_speeds_last(table5):
    text = rendered(table5, 'table5')
    assert '\n'.join(lines_of(text)) + '\n' == MARKDOWN_5
    assert '\nMeasured (profile desk), AP, AR in %:\n' in text
    assert LATEX_5 in rendered(table5, 'table5', 'latex')


def test_speeds_keep_their_units_and_are_no_percent(table5):
    table = list(csv.DictReader(io.StringIO(rendered(table5, 'table5', 'csv'))))
    shown = [
        (row['axis_method'], row['axis_schedule'], row['key'], row['unit'], row['mean'], row['paper'])
        for row in table[:6]
    ]
    assert shown == [
        ('fcos-nms', '1x', 'with_nms/AP', '%', '15.0', '38.6'),
        ('fcos-nms', '1x', 'with_nms/AR', '%', '30.0', '57.2'),
        ('fcos-nms', '1x', 'speed/with_nms/forward_ms', 'ms', '20.0', '27.7'),
        ('fcos-nms', '1x', 'speed/with_nms/fps', '1/s', '40.0', '35.2'),
        ('fcos-nms', '3x', 'with_nms/AP', '%', '25.0', '41.4'),
        ('fcos-nms', '3x', 'with_nms/AR', '%', '40.0', '59.1'),
    ]
    assert len(table) == 3 * (4 + 2)
    content = json.loads(rendered(table5, 'table5', 'json'))
    where = {'device': 'cpu: Intel Xeon, 1 thread', 'versions': {'torch': '2.15.0'}, 'image': [96, 128], 'repeats': 20}
    assert content['speeds'] == {run_id(0): where, run_id(2): where}


def test_the_notes_name_the_machine_of_the_speeds(table5):
    device = 'cpu: Intel Xeon, 1 thread, batch 1, image 96 × 128'
    assert f'\nforward(ms) and FPS measured on {device}.\n' in rendered(table5, 'table5')
    table5.speed(2, 12.34, device='another', image=[800, 1333])
    both = f'another, batch 1, image 800 × 1333; on {device}'
    assert f'\nforward(ms) and FPS measured on {both}.\n' in rendered(table5, 'table5')
    for run in (0, 2):
        (table5.runs / 'desk' / run_id(run) / 'speed.json').unlink()
    assert 'measured on' not in rendered(table5, 'table5')


def test_speeds_of_different_hours_are_named(table5):
    """Their ratios are compared, so detectors of one seed are timed in turns."""
    for number, sitting in ((0, 'a'), (2, 'a')):
        table5.speed(number, 20.0, sitting=sitting)
    assert load(table5, 'table5')[1].warnings == []
    table5.speed(2, 20.0, sitting='b')
    [warning] = results.load_results(table5.runs, 'desk', results.load_plan(table5.runs, 'desk', 'table5')).warnings
    assert warning.startswith('table5: detectors of seed 0 were not timed together: python experiments/run.py table5 ')
    assert warning.endswith(' --seeds 0 does that')


def test_a_missing_speed_is_a_dash_and_makes_the_cell_incomplete(table5):
    assert load(table5, 'table5')[1].missing_cells == 0
    (table5.runs / 'desk' / run_id(2) / 'speed.json').unlink()
    assert lines_of(rendered(table5, 'table5'))[5].endswith('| 40.0   | 50.0   | –               | –       |')
    assert load(table5, 'table5')[1].missing_cells == 1
    table5.speed(2, 12.0, metrics={'speed/without_nms/forward_ms': 12.0, 'speed/without_nms/fps': None})
    assert lines_of(rendered(table5, 'table5'))[5].endswith('| 12.0            | –       |')
    assert load(table5, 'table5')[1].missing_cells == 1


def test_a_speed_does_not_wait_for_the_result(table5):
    (table5.runs / 'desk' / run_id(2) / 'result.json').unlink()
    row = lines_of(rendered(table5, 'table5'))[5]
    assert row.endswith('| –      | –      | 40.0   | 50.0   | 12.3            | 81.0    |')


def test_speeds_of_several_seeds_have_mean_and_spread(table5):
    table5.table5(seeds=(0, 1))
    table5.speed(0, 30.0, seed=1)
    row = lines_of(rendered(table5, 'table5'))[4]
    assert row.endswith('| 25.0 ±7.1       | 41.7 ±11.8 |')  # 50 and 1000 / 30
    assert '| 10.0 (n=1) |' in row


def test_a_broken_speed_is_not_read_for_a_table_without_speeds(full):
    full.write(f'desk/{run_id(0)}/speed.json', '{')
    assert load(full, 'table3')[1].speeds == {}


def test_a_metric_that_is_limited_to_a_row_is_a_dash_elsewhere(store):
    store.plan(rows=[axis('r', 'R', 'x', 'y')], metrics={'AP': ['AP'], 'AR': metric('AR', r='y')}, columns=[])
    for run in range(2):
        store.result(run, metrics={'AP': 0.1, 'AR': 0.2})
    assert lines_of(rendered(store, 'table3')) == [
        '| R   | AP   | AR   |',
        '| --- | ---- | ---- |',
        '| x   | 10.0 | –    |',
        '| y   | 10.0 | 20.0 |',
    ]
    assert load(store, 'table3')[1].missing_cells == 0


def test_a_metric_that_is_limited_on_one_axis_keeps_the_header_of_the_other(store):
    columns = [axis('a', 'A', 'p', 'q'), axis('b', '', 's', 't')]
    metrics = {'AP': ['AP'], 'FPS': metric('speed/fps', b='s')}
    store.plan(rows=[axis('r', 'R', 'x')], columns=columns, metrics=metrics)
    assert lines_of(rendered(store, 'table3'))[:6] == [
        '|       | A      |        |        |        |         |         |',
        '| ----- | ------ | ------ | ------ | ------ | ------- | ------- |',
        '|       | **p**  |        | **q**  |        | **p**   | **q**   |',
        '|       | **s**  | **t**  | **s**  | **t**  |         |         |',
        '| **R** | **AP** | **AP** | **AP** | **AP** | **FPS** | **FPS** |',
        '| x     | –      | –      | –      | –      | –       | –       |',
    ]


def test_table_2_has_its_metrics_down_and_the_axis_in_the_corner(store):
    store.table2()
    for run in range(2):
        store.result(run, 0.1 + run / 100, 0.2, metrics={'without_nms/AP50': 0.3, 'with_nms/AP50': 0.4})
    text = rendered(store, 'table2')
    assert lines_of(text) == [
        '| K    | 9         | 7         | 5   |',
        '| ---- | --------- | --------- | --- |',
        '| AP   | 10.0/20.0 | 11.0/20.0 | –   |',
        '| AP50 | 30.0/40.0 | 30.0/40.0 | –   |',
    ]
    assert '\nMeasured (profile desk), AP, AP50 in %, without NMS / with NMS:\n' in text
    assert '\nK & 9 & 7 & 5 \\\\\n\\midrule\nAP & 10.0/20.0 &' in rendered(store, 'table2', 'latex')


def test_table_1_shows_labels_and_its_one_metric(store):
    store.table1()
    store.result(1, 0.1)
    text = rendered(store, 'table1')
    assert lines_of(text) == [
        '| LA  | one-to-one | t=0.1 |',
        '| --- | ---------- | ----- |',
        '| AP  | –          | 10.0  |',
    ]
    assert '\nMeasured (profile desk), AP in %, without NMS:\n' in text
    assert 'table1,desk,t01,AP,without_nms/AP,%,10.0,,1,,\n' in rendered(store, 'table1', 'csv')


def test_without_row_axes_only_the_innermost_label_is_in_the_corner(store):
    store.plan(rows=[], columns=[axis('a', 'A', 'p'), axis('b', 'B', 's', 't')])
    assert lines_of(rendered(store, 'table3'))[:5] == [
        '|       | A     |       |',
        '| ----- | ----- | ----- |',
        '|       | **p** |       |',
        '| **B** | **s** | **t** |',
        '| AP    | –     | –     |',
    ]


def test_table_4_groups_its_rows_and_has_its_metrics_across(store):
    store.table4()
    for run in range(4):
        store.result(run, run / 10, metrics={'without_nms/AR': 0.5})
    text = rendered(store, 'table4')
    assert lines_of(text)[:6] == [
        '|          | α   | AP   | AR   |',
        '| -------- | --- | ---- | ---- |',
        '| Add      | 0   | 0.0  | 50.0 |',
        '|          | 0.8 | 10.0 | 50.0 |',
        '| Multiply | 0   | 20.0 | 50.0 |',
        '|          | 0.8 | 30.0 | 50.0 |',
    ]
    assert '\nMeasured (profile desk), AP, AR in %, without NMS:\n' in text
    latex = rendered(store, 'table4', 'latex')
    assert '\n & $\\alpha$ & AP & AR \\\\\n\\midrule\nAdd & 0 & 0.0 & 50.0 \\\\\n & 0.8 &' in latex
    assert latex.count('\\addlinespace\nMultiply') == 2 == latex.count('\\addlinespace')


def test_words_of_an_outer_axis_are_not_repeated(store):
    rows = [axis('m', 'M', 'a', 'b', NMS='✓✗'), axis('k', 'K', '1', '2', Unit='xy')]
    store.plan(rows=rows, columns=[], metrics={'AP': ['without_nms/AP']})
    assert lines_of(rendered(store, 'table3'))[:5] == [
        '| M   | NMS | K   | Unit | AP  |',
        '| --- | --- | --- | ---- | --- |',
        '| a   | ✓   | 1   | x    | –   |',
        '|     |     | 2   | y    | –   |',
        '| b   | ✗   | 1   | x    | –   |',
    ]


def test_crowdhuman_is_named_where_the_paper_measured_on_it(store):
    store.plan(setting='CrowdHuman val')
    assert 'generated scenes, not CrowdHuman. ' in rendered(store, 'table3')
    assert 'Desk numbers are not CrowdHuman numbers' in rendered(store, 'table3')
