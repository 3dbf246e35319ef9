"""The checks of ``run.py doctor``, in order."""

import argparse
from typing import Dict, Iterator, List, Optional

from experiments.commands.doctor import data, machine, software
from experiments.commands.doctor.checks import FAILS, NOTE, OK, WARNING, Check, tell
from experiments.commands.estimate.memory import memory_needed
from experiments.commands.plans import read_plans
from experiments.launchers.protocol import Capacity
from experiments.spec.plan import Plan
from experiments.store.errors import UserError
from experiments.store.runs import DONE, RunFolder


def doctor(args: argparse.Namespace) -> int:
    """Print all checks, then whether a run would succeed.

    Returns:
        int: 0, or 1 if a run would fail.
    """
    args.tables = args.tables or ['all']
    found = tell(_findings(read_plans(args), args))
    fails, warnings = (sum(finding.state == state for finding in found) for state in (FAILS, WARNING))
    print(f'{len(found)} checks: {fails} that would make a run fail, {warnings} warning(s)')
    return 1 if fails else 0


def _findings(plans: List[Plan], args: argparse.Namespace) -> Iterator[Check]:
    runs = {run_id: run.config for plan in plans for run_id, run in plan.runs().items()}
    broken = False
    for finding in software.software():
        broken |= finding.state == FAILS
        yield finding
    yield from machine.launchers(args)
    yield from data.weights(runs.values())
    if broken:
        return  # the other checks need torch and MMDetection
    yield from data.data(list(runs.values()), args.data)
    made = all(config.get('generate') for config in runs.values())
    yield from machine.compute(not made, args.processes_per_run or 1, args.launcher != 'local')
    todo = _todo(runs, args)
    capacity = _capacity(args, runs)
    if capacity is not None:
        yield from _room(capacity)
    at_once = len(todo) if capacity is None else min(capacity.runs, len(todo))
    yield from machine.folders(args.runs / args.profile, args.data, todo, at_once)


def _todo(runs: Dict[str, dict], args: argparse.Namespace) -> Dict[str, dict]:
    folders = {run_id: RunFolder(args.runs / args.profile / run_id) for run_id in runs}
    return {run_id: config for run_id, config in runs.items() if folders[run_id].status().state != DONE}


def _capacity(args: argparse.Namespace, runs: Dict[str, dict]) -> Optional[Capacity]:
    from experiments.launchers import open_launcher

    folders = {run_id: RunFolder(args.runs / args.profile / run_id) for run_id in runs}
    try:
        return open_launcher(args, memory_needed(runs, folders)).capacity
    except UserError:  # already printed
        return None


def _room(capacity: Capacity) -> Iterator[Check]:
    text = f'{capacity.runs}, of {capacity.processes} process(es) with {capacity.threads} core(s) each'
    yield Check(OK, 'runs at once', text)
    if capacity.note:
        yield Check(NOTE, 'memory', capacity.note)
