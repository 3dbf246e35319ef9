"""A whole grid at desk scale: Table 3, sixteen trainings, from nothing to the printed table.

Scenes and backbone are made first, as for a new user. The limit of twenty minutes comes from the project's first
requirements. The workers' time runs from the start of the first worker to the end of the command. Subtract the seconds
of all epochs, without the time they waited for data: the rest went into imports, building, loading, files, and idling
when nothing was left to start.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import List

from benchmarks.rows import Row
from experiments.machine import cores

ROOT = Path(__file__).resolve().parent.parent
LIMIT_MIN = 20.0


def measure(quick: bool) -> List[Row]:
    """Minutes of the grid, and how the workers spent theirs."""
    jobs = cores()
    profile = 'smoke' if quick else 'desk'
    with tempfile.TemporaryDirectory() as folder:
        begin = time.time()
        _run(
            'table3', '--profile', profile, '--jobs', str(jobs), '--runs', f'{folder}/runs', '--data', f'{folder}/data'
        )
        end = time.time()
        runs = list((Path(folder) / 'runs' / profile).glob('*/result.json'))
        first = min((path.parent / 'lock').stat().st_mtime for path in runs)
        epochs = [epoch for path in runs for epoch in json.loads((path.parent / 'metrics.json').read_text())['epochs']]
    workers = jobs * (end - first)
    working = sum(epoch['seconds'] - epoch['loading_s'] for epoch in epochs)
    loading = sum(epoch['loading_s'] for epoch in epochs)
    case = f'table3, {len(runs)} trainings, {jobs} workers'
    return [
        Row(f'{case}: from nothing to the table', (end - begin) / 60, 'min', LIMIT_MIN, 'limit', below=12.0),
        Row(f'{case}: scenes and backbone, before the first worker', (first - begin) / 60, 'min'),
        Row(f'{case}: workers not training or evaluating', 100 * (workers - working) / workers, '%', below=5.0),
        Row(f'{case}: workers waiting for data', 100 * loading / workers, '%'),
        Row(f'{case}: one training', working / len(runs), 's'),
    ]


def _run(*options: str) -> None:
    # Threads and bytecode as on a user's machine. The table it prints is shown, as it is what the time was spent on.
    drop = ('OMP_NUM_THREADS', 'PYTHONDONTWRITEBYTECODE')
    environment = {key: value for key, value in os.environ.items() if key not in drop}
    command = [sys.executable, 'experiments/run.py', *options]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    print(done.stdout, flush=True)
