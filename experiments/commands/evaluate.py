"""``run.py evaluate FILE``: the metrics of a weights file, computed as for a cell of a table."""

import argparse
import sys

from experiments.commands.view import open_view
from experiments.spec import table_file
from experiments.spec.plan import find_run


def evaluate(args: argparse.Namespace) -> int:
    """Evaluate the file, and print a line without NMS and a line with NMS.

    Returns:
        int: 0.

    Raises:
        UserError: the cell does not exist; or see :func:`experiments.training.evaluate.evaluate`.
    """
    table = table_file.load_table(args.table)
    run, cells = find_run(table, args.cell, args.profile, dict(args.set))
    same = f' (of the same model: {"; ".join(cell.label for cell in cells[1:])})' if cells[1:] else ''
    print(f'{table.name} {cells[0].label}, profile {args.profile}{same}', file=sys.stderr, flush=True)
    from experiments.training import evaluate as evaluation

    with open_view({}) as view:
        metrics = evaluation.evaluate(
            run.config,
            args.checkpoint,
            args.data,
            view.progress,
            view.say,
            image_groups=args.image_groups,
            breakdown=args.breakdown,
            classwise=args.classwise,
            errors=args.errors,
        )
    print(evaluation.format_metrics(metrics))
    for asked, part in ((args.classwise, 'classes'), (args.errors, 'errors')):
        if asked:
            print(evaluation.format_breakdown(part, metrics))
    return 0
