"""Train what a table of the paper still lacks, then print the table.

python experiments/run.py table3
python experiments/run.py table3 --seeds 0 1 2 --jobs 2
python experiments/run.py table3 --only t_max=0.6 --set optim_wrapper.optimizer.lr=0.001
python experiments/run.py table3 --dry-run --probe
python experiments/run.py table3 --subset 0.1
python experiments/run.py --list | --status
python experiments/run.py table3 --launcher slurm --cluster slurm/cpu.yaml --wait
python experiments/run.py table3 --cancel
python experiments/run.py table3 --launcher ray --ray-address auto --gpus-per-run 0.5
python experiments/run.py search table3 --trials 20 --space t_max=0.3:0.8
python experiments/run.py doctor --profile paper
python experiments/run.py clean --yes
python experiments/run.py table5 --profile paper --dump-configs configs
python experiments/run.py --evaluate CHECKPOINT --table table5 --cell Ours-3convs --profile paper
"""

import argparse
import functools
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

ROOT = Path(__file__).resolve().parent.parent
if __package__ in (None, ''):
    sys.path[0] = str(ROOT)  # run as a script: the packages lie beside this folder
warnings.filterwarnings('ignore', message='.*pkg_resources is deprecated')

from experiments.store.errors import UserError  # noqa: E402


def main(argv: Optional[List[str]] = None) -> int:
    """The command line.

    Returns:
        int: 0 when all that was asked for is there, 1 when a run failed, 2 for wrong arguments or files, 130 when
        stopped.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        from experiments.commands.parser import parse

        return _command(parse(argv, __doc__))
    except UserError as error:
        print(f'run.py: {error}', file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read the output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print('run.py: stopped; finished epochs are kept, and the same command goes on from there', file=sys.stderr)
        return 130


def _interrupt(*_) -> None:
    raise KeyboardInterrupt


def _command(args: argparse.Namespace) -> int:
    from experiments.spec import table_file

    if args.list:
        return _list()
    if args.evaluate:
        return _evaluate(args)
    if args.clean and not args.tables:
        from experiments.commands.clean import clean, run_folders

        return clean(run_folders(args.runs / args.profile), args)
    if args.status and not args.tables:
        args.tables = ['all']
    names = table_file.table_names() if args.tables == ['all'] else list(dict.fromkeys(args.tables))
    tables = [table_file.load_table(name) for name in names]

    from experiments.spec.plan import make_plan

    overrides = _overrides(args.set)
    only = [_pair(text, '--only') for text in args.only]
    plans = [make_plan(table, table_file.select(table, only), args.profile, args.seeds, overrides) for table in tables]
    if args.dry_run or args.status:
        return _overview(plans, args)
    if args.cancel:
        from experiments.commands import slurm

        return slurm.cancel(args.runs / args.profile, _folders(plans, args))
    if args.dump_configs:
        return _dump(plans, args)
    if args.clean:
        from experiments.commands.clean import clean

        return clean(_folders(plans, args), args)
    if args.doctor:
        from experiments.commands.doctor.command import doctor

        return doctor(plans, args)
    if args.search:
        from experiments.commands.search.command import search

        return search(plans[0], args)
    return _run(plans, args)


def _list() -> int:
    from experiments.spec import table_file

    for name in table_file.table_names():
        table = table_file.load_table(name)
        print(f'{name}  {len(table.cells):3} cells  {table.title} ({table.source})')
    print('profiles:', ', '.join(sorted(path.stem for path in Path(__file__).with_name('profiles').glob('*.py'))))
    return 0


def _dump(plans: list, args: argparse.Namespace) -> int:
    from experiments.spec.dump import dump_configs

    for path, cells in dump_configs(plans, args.dump_configs, args.data).items():
        print(f'{path}: {"; ".join(cells)}')
    return 0


def _evaluate(args: argparse.Namespace) -> int:
    from experiments.commands.view import open_view
    from experiments.spec import table_file
    from experiments.spec.plan import find_run

    table = table_file.load_table(args.table or args.tables[0])
    run, cells = find_run(table, args.cell, args.profile, _overrides(args.set))
    same = f' (of the same model: {"; ".join(cell.label for cell in cells[1:])})' if cells[1:] else ''
    print(f'{table.name} {cells[0].label}, profile {args.profile}{same}', file=sys.stderr, flush=True)
    from experiments.training.evaluate import evaluate, format_metrics

    with open_view({}) as view:
        metrics = evaluate(run.config, args.evaluate, args.data, view.progress, view.say, args.matches)
    print(format_metrics(metrics))
    return 0


def _pair(text: str, option: str) -> Tuple[str, str]:
    key, equals, value = text.partition('=')
    if not (key and equals and value):
        raise UserError(f'{option} {text}: write it as KEY=VALUE')
    return key, value


def _overrides(texts: List[str]) -> Dict[str, Any]:
    import yaml

    overrides = {}
    for text in texts:
        key, value = _pair(text, '--set')
        try:
            overrides[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UserError(f'--set {text}: the value is not valid YAML') from error
    return overrides


def _folders(plans: list, args: argparse.Namespace) -> dict:
    from experiments.store.runs import RunFolder

    return {run_id: RunFolder(args.runs / args.profile / run_id) for plan in plans for run_id in plan.runs()}


def _labels(plans: list, seeds: List[int]) -> Dict[str, str]:
    """What each run is called: the first cell that it fills."""
    labels: Dict[str, str] = {}
    for plan in plans:
        for planned in plan.cells:
            for seed, run in planned.runs.items():
                suffix = f' seed={seed}' if len(seeds) > 1 else ''
                labels.setdefault(run.id, f'{plan.table.name} {planned.cell.label}{suffix}')
    return labels


def _overview(plans: list, args: argparse.Namespace) -> int:
    from experiments.commands.status import print_left, print_overview, states
    from experiments.store.runs import DONE

    folders = _folders(plans, args)
    statuses = states(args.runs / args.profile, folders)
    labels = _labels(plans, args.seeds)
    print_overview(statuses, folders, labels)
    print_left(statuses, sum(len(plan.cells) for plan in plans))
    if args.dry_run:
        from experiments.commands.estimate.report import print_estimate

        launcher = _local(args) if args.launcher == 'ray' else _launcher(args)  # a cluster of Ray is not asked
        print_estimate(plans, statuses, folders, labels, launcher, args)
        if args.launcher == 'slurm':
            jobs = sum(status.state != DONE for status in statuses.values())
            print(launcher.script(jobs) if jobs else 'nothing to submit')
    return 0


def _run(plans: list, args: argparse.Namespace) -> int:
    from experiments.spec.plan import save_plan
    from experiments.store.runs import DONE

    launcher = _launcher(args)
    folders = _folders(plans, args)
    todo = [run for plan in plans for run in plan.runs().values() if folders[run.id].status().state != DONE]
    todo = list({run.id: run for run in todo}.values())
    if todo and args.track:
        from experiments.training import tracking

        tracking.prepare(args.track, args.runs / args.profile)
    refused = _create(todo, folders, args)
    todo = [run for run in todo if run.id not in refused]
    for plan in plans:
        save_plan(plan, args.runs)
    states = _train(launcher, todo, folders, _labels(plans, args.seeds), args) if todo else {}
    if todo and args.launcher == 'slurm' and not args.wait:
        return _report(refused)
    _measure_speeds(plans, folders, args)
    _print_tables(plans, args)
    return _report({**refused, **{run_id: status for run_id, status in states.items() if status.state != DONE}})


def _create(runs: list, folders: dict, args: argparse.Namespace) -> dict:
    """Make the folders of runs; those that cannot be written fail alone, and their states are returned."""
    from experiments.store.runs import FAILED, Status

    refused = {}
    for run in runs:
        try:
            folders[run.id].create(run)
            folders[run.id].set_tracking(args.track)
            folders[run.id].set_parts(args.accumulate)
        except UserError as error:
            refused[run.id] = Status(FAILED, message=str(error))
    return refused


def _launcher(args: argparse.Namespace) -> Any:
    if args.launcher == 'slurm':
        from experiments.commands import slurm

        return slurm.open_launcher(args.cluster, args.runs / args.profile)
    if args.launcher == 'ray':
        from experiments.commands.ray import open_launcher

        return open_launcher(args, args.runs / args.profile)
    return _local(args)


def _local(args: argparse.Namespace) -> Any:
    from experiments.launchers.local import LocalLauncher

    return LocalLauncher(args.jobs, args.processes_per_run or 1)


def _train(launcher: Any, todo: list, folders: dict, labels: Dict[str, str], args: argparse.Namespace) -> dict:
    from experiments.commands.view import open_view
    from experiments.data.prepare import prepare_runs
    from experiments.launchers.local import LocalLauncher

    # Whatever the launcher, data are made on this machine.
    local = launcher if args.launcher == 'local' else LocalLauncher(args.jobs)
    with open_view(labels) as view:
        launcher.start()
        for line in _batch_notes([run.config for run in todo], launcher, args):
            view.say(line)
        prepare_runs(todo, args.data, view.progress, local.in_process)
        if args.launcher != 'slurm':
            return launcher.run(todo, folders, args.data, view.show)
        from experiments.commands import slurm

        return slurm.submit(launcher, todo, folders, args.data, view.show if args.wait else None)


def _batch_notes(configs: List[dict], launcher: Any, args: argparse.Namespace) -> List[str]:
    """What to know of the runs' batches where they do not divide over the processes of a run; each line once."""
    from experiments.training.batch import split_batch

    processes = launcher.settings.tasks if args.launcher == 'slurm' else args.processes_per_run or 1
    return list(dict.fromkeys(note for config in configs if (note := split_batch(config, processes).note())))


def _measure_speeds(plans: list, folders: dict, args: argparse.Namespace) -> None:
    from experiments.training.speed import lacking, measure

    for plan in plans:
        runs = lacking(plan, folders)
        if runs:
            from experiments.commands.view import open_view
            from experiments.launchers.local import LocalLauncher
            from experiments.spec.paths import data_paths

            paths = {run_id: str(folders[run_id].path) for run_id in runs}
            where = {run_id: data_paths(run.config, args.data) for run_id, run in runs.items()}
            with open_view({}) as view:
                report = functools.partial(view.progress, f'speeds of {plan.name}')
                LocalLauncher(1).in_process(measure, paths, where, report)


def _print_tables(plans: list, args: argparse.Namespace) -> None:
    from analysis import results
    from analysis.tables import render

    for plan in plans:
        try:
            stored = results.load_plan(args.runs, args.profile, plan.name)
        except UserError as error:
            raise UserError(str(error)) from error
        found = results.load_results(args.runs, args.profile, stored)
        for warning in found.warnings:
            print(f'run.py: warning: {warning}', file=sys.stderr)
        print(render.render(stored, found, 'markdown'))


def _report(lacking: dict) -> int:
    """Say why runs are not done, each reason once."""
    reasons: Dict[str, List[str]] = {}
    for run_id, status in lacking.items():
        reasons.setdefault((status.message or status.state).replace(run_id, '<run>'), []).append(run_id)
    for reason, run_ids in reasons.items():
        print(f'run.py: {len(run_ids)} run(s) failed ({", ".join(run_ids)}): {reason}', file=sys.stderr)
    return 1 if lacking else 0


if __name__ == '__main__':
    sys.exit(main())
