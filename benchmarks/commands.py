"""What the commands take besides training: help, lists, plans, and tables of many stored runs.

Each command runs in its own process and is timed from its start to its end. With "after import", the process itself
measures the time after its imports.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import List, Tuple

from benchmarks.rows import Row
from benchmarks.timing import seconds

ROOT = Path(__file__).resolve().parent.parent
RUN, TABLES = 'experiments/run.py', 'analysis/make_tables.py'
RUNS = 1000  # stored runs of which tables are made
AFTER_IMPORT = """
import contextlib, io, sys, time
sys.path.insert(0, {root!r})
import {imports}
with contextlib.redirect_stdout(io.StringIO()):
    begin = time.perf_counter()
    status = {module}.main({arguments!r})
    end = time.perf_counter()
assert status == 0, status
print(end - begin)
"""


def measure(quick: bool) -> List[Row]:
    """Seconds of each command."""
    repeats = 1 if quick else 7
    rows = [Row(f'run.py {option}', _whole([RUN, option], repeats), 's', below=0.5) for option in ('--help', '--list')]
    plan = _after_import('experiments.run', 'experiments.run, experiments.spec.plan', ['all', '--dry-run'], repeats)
    rows.append(Row('run.py all --dry-run, after import', plan, 's', below=2.0))
    rows.append(Row('run.py all --dry-run, in all', _whole([RUN, 'all', '--dry-run'], repeats), 's'))
    with tempfile.TemporaryDirectory() as folder:
        count = store_runs(Path(folder), 100 if quick else RUNS)
        arguments = ['--runs', folder, '--out', f'{folder}/out']
        tables = _after_import('analysis.make_tables', 'analysis.make_tables', arguments, repeats)
        rows.append(Row(f'make_tables.py, all tables from {count} runs, after import', tables, 's', below=3.0))
        rows.append(
            Row(f'make_tables.py, all tables from {count} runs, in all', _whole([TABLES, *arguments], repeats), 's')
        )
    return rows


def _whole(command: List[str], repeats: int) -> float:
    return median(seconds(lambda: _python(command)) for _ in range(repeats))


def _after_import(module: str, imports: str, arguments: List[str], repeats: int) -> float:
    code = AFTER_IMPORT.format(root=str(ROOT), module=module, imports=imports, arguments=arguments)
    return median(float(_python(['-c', code])) for _ in range(repeats))


def _python(command: List[str]) -> str:
    # Bytecode is what a second start has; some environments forbid to write it.
    environment = {key: value for key, value in os.environ.items() if key != 'PYTHONDONTWRITEBYTECODE'}
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    ).stdout


def seeds_for(least: int) -> Tuple[int, int]:
    """The seeds with which all tables have at least ``least`` runs, and how many they then have."""
    from experiments.spec import table_file
    from experiments.spec.plan import make_plan

    tables = [table_file.load_table(name) for name in table_file.table_names()]
    one_seed = {run_id for table in tables for run_id in make_plan(table, table.cells, 'desk', [0], {}).runs()}
    seeds = -(-least // len(one_seed))
    return seeds, seeds * len(one_seed)


def store_runs(folder: Path, least: int) -> int:
    """Store made-up results of every cell of every table, for seeds enough to be ``least`` runs; returns how many."""
    from experiments.spec import table_file
    from experiments.spec.plan import make_plan, save_plan

    seeds, stored = range(seeds_for(least)[0]), set()
    for name in table_file.table_names():
        table = table_file.load_table(name)
        plan = make_plan(table, table.cells, 'desk', seeds, {})
        save_plan(plan, folder)
        for run in plan.runs().values():
            if run.id not in stored:
                _store(folder / 'desk' / run.id, run)
                stored.add(run.id)
    return len(stored)


def _store(folder: Path, run) -> None:
    """A finished run's files, with the metrics that any table may ask for."""
    from experiments.store.runs import RunFolder

    names = ('AP', 'AP50', 'AP75', 'AR', 'mMR', 'recall', 'JI', 'mask_AP', 'mask_AR')
    metrics = {f'{reading}/{name}': 0.3 for reading in ('without_nms', 'with_nms') for name in names}
    folder.mkdir(parents=True)
    content = dict(schema=1, epochs=[dict(epoch=n + 1, metrics=metrics, seconds=9.0, loading_s=0.1) for n in range(12)])
    (folder / 'metrics.json').write_text(json.dumps(content), encoding='utf-8')
    RunFolder(folder).finish(run.id, run.profile, run.config['randomness']['seed'], dict(device='none', commit='none'))
