"""Table 5's ms and FPS: measured for every row, once, on the run's own weights."""

import json

import yaml

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
