"""``run.py TABLE``: trains the missing runs of tables. ``--cancel`` cancels their Slurm jobs."""

import argparse
import functools
import sys
from pathlib import Path
from typing import Dict, List, Optional, Tuple

from experiments.commands.estimate.memory import memory_needed
from experiments.commands.plans import configs_of, folders_of, labels_of, read_plans
from experiments.commands.view import open_view
from experiments.data.annotations import changed_since, differing, remember
from experiments.data.prepare import prepare_runs
from experiments.launchers import open_launcher
from experiments.launchers.local import in_process
from experiments.launchers.protocol import Launcher
from experiments.spec.config import Run
from experiments.spec.paths import data_paths
from experiments.spec.plan import Plan, save_plan, save_profile
from experiments.store.errors import UserError
from experiments.store.files import check_locks, locked, read_json
from experiments.store.runs import DONE, FAILED, RunFolder, Status
from experiments.training.speed import lacking, measure


def train(plans: List[Plan], args: argparse.Namespace) -> Tuple[Dict[str, Status], bool]:
    """Train the runs that are not done, and measure the speeds of tables that show them.

    Returns:
        tuple[dict[str, Status], bool]: the failed runs by id, and whether runs have ended. Runs that are queued on a
        cluster go on without this command.

    Raises:
        UserError: data are missing or broken, a folder cannot be written, or the launcher cannot start.
    """
    folders = folders_of(plans, args)
    if warning := check_locks(args.runs / args.profile):
        print(f'run.py: warning: {warning}', file=sys.stderr)
    launcher = open_launcher(args, memory_needed(configs_of(plans), folders))
    todo = {run.id: run for plan in plans for run in plan.runs().values() if folders[run.id].status().state != DONE}
    if todo and args.track:
        from experiments.training import tracking

        tracking.prepare(args.track, args.runs / args.profile)
    warn_of_changes({run_id: run for plan in plans for run_id, run in plan.runs().items()}, folders, args.data)
    failed = _create(list(todo.values()), folders, args)
    for plan in plans:
        path = save_plan(plan, args.runs, lambda line: print(f'run.py: {line}', file=sys.stderr))
        _warn_of_mixtures(path, folders)
    save_profile(args.profile, args.runs)
    runs = [run for run_id, run in todo.items() if run_id not in failed]
    if todo:
        states = _launch(launcher, runs, folders, labels_of(plans, args), args)
        if states is None:
            return failed, False
        failed |= {run_id: status for run_id, status in states.items() if status.state != DONE}
    _measure_speeds(plans, folders, args)
    return failed, True


def _create(runs: List[Run], folders: Dict[str, RunFolder], args: argparse.Namespace) -> Dict[str, Status]:
    """Create the folders of runs. Returns the status of each run whose folder cannot be written; the others go on."""
    failed = {}
    for run in runs:
        try:
            folders[run.id].create(run)
            folders[run.id].set_tracking(args.track)
            folders[run.id].set_parts(args.accumulate)
            remember(run, folders[run.id], args.data)
        except UserError as error:
            failed[run.id] = Status(FAILED, message=str(error))
    return failed


def warn_of_changes(runs: Dict[str, Run], folders: Dict[str, RunFolder], data: Path) -> None:
    """Say which runs have a result, or epochs, of annotation files that are others now."""
    files: Dict[str, List[str]] = {}
    for run_id, run in runs.items():
        for name in changed_since(run, folders[run_id], data):
            files.setdefault(name, []).append(run_id)
    for name, run_ids in files.items():
        ids = sorted(run_ids)
        done = sum(folders[run_id].status().state == DONE for run_id in ids)
        print(
            f'run.py: warning: {name} differs from the file that {len(ids)} run(s) began on, {done} of them finished: '
            f'their results are of that file. Delete their folders to train anew: {" ".join(ids)}',
            file=sys.stderr,
        )


def _warn_of_mixtures(path: Path, folders: Dict[str, RunFolder]) -> None:
    """Say where the trainings that a table shows, those of earlier commands too, are of annotations that differ."""
    cells = [sorted(cell['runs'].values(), key=folders.__contains__) for cell in read_json(path)['cells']]
    for name in differing([[RunFolder(path.parents[1] / run_id) for run_id in cell] for cell in cells]):
        print(
            f'run.py: warning: {path.stem}: its trainings are of several contents of {name}, so its means and spreads '
            'mix them',
            file=sys.stderr,
        )


def _launch(
    launcher: Launcher,
    runs: List[Run],
    folders: Dict[str, RunFolder],
    labels: Dict[str, str],
    args: argparse.Namespace,
) -> Optional[Dict[str, Status]]:
    """Prepare the data on this machine, whatever the launcher, then let the launcher train the runs."""
    with open_view(labels) as view:
        launcher.start()
        notes = [launcher.capacity.note] if launcher.capacity.note else []
        for line in [*notes, *_batch_notes(runs, launcher.capacity.processes)]:
            view.say(line)
        prepare_runs(runs, args.data, view.progress, in_process, view.say)
        return launcher.run(runs, folders, args.data, view.show)


def _batch_notes(runs: List[Run], processes: int) -> List[str]:
    """A line for each batch that does not divide evenly over the processes of a run; each line once."""
    from experiments.training.batch import split_batch

    return list(dict.fromkeys(note for run in runs if (note := split_batch(run.config, processes).note())))


def _measure_speeds(plans: List[Plan], folders: Dict[str, RunFolder], args: argparse.Namespace) -> None:
    for plan in plans:
        if not lacking(plan, folders):
            continue
        with locked(args.runs / args.profile / 'speed.lock'):  # two commands would slow each other
            runs = lacking(plan, folders)  # another command may have timed them meanwhile
            paths = {run_id: str(folders[run_id].path) for run_id in runs}
            where = {run_id: data_paths(run.config, args.data) for run_id, run in runs.items()}
            if runs:
                with open_view({}) as view:
                    in_process(measure, paths, where, functools.partial(view.progress, f'speeds of {plan.name}'))


def report_failures(failed: Dict[str, Status]) -> int:
    """Print why runs failed, each reason once. Returns 1 if there are any."""
    reasons: Dict[str, List[str]] = {}
    for run_id, status in failed.items():
        reasons.setdefault((status.message or status.state).replace(run_id, '<run>'), []).append(run_id)
    for reason, run_ids in reasons.items():
        print(f'run.py: {len(run_ids)} run(s) failed ({", ".join(run_ids)}): {reason}', file=sys.stderr)
    return 1 if failed else 0


def cancel(args: argparse.Namespace) -> int:
    """Cancel the Slurm jobs of the tables' runs. Returns 0, even if there are none.

    Raises:
        UserError: Slurm does not answer.
    """
    from experiments.launchers.slurm.launcher import SlurmLauncher

    jobs = SlurmLauncher(args.runs / args.profile).cancel(folders_of(read_plans(args), args))
    said = f'cancelled {len(jobs)} job(s): {" ".join(jobs)}' if jobs else 'no job of these runs is queued or running'
    print(f'run.py: {said}', file=sys.stderr)
    return 0
