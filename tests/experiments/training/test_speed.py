"""Table 5's ms and FPS: measured for every row, once, on the run's own weights."""

import json

import yaml

from experiments.spec.plan import make_plan
from experiments.spec.table_file import load_table, select
from experiments.store.files import write_json
from experiments.store.runs import RunFolder
from experiments.training.speed import lacking

TABLE = {
    'title': 'speeds',
    'axes': {
        'method': {
            'values': [
                {'name': 'FCOS-NMS', 'use': ['fcos'], 'reading': 'with_nms'},
                {'name': 'FCOS', 'use': ['fcos']},
                {'name': 'POTO', 'use': ['poto', '3dmf']},
            ]
        },
        'k': {'key': 'train_cfg.max_epochs', 'values': [1, 2]},
    },
    'rows': ['method'],
    'columns': ['k'],
    'metrics': {
        'AP': ['{reading}/AP'],
        **{name: {'keys': [f'speed/{{reading}}/{name}'], 'at': {'k': 1}} for name in ('forward_ms', 'nms_ms', 'fps')},
    },
}


def test_speeds_are_measured_beside_the_runs(suite, tmp_path):
    table = tmp_path / 'speeds.yaml'
    table.write_text(yaml.safe_dump(TABLE))
    printed = suite.run(table, '--profile', 'smoke', check=0)
    measured = [json.loads(path.read_text()) for path in suite.runs.glob('smoke/*/speed.json')]
    assert len(measured) == 2  # both FCOS rows are one run, and the second column shows no speed
    assert len({content['sitting'] for content in measured}) == 1
    for content in measured:
        metrics = content['metrics']
        assert content['image'] == [72, 72] and content['repeats'] >= 5 and 'thread' in content['device']
        assert metrics['speed/without_nms/nms_ms'] == 0 < metrics['speed/with_nms/nms_ms']
        for reading in ('without_nms', 'with_nms'):
            forward, nms, fps = (metrics[f'speed/{reading}/{name}'] for name in ('forward_ms', 'nms_ms', 'fps'))
            assert abs(fps * (forward + nms) - 1000) < 1
    assert '–' not in printed.stdout.split('Paper')[0]
    before = {path: path.stat().st_mtime_ns for path in suite.runs.glob('smoke/*/speed.json')}
    assert suite.run(table, '--profile', 'smoke', check=0).stdout == printed.stdout
    assert before == {path: path.stat().st_mtime_ns for path in suite.runs.glob('smoke/*/speed.json')}


def test_detectors_of_a_seed_are_timed_together(tmp_path):
    """What was timed at different hours is timed again, seed by seed."""
    table = load_table('table5')
    cells = select(table, [('method', 'POTO'), ('method', 'Ours-3convs'), ('schedule', '1x')])
    plan = make_plan(table, cells, 'smoke', [0, 1], {})
    folders = {run_id: RunFolder(tmp_path / run_id) for run_id in plan.runs()}

    def timed(seed, *sittings):
        for planned, sitting in zip(plan.cells, sittings):
            write_json(folders[planned.runs[seed].id].path / 'speed.json', dict(sitting=sitting))

    for run_id, run in plan.runs().items():
        folders[run_id].create(run)
        write_json(folders[run_id].path / 'result.json', dict(schema=1, metrics={}, epochs=1))
        (folders[run_id].path / 'epoch_1.pth').touch()
    of_seed = [{planned.runs[seed].id for planned in plan.cells} for seed in (0, 1)]
    assert set(lacking(plan, folders)) == of_seed[0] | of_seed[1] and len(of_seed[0]) == 2
    timed(0, 'a', 'a')
    timed(1, 'b')
    assert set(lacking(plan, folders)) == of_seed[1]
    timed(1, 'b', 'c')
    assert set(lacking(plan, folders)) == of_seed[1]
    timed(1, 'c', 'c')
    assert lacking(plan, folders) == {}
