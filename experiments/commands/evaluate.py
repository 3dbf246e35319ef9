"""``run.py evaluate FILE``: the metrics of a weights file, computed as for a cell of a table."""

import argparse
import contextlib
import sys
from pathlib import Path

from experiments.commands.view import open_view
from experiments.spec import table_file
from experiments.spec.plan import find_run
from experiments.store.errors import UserError
from experiments.store.files import can_be_written, make_folder
from experiments.store.runs import write_breakdown, write_image_groups


def evaluate(args: argparse.Namespace) -> int:
    """Evaluate the file, print a line without NMS and a line with NMS, and write the files that were asked for.

    Returns:
        int: 0.

    Raises:
        UserError: the cell does not exist, or a file cannot be written; or see
            :func:`experiments.training.evaluate.evaluate`.
    """
    table = table_file.load_table(args.table)
    run, cells = find_run(table, args.cell, args.profile, dict(args.set))
    same = f' (of the same model: {"; ".join(cell.label for cell in cells[1:])})' if cells[1:] else ''
    taken = {args.checkpoint.resolve(): 'the checkpoint'}
    for option, path in (('--image-groups', args.image_groups), ('--breakdown', args.breakdown)):
        if path is not None:
            if path.resolve() in taken:
                raise UserError(f'{option} {path} would replace {taken[path.resolve()]}: name another file')
            taken[path.resolve()] = option
            _make_room(option, path)
    print(f'{table.name} {cells[0].label}, profile {args.profile}{same}', file=sys.stderr, flush=True)
    from experiments.training import evaluate as evaluation

    with open_view({}) as view:
        metrics, metric = evaluation.evaluate(
            run.config,
            args.checkpoint,
            args.data,
            view.progress,
            view.say,
            image_groups=args.image_groups is not None,
            breakdown=args.breakdown is not None,
            classwise=args.classwise,
            errors=args.errors,
        )
    print(evaluation.format_metrics(metrics))
    for asked, part in ((args.classwise, 'classes'), (args.errors, 'errors')):
        if asked:
            print(evaluation.format_breakdown(part, metrics))
    sys.stdout.flush()  # they stay, whatever becomes of the files
    if args.image_groups is not None:
        write_image_groups(args.image_groups, metric.left_out.record)
    if args.breakdown is not None:
        write_breakdown(args.breakdown, metric.breakdown)
    return 0


def _make_room(option: str, path: Path) -> None:
    """Make the folder of a file that will be written. Raises a UserError if the file cannot be."""
    with contextlib.suppress(UserError):
        make_folder(path.parent)
    if path.is_dir() or not can_be_written(path.parent):
        raise UserError(f'{option} {path} cannot be written: name a file in a folder where you can write')
