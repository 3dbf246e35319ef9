"""run.py search as a user calls it, on a cluster of Ray that it starts itself."""

import json
import os
import re
from pathlib import Path

import pytest

SPACE = Path(__file__).with_name('space.yaml')
SMOKE = (SPACE, '--profile', 'smoke')


def rows(text):
    """Rows of the report, each by its setting."""
    lines = [[cell.strip() for cell in line.strip('|').split('|')] for line in text.splitlines() if line[:1] == '|']
    return {line[0]: line[1:] for line in lines[2:]}


def reported(suite, run):
    """What Tune was told of a run's epochs in each experiment."""
    paths = sorted((suite.runs / 'smoke' / 'ray').glob(f'*/{run}/result.json'))
    return [[json.loads(line)['epoch'] for line in path.read_text().splitlines()] for path in paths]


def test_a_search(need_ray, suite, ray_folder):
    suite.run(*SMOKE, '--only', 'setting=good', check=0)
    [stored] = suite.folders()
    trained = (stored / 'result.json').stat().st_mtime_ns
    env = {**os.environ, 'RAY_TMPDIR': ray_folder}
    done = suite.run('search', *SMOKE, '--grace', 4, check=0, env=env)

    found = rows(done.stdout)
    assert list(found) == ['good', 'as-good', 'hopeless']
    assert found['good'][-1] == 'stored' and found['as-good'][-1] == 'trained'
    assert found['good'][:3] == found['as-good'][:3]
    assert found['hopeless'][0] == '0.0' and found['hopeless'][-1] == 'stopped by ASHA after epoch 4'
    assert 'Traceback' not in done.stderr and (stored / 'result.json').stat().st_mtime_ns == trained

    run = {name: row[3] for name, row in found.items()}
    assert run['good'] == stored.name and reported(suite, stored.name) == [[1, 2, 3, 4, 5, 6]]
    assert reported(suite, run['hopeless']) == [[1, 2, 3, 4]]
    status = suite.run(*SMOKE, '--status', check=0).stdout
    assert re.search(rf'{run["hopeless"]}  .*  stopped', status) and '3 distinct trainings, 2 done, 1 to do' in status


@pytest.mark.parametrize(
    'args, says',
    [
        (('search',), 'the following arguments are required: TABLE'),
        (('search', 'table1', 'table3'), 'unrecognized arguments: table3'),
        (('search', 'table3', '--seed', '0', '1'), 'unrecognized arguments: 1'),
        (('search', 'table3', '--space', 't_max=0.3:0.8'), '--space needs --trials N'),
        (('search', 'table3', '--dry-run'), 'unrecognized arguments: --dry-run'),
        (('search', 'table3', '--launcher', 'slurm'), 'unrecognized arguments: --launcher slurm'),
        (('search', 'table3', '--trials', '0'), "argument --trials: '0' must be a whole number, 1 or more"),
        (('search', 'table3', '--reduction', '1'), "argument --reduction: '1' must be a number above 1"),
        (('search', 'table3', '--metric', 'mAP'), '--metric mAP: table3 has with_nms/AP, without_nms/AP'),
        (('search', 'table3', '--trials', '2', '--space', 't_max'), 'write it as AXIS=LOW:HIGH'),
        (('table3', '--trials', '2'), 'unrecognized arguments: --trials 2'),
    ],
)
def test_bad_input(suite, args, says):
    done = suite.run(*args, check=2)
    assert says in done.stderr and 'Traceback' not in done.stderr and done.stdout == ''
