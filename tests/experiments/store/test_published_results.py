"""The results in the repository are those of the tables and settings as they are now."""

import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.spec.config import run_id
from experiments.spec.plan import make_plan
from experiments.spec.table_file import load_table
from experiments.store.configs import read_config

ROOT = Path(__file__).resolve().parents[3]
STORED = ROOT / 'results' / 'desk'
PLANS = sorted((STORED / 'tables').glob('*.json'))


@pytest.mark.parametrize('path', PLANS, ids=lambda path: path.stem)
def test_a_stored_plan_is_what_its_table_resolves_to(path):
    stored = json.loads(path.read_text())
    table = load_table(stored['table'])
    seeds = sorted({int(seed) for cell in stored['cells'] for seed in cell['runs']})
    plan = make_plan(table, table.cells, stored['profile'], seeds, {})
    now = [{str(seed): run.id for seed, run in planned.runs.items()} for planned in plan.cells]
    assert all(cell['runs'].items() <= runs.items() for cell, runs in zip(stored['cells'], now))
    assert [cell['paper'] for cell in stored['cells']] == [planned.cell.paper for planned in plan.cells]


def test_every_stored_run_is_of_a_plan_and_whole():
    planned = {run for path in PLANS for cell in json.loads(path.read_text())['cells'] for run in cell['runs'].values()}
    runs = [path for path in STORED.iterdir() if path.name not in ('tables', 'captures')]
    assert len(PLANS) >= 5 and len(runs) >= 35
    for folder in runs:
        result = json.loads((folder / 'result.json').read_text())
        epochs = json.loads((folder / 'metrics.json').read_text())['epochs']
        assert folder.name in planned and result['run'] == folder.name and len(epochs) == result['epochs']
        assert result['metrics'] == epochs[-1]['metrics'] and result['provenance']['dirty'] is False


def test_every_config_is_rebuilt_from_the_base_of_its_table():
    """The hash of what is rebuilt is the run's id, and mmengine's own inheritance rebuilds the same."""
    from mmengine.config import Config

    paths = sorted(STORED.glob('*/config.py'))
    assert len(paths) >= 35
    for path in paths:
        config = read_config(path)
        assert run_id(config) == path.parent.name
        assert Config.fromfile(path, import_custom_modules=False).to_dict() == config
        assert path.read_text().startswith("_base_ = '../tables/") and len(path.read_text()) < 3000


def test_they_are_printed_without_a_warning():
    command = [sys.executable, str(ROOT / 'analysis' / 'make_tables.py'), '--runs', str(ROOT / 'results')]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == ''
    cell = json.loads((STORED / 'tables' / 'table3.json').read_text())['cells'][0]
    metrics = [json.loads((STORED / run / 'result.json').read_text())['metrics'] for run in cell['runs'].values()]
    means = (statistics.mean(each[f'{reading}/AP'] for each in metrics) for reading in ('without_nms', 'with_nms'))
    assert '/'.join(f'{100 * mean:.1f}' for mean in means) in done.stdout
