"""The cost of runs, per table and in total, as ``run.py --dry-run`` prints it."""

import argparse
import heapq
import sys
from typing import Any, Dict, Iterable, List, Optional

from rich.filesize import decimal

from experiments.commands.estimate import disk, rates
from experiments.commands.estimate.cost_key import cost_key
from experiments.commands.estimate.rates import EpochCost
from experiments.launchers.protocol import Capacity
from experiments.spec.plan import Plan
from experiments.store.runs import DONE, RunFolder, Status


def print_estimate(
    plans: List[Plan],
    statuses: Dict[str, Status],
    folders: Dict[str, RunFolder],
    labels: Dict[str, str],
    capacity: Capacity,
    args: argparse.Namespace,
) -> None:
    """Print a line for each table and one for all: runs to do, hours, wall time and disk.

    Args:
        plans (list[Plan]): the tables.
        statuses, folders, labels (dict): status, folder and name of each run, by id.
        capacity (Capacity): the resources of the runs.
        args (Namespace): the command line.
    """
    configs = {run_id: run.config for plan in plans for run_id, run in plan.runs().items()}
    todo = {run_id: config for run_id, config in configs.items() if statuses[run_id].state != DONE}
    if not todo:
        return
    epochs = _epochs(configs, todo, folders, labels, capacity, args)
    if not epochs and (args.probe or args.images_per_second):
        print('how long it takes: not known, as annotations are missing or damaged, or a wrapper of datasets has them')
        return
    if not epochs:
        print('how long it takes: add --probe (about two minutes), or --images-per-second N if you know it')
        return
    seconds = {run_id: _left(config, statuses[run_id], epochs.get(cost_key(config))) for run_id, config in todo.items()}
    usages = (
        disk.disk_usages(todo, args.data)
        if args.probe or args.images_per_second
        else _stored_usages(configs, todo, folders)
    )
    place = _Place(capacity)
    print(f'{"estimate":10}{"to do":>6}{place.unit:>12}{"wall time":>12}{"disk":>10}')
    for plan in plans:
        print(place.line(plan.name, [run_id for run_id in plan.runs() if run_id in todo], seconds, usages))
    if len(plans) > 1:
        print(place.line('all', list(todo), seconds, usages))
    _print_sources(todo, epochs, place)


def _epochs(
    configs: Dict[str, dict],
    todo: Dict[str, dict],
    folders: Dict[str, RunFolder],
    labels: Dict[str, str],
    capacity: Capacity,
    args: argparse.Namespace,
) -> Dict[str, EpochCost]:
    known = rates.stored(configs, folders)
    every = {cost_key(config): config for config in configs.values()}
    lacking = {kind: every[kind] for kind in map(cost_key, todo.values()) if kind not in known}
    if args.images_per_second and lacking:
        known |= rates.told(lacking, args.images_per_second, args.data)
    elif args.probe and lacking:
        names = {cost_key(config): labels[run_id] for run_id, config in reversed(todo.items())}
        known |= rates.probed(lacking, args.probe, capacity, _say, names, args.data)
    return rates.complete(lacking, known, every, args.data)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _left(config: dict, status: Status, epoch: Optional[EpochCost]) -> Optional[float]:
    """Seconds until a run is done; None if nothing is known about its kind."""
    done = status.epoch if status.epochs == 0 else status.epoch - 1  # a run in training gives its current epoch
    return None if epoch is None else epoch.seconds * max(config['train_cfg']['max_epochs'] - max(done, 0), 0)


def _stored_usages(
    configs: Dict[str, dict], todo: Dict[str, dict], folders: Dict[str, RunFolder]
) -> Dict[str, disk.DiskUsage]:
    """For each run the size of the largest finished run's folder, used because models cannot be built without torch."""
    done = [run_id for run_id in configs if run_id not in todo]
    largest = max(sum(path.stat().st_size for path in folders[run_id].path.glob('*.*')) for run_id in done)
    return {run_id: disk.DiskUsage(largest, 6 * largest) for run_id in todo}


class _Place:
    """The resources for the estimate: runs at once, and cores or GPUs of each."""

    def __init__(self, capacity: Capacity) -> None:
        self.jobs = capacity.runs
        self.unit = 'GPU-hours' if capacity.on_gpu else 'core-hours'
        self.each = capacity.processes * (1 if capacity.on_gpu else capacity.threads)

    def line(self, name: str, run_ids: List[str], seconds: Dict[str, Optional[float]], usages: Dict[str, Any]) -> str:
        """One line of the estimate."""
        known = [left for run_id in run_ids if (left := seconds[run_id]) is not None]
        hours = f'{sum(known) * self.each / 3600:.1f}'
        bytes_ = disk.needed((usages[run_id] for run_id in run_ids), self.jobs)
        more = f'  without {len(run_ids) - len(known)} of unknown data' if len(known) < len(run_ids) else ''
        return f'{name:10}{len(run_ids):6}{hours:>12}{duration(self.wall(known)):>12}{decimal(bytes_):>10}{more}'

    def wall(self, seconds: Iterable[float]) -> float:
        """Seconds until all are done, if each starts in order as soon as a slot is free."""
        ends = [0.0] * max(self.jobs, 1)
        for each in seconds:
            heapq.heapreplace(ends, ends[0] + each)
        return max(ends)


def duration(seconds: float) -> str:
    """A duration in days and hours, hours and minutes, or minutes and seconds."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f'{days} d {hours} h'
    return f'{hours} h {minutes} min' if hours else f'{minutes} min {seconds} s'


def _print_sources(todo: Dict[str, dict], epochs: Dict[str, EpochCost], place: _Place) -> None:
    found: Dict[str, int] = {}
    for config in todo.values():
        epoch = epochs.get(cost_key(config))
        if epoch is not None:
            found[epoch.source] = found.get(epoch.source, 0) + 1
    words = ', '.join(f'{count} run(s) from {source}' for source, count in found.items())
    print(f'{place.jobs} run(s) at once; {words}. How far off such estimates were: docs/reproducing.md')
