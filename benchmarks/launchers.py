"""What a launcher costs: the same smoke grid under each of them.

The grid has sixteen trainings of one short epoch each, on existing data. There are two numbers for each launcher. The
first is the time from the command to the first training step of any run. The second is the share of the workers' time
that is not training. The workers' time begins when the first of them takes its run and ends with the last result. The
seconds of all epochs are subtracted. What remains is starting processes, imports, building the model, files, and
waiting for the next run. An epoch takes well under a second here, so the second number is a worst case. The grid above
has the share at desk scale.

Slurm is the one-node cluster of `slurm/dev-cluster.sh`. It is started and stopped around the measurement unless
SLURM_CONF names another. Ray starts on this machine. Launchers that are not installed are left out.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Dict, Iterator, List, Mapping, Sequence

from benchmarks.rows import Row
from experiments.machine import cores

ROOT = Path(__file__).resolve().parent.parent
GRID = ('table3', '--profile', 'smoke')


def measure(quick: bool) -> List[Row]:
    """Seconds to the first step, and the share of the workers' time that is no training, for each launcher."""
    grid = (*GRID, '--only', 't_max=0.6') if quick else GRID
    rows = []
    with tempfile.TemporaryDirectory() as folder, with_slurm() as environment:
        data = ('--data', f'{folder}/data')
        _run(GRID + ('--only', 't_max=0.6', '--only', 't_min=0.2', '--runs', f'{folder}/first', *data), environment)
        for name, options in launchers(Path(folder), environment).items():
            runs = Path(folder) / name
            begin = time.time()
            _run((*grid, '--runs', str(runs), *data, *options), environment)
            rows += _rows(name, runs / 'smoke', begin)
    return rows


def launchers(folder: Path, environment: Mapping[str, str] = os.environ) -> Dict[str, Sequence[str]]:
    """Options of run.py for each launcher that is installed here; ``folder`` gets a cluster file."""
    found: Dict[str, Sequence[str]] = {'local': ()}
    if 'SLURM_CONF' in environment:
        file = folder / 'cluster.yaml'
        file.write_text(f'timeout_min: 10\narray_parallelism: {cores()}\n')  # as many at once as under the others
        found['slurm'] = ('--launcher', 'slurm', '--cluster', str(file), '--wait')
    if find_spec('ray'):
        found['ray'] = ('--launcher', 'ray')
    return found


def _rows(name: str, runs: Path, begin: float) -> List[Row]:
    results = list(runs.glob('*/result.json'))
    first_worker = min((path.parent / 'lock').stat().st_mtime for path in results)
    last = max(path.stat().st_mtime for path in results)
    first_step, training = last, 0.0
    for path in results:
        metrics = path.parent / 'metrics.json'
        [epoch] = json.loads(metrics.read_text())['epochs']
        first_step = min(first_step, metrics.stat().st_mtime - epoch['seconds'])
        training += epoch['seconds']
    workers = cores() * (last - first_worker)
    case = f'{name}, {len(results)} trainings'
    return [
        Row(f'{case}: to the first training step', first_step - begin, 's'),
        Row(f'{case}: to the last result', last - begin, 's'),
        Row(f'{case}: workers not training', 100 * (workers - training) / workers, '%'),
    ]


def _run(options: Sequence[str], environment: Dict[str, str]) -> None:
    command = [sys.executable, 'experiments/run.py', *options]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f'{" ".join(command)} ended with status {done.returncode}:\n{done.stderr}')


@contextmanager
def with_slurm() -> Iterator[Dict[str, str]]:
    """The environment for the commands, with SLURM_CONF where there is a cluster."""
    environment = {key: value for key, value in os.environ.items() if key != 'OMP_NUM_THREADS'}
    if 'SLURM_CONF' in environment or not (shutil.which('sbatch') and os.geteuid() == 0):
        yield environment
        return
    script = str(ROOT / 'slurm' / 'dev-cluster.sh')
    shown = subprocess.run([script, 'start'], check=True, capture_output=True, text=True).stdout
    [conf] = [line.partition('=')[2] for line in shown.splitlines() if line.startswith('export SLURM_CONF=')]
    try:
        yield {**environment, 'SLURM_CONF': conf}
    finally:
        subprocess.run([script, 'stop', '--dir', str(Path(conf).parent)], check=True, capture_output=True)
