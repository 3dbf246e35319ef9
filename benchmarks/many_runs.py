"""Many runs: planning, submitting, status, tables and report for a hundred and for a thousand of them.

Every table of the paper is planned with many seeds. The runs to submit are jobs that Slurm holds in its queue
(`slurm/dev-cluster.sh`, without accounting; smoke profile), so that none of them trains. `--wait` follows them until
another command has cancelled them. The tables and the report are made of made-up results. Times are seconds of the
processor, which other work on the machine disturbs little, and memory is that of the largest process of a command.
Slurm's daemons are not counted. Commands that must look at each run should take no longer for each if there are more.

`python -m benchmarks.many_runs 10000 stored` and `python -m benchmarks.many_runs 10000 slurm` measure the two halves
for any other number.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Dict, List, Tuple

from benchmarks.commands import seeds_for, store_runs
from benchmarks.rows import Row

ROOT = Path(__file__).resolve().parent.parent
RUN = 'experiments/run.py'
CLUSTER = ROOT / 'slurm' / 'dev-cluster.sh'


def measure(quick: bool) -> List[Row]:
    """Seconds and megabytes of each command with two numbers of runs."""
    few, many = (_commands(least) for least in ((100, 200) if quick else (100, 1000)))
    rows = []
    for name, (seconds, megabytes, count) in many.items():
        before, room, of = few[name]
        times = count / of
        case = f'{name}, {count} runs'
        rows.append(Row(case, seconds, 's', times * before, f'{times:.1f} x {of} runs', at_most=1.2))
        rows.append(Row(f'{case}: memory', megabytes, 'MB', room, f'{of} runs'))
    return rows


def _commands(least: int, parts: Tuple[str, ...] = ('stored', 'slurm')) -> Dict[str, Tuple[float, float, int]]:
    """Seconds, megabytes and the number of runs of each command, for at least so many runs."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o711)  # munged enters it as its own user
        seeds, count = seeds_for(least)
        grid = [RUN, 'all', '--seeds', *map(str, range(seeds)), '--data', f'{folder}/data']
        if 'stored' in parts:
            store_runs(Path(folder) / 'done', least)
            found |= _on_stored(folder, [*grid, '--runs', f'{folder}/done'])
        if 'slurm' in parts:
            found |= _on_slurm(Path(folder), [*grid, '--runs', f'{folder}/queued'])
    return {name: (*values, count) for name, values in found.items()}


def _on_stored(folder: str, grid: List[str]) -> Dict[str, Tuple[float, float]]:
    runs = ('--runs', f'{folder}/done')
    return {
        '--dry-run': _measured([*grid, '--dry-run']),
        '--status of finished runs': _measured([*grid, '--status']),
        'make_tables.py': _measured(['analysis/make_tables.py', *runs, '--out', f'{folder}/tables']),
        'make_report.py': _measured(['analysis/make_report.py', *runs, '--out', f'{folder}/report']),
    }


def _on_slurm(folder: Path, grid: List[str]) -> Dict[str, Tuple[float, float]]:
    options = ('--no-accounting', '--conf', 'MaxJobCount=50000', '--dir', f'{folder}/slurm')
    subprocess.run([CLUSTER, 'start', *options], check=True, capture_output=True, text=True)
    settings = folder / 'cluster.yaml'
    settings.write_text(json.dumps(dict(sbatch=dict(hold=True))))
    environment = dict(SLURM_CONF=f'{folder}/slurm/slurm.conf')
    grid = [*grid, '--profile', 'smoke']
    submit = ['--launcher', 'slurm', '--cluster', str(settings)]
    try:
        # Data are made by the first submission, which is not measured.
        first = [RUN, 'all', *grid[grid.index('--data') :]]
        for end in submit, ['--cancel']:
            _measured([*first, *end], environment)
        found = {
            '--launcher slurm': _measured([*grid, *submit], environment),
            '--status of queued runs': _measured([*grid, '--status'], environment),
        }
        waits = _start([*grid, *submit, '--wait'], environment)
        next(line for line in waits.stderr if 'nothing to submit' in line)  # it follows them from now on
        found['--cancel'] = _measured([*grid, '--cancel'], environment)
        return {**found, '--wait until they are cancelled': _end(waits, status=1)}
    finally:
        subprocess.run([CLUSTER, 'stop', '--dir', f'{folder}/slurm'], check=True, capture_output=True)


#: Runs a command and prints the seconds and megabytes of it and its children. A process of its own, because Linux
#: counts the memory of the process that starts a command as the command's.
_ACCOUNT = """
import resource, subprocess, sys
status = subprocess.call([sys.executable, *sys.argv[1:]], stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(status, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
"""


def _start(command: List[str], environment: Dict[str, str] = {}) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, '-c', _ACCOUNT, *command],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _end(process: subprocess.Popen, status: int = 0) -> Tuple[float, float]:
    """Seconds of the processor and the largest megabytes of a command, its own children included."""
    out, err = process.communicate()
    ended, seconds, megabytes = map(float, out.split())
    if ended != status:
        raise RuntimeError(f'{" ".join(process.args[3:6])} ended with {ended:g}: {err[-500:]}')
    return seconds, megabytes


def _measured(command: List[str], environment: Dict[str, str] = {}) -> Tuple[float, float]:
    return _end(_start(command, environment))


if __name__ == '__main__':
    least, *asked = sys.argv[1:]
    measured = _commands(int(least), tuple(asked) or ('stored', 'slurm'))
    for name, (seconds, megabytes, count) in measured.items():
        print(f'{name:30} {count} runs {seconds:8.1f} s {megabytes:6.0f} MB')
