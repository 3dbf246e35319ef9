"""``run.py search TABLE``: tries a table's settings with ASHA, and reports the best."""

import argparse
import sys
from functools import partial
from typing import Any, List

from experiments.commands.estimate.memory import memory_needed
from experiments.commands.parser import METRIC
from experiments.commands.plans import configs_of, folders_of, read_plans
from experiments.commands.search.report import READINGS, found, rank, render
from experiments.commands.search.space import Setting, read_ranges, settings
from experiments.commands.train import warn_of_changes
from experiments.commands.view import open_view
from experiments.data.annotations import remember
from experiments.data.prepare import prepare_runs
from experiments.launchers.local import in_process
from experiments.launchers.ray import trial
from experiments.launchers.ray.launcher import open_ray
from experiments.spec.plan import Plan, save_profile
from experiments.spec.schema import lower_is_better
from experiments.store.errors import UserError
from experiments.store.files import check_locks
from experiments.store.runs import DONE, RunFolder


def search(args: argparse.Namespace) -> int:
    """Try the settings, and print the report and the number of failures.

    Raises:
        UserError: an option does not fit the table, or Ray is not installed.
    """
    [plan] = read_plans(args)
    runs = args.runs / args.profile
    configs = configs_of([plan])
    launcher = open_ray(args, runs, memory_needed(configs, folders_of([plan], args)))
    metric = _metric(plan, args.metric)
    mode = 'min' if lower_is_better([metric]) else 'max'
    ranges = read_ranges(plan.table.axes, args.space)
    tried = settings(plan, ranges, args.trials or 0, args.seeds[0], runs)
    scheduler = _scheduler(tried, args, metric, mode)
    folders = {setting.run.id: RunFolder(runs / setting.run.id) for setting in tried}
    if warning := check_locks(runs):
        print(f'run.py: warning: {warning}', file=sys.stderr)
    warn_of_changes({setting.run.id: setting.run for setting in tried}, folders, args.data)
    save_profile(args.profile, args.runs)
    with open_view({}) as view:
        launcher.start()
        stored = {run_id for run_id, folder in folders.items() if folder.status().state == DONE}
        tried.sort(key=lambda setting: setting.run.id not in stored)  # stored results guide the scheduler
        for setting in tried:
            folders[setting.run.id].create(setting.run)
            folders[setting.run.id].set_parts(args.accumulate)
            remember(setting.run, folders[setting.run.id], args.data)
            view.labels[setting.run.id] = setting.label
        prepare_runs([setting.run for setting in tried], args.data, view.progress, in_process)
        shown = {setting.run.id: setting.at for setting in tried}
        ends = launcher.search([setting.run for setting in tried], shown, folders, args.data, view.show, scheduler)
    every = [
        found(setting, ends[setting.run.id], folders[setting.run.id], setting.run.id in stored) for setting in tried
    ]
    print(render(f'{plan.name}, profile {plan.profile}', rank(every, metric, mode), metric))
    return _report_failures(every, folders)


def _metric(plan: Plan, asked: Any) -> str:
    known = [key for planned in plan.cells for keys in planned.cell.keys.values() for key in keys]
    known = sorted({*known, *READINGS} - {key for key in known if key.startswith('speed/')})
    if asked is not None and asked not in known:
        raise UserError(f'--metric {asked}: {plan.table.name} has {", ".join(known)}')
    return asked or METRIC


def _scheduler(tried: List[Setting], args: argparse.Namespace, metric: str, mode: str) -> Any:
    """A factory of the ASHA scheduler."""
    from ray.tune.schedulers import ASHAScheduler

    epochs = max(setting.run.config['train_cfg']['max_epochs'] for setting in tried)
    grace = args.grace or max(epochs // 4, 1)
    if grace > epochs:
        raise UserError(f'--grace {grace}: the training has {epochs} epochs')
    return partial(
        ASHAScheduler,
        time_attr='epoch',
        metric=metric,
        mode=mode,
        max_t=epochs,
        grace_period=grace,
        reduction_factor=args.reduction,
        stop_last_trials=False,
    )


def _report_failures(every: list, folders: dict) -> int:
    failed = [entry for entry in every if entry.end.state == trial.FAILED]
    for entry in failed:
        run_id = entry.setting.run.id
        message = folders[run_id].status().message or entry.end.message
        print(f'run.py: {entry.setting.label} failed ({run_id}): {message}', file=sys.stderr)
    return 1 if failed else 0
