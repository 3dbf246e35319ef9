"""Kill the suite at random moments, start it again, and see that nothing was lost and nothing changed.

python tests/kills.py                           # fifty kills under the local launcher
python tests/kills.py --launchers local ray slurm
python tests/kills.py --kills 5 --seed 7

Slurm is the cluster that SLURM_CONF names, or else one of slurm/dev-cluster.sh for as long as it takes.

Each kill has a folder of its own, in which a small grid is begun. At a moment drawn from the time that an undisturbed
grid takes, SIGKILL goes to the launcher, to a process that trains, or to both and all their children. The same command
is then given again and must end well, with the results of the undisturbed grid, to the last digit. Where the grid
ended before that moment, so that 0 were killed, another one is begun.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a script: the packages lie there

from benchmarks.launchers import launchers, with_slurm  # noqa: E402

#: Four trainings of two epochs.
GRID = ('table3', '--only', 't_max=0.6', '--set', 'train_cfg.max_epochs=2', '--profile', 'smoke')
#: An option that leaves one of them.
ONE = ('--only', 't_min=0.2')
VICTIMS = ('launcher', 'worker', 'both')
PATIENCE_S = 600


class Grid:
    """The grid in a runs folder of its own, on shared data, under a launcher."""

    def __init__(self, runs, data, options=()):
        self.runs = Path(runs)
        self.command = [sys.executable, str(ROOT / 'experiments' / 'run.py'), *GRID, *options]
        self.command += ['--runs', str(runs), '--data', str(data)]

    def start(self):
        return subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def folders(self):
        return sorted(path.parent for path in (self.runs / 'smoke').glob('*/config.py'))

    def results(self):
        """Content and time of each finished run's result."""
        paths = [folder / 'result.json' for folder in self.folders()]
        return {path.parent.name: (path.read_text(), path.stat().st_mtime_ns) for path in paths if path.exists()}

    def metrics(self):
        """The metrics of every epoch of every run, and the final ones."""
        found = {}
        for folder in self.folders():
            epochs = json.loads((folder / 'metrics.json').read_text())['epochs']
            result = json.loads((folder / 'result.json').read_text())['metrics']
            kept = [[entry[key] for key in ('epoch', 'metrics', 'losses', 'positives')] for entry in epochs]
            found[folder.name] = kept, result
        return found

    def workers(self):
        """The processes that hold a run's lock, as the kernel lists them."""
        inodes = {folder.joinpath('lock').stat().st_ino for folder in self.folders() if (folder / 'lock').exists()}
        lines = [line.split() for line in Path('/proc/locks').read_text().splitlines()]
        held = [line for line in lines if 'FLOCK' in line and 'WRITE' in line]
        return [int(line[-4]) for line in held if int(line[-3].rsplit(':', 1)[1]) in inodes]


def kill(grid, launcher, victim, draw):
    """SIGKILL to ``victim`` of a grid that ``launcher``, a process, has begun; how many processes that were."""
    doomed = []
    if victim in ('launcher', 'both'):
        doomed.append(launcher.pid)
    if victim == 'both':
        doomed += [child.pid for child in psutil.Process(launcher.pid).children(recursive=True)] + grid.workers()
    if victim == 'worker':
        while not (workers := grid.workers()) and launcher.poll() is None:  # none trains yet, or none at this moment
            time.sleep(0.01)
        doomed += draw.sample(workers, min(len(workers), 1))
    for pid in set(doomed):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return len(set(doomed))


def complaints(grid, kept, undisturbed, text, status):
    """What is wrong after the second start: a list of texts, empty where all is well."""
    wrong = []
    if status:
        wrong.append(f'the second start ended with status {status}')
    wrong += [f'{run} was done, and is another one now' for run in kept if grid.results().get(run) != kept[run]]
    try:
        found = grid.metrics()
    except (OSError, ValueError, KeyError) as error:
        return [*wrong, f'half-written: {error!r}']
    if found != undisturbed.found:
        differing = sorted(run for run in undisturbed.found if found.get(run) != undisturbed.found[run])
        wrong.append(f'other metrics than undisturbed: {differing or sorted(set(found) - set(undisturbed.found))}')
    if text != undisturbed.text:
        wrong.append('the table is another one')
    wrong += [f'left behind: {path.name}' for path in grid.runs.rglob('.aside.*')]
    return wrong


class Undisturbed:
    """The grid without any kill: how long it takes, what it finds and what it prints.

    Raises:
        RuntimeError: it does not even end well undisturbed.
    """

    def __init__(self, folder, data, options=()):
        if not data.exists():
            Grid(Path(folder) / 'first', data, ('--only', 't_min=0.2')).start().communicate()
        grid = Grid(Path(folder) / 'undisturbed', data, options)
        begin = time.monotonic()
        process = grid.start()
        self.text, err = process.communicate()
        self.seconds = time.monotonic() - begin
        if process.returncode:
            raise RuntimeError(f'the undisturbed grid ended with status {process.returncode}: {err}')
        self.found = grid.metrics()


def one_kill(folder, data, options, undisturbed, draw, victim):
    """One kill and what came of it.

    Returns:
        tuple: the moment in seconds, processes killed, runs done before the second start, and the complaints.
    """
    grid = Grid(folder, data, options)
    moment = draw.uniform(0, undisturbed.seconds)
    launcher = grid.start()
    begin = time.monotonic()
    try:
        launcher.communicate(timeout=moment)
        undisturbed.seconds = time.monotonic() - begin  # it ended before, so the machine has become faster
    except subprocess.TimeoutExpired:
        pass
    killed = kill(grid, launcher, victim, draw) if launcher.poll() is None else 0
    kept = grid.results()
    launcher.communicate(timeout=PATIENCE_S)  # where it lives on, it ends the rest
    kept = {**grid.results(), **kept}
    begin = time.monotonic()
    again = grid.start()
    text, _ = again.communicate(timeout=PATIENCE_S)
    if not kept:  # it had all to do, so other work on the machine has made it faster or slower
        undisturbed.seconds = time.monotonic() - begin
    return moment, killed, len(kept), complaints(grid, kept, undisturbed, text, again.returncode)


def kills(count, seed, options=(), report=print, data=None):
    """So many kills, the victims in turn; data are made in a folder that passes, unless there is one.

    Returns:
        list[str]: all complaints.
    """
    draw = random.Random(seed)
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        data = data or Path(folder) / 'data'
        undisturbed = Undisturbed(folder, data, options)
        report(f'undisturbed: {len(undisturbed.found)} trainings, {undisturbed.seconds:.1f} s')
        for number in range(1, count + 1):
            victim = VICTIMS[(number - 1) % len(VICTIMS)]
            killed = tries = 0
            while not killed and tries < 5:  # a grid may end before the moment that was drawn
                tries += 1
                runs = Path(folder) / f'runs{number}.{tries}'
                moment, killed, done, found = one_kill(runs, data, options, undisturbed, draw, victim)
                end = '; '.join(found) or 'all as undisturbed'
                report(f'{number:3}  {moment:5.1f} s  {victim:8}  {killed:2} killed  {done} done before  {end}')
                wrong += found
            if not killed:
                wrong.append(f'{number}: no process was killed in {tries} grids')
                report(wrong[-1])
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('--kills', type=int, default=50)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--launchers', nargs='+', choices=('local', 'ray', 'slurm'), default=['local'])
    args = parser.parse_args()
    wrong = []
    with contextlib.ExitStack() as stack:
        if 'slurm' in args.launchers:
            os.environ.update(stack.enter_context(with_slurm()))
        options = launchers(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        for name in args.launchers:
            if name not in options:
                parser.error(f'{name} is not installed here; docs/clusters.md says what it takes')
            print(f'launcher {name}', flush=True)
            found = kills(args.kills, args.seed, options[name], lambda line: print(line, flush=True))
            print(f'{args.kills} kills, {len(found)} complaints\n', flush=True)
            wrong += found
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())
