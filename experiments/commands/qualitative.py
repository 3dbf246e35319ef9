"""``run.py capture``: stores the qualitative results for Figs. 6 to 9, which ``analysis/make_figures.py`` draws."""

import argparse
import os
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, List

from experiments.commands.view import open_view
from experiments.spec.config import own_file
from experiments.spec.figure import DetectionsFigure, figure_names, load_figure
from experiments.spec.schema import profile_words
from experiments.store.errors import UserError
from experiments.store.files import RUNS
from experiments.store.runs import RunFolder


def capture(args: argparse.Namespace) -> int:
    """Store the qualitative results of the figures, or list the figures.

    Returns:
        int: 0, or 1 if a figure lacks its detectors.

    Raises:
        UserError: a figure does not exist, or ``--weights`` is not LABEL=FILE with a label of the figure.
    """
    if args.list:
        return _list()
    os.environ.setdefault('OMP_NUM_THREADS', '1')  # as in training, so that sums round in the same way
    figures = [load_figure(name) for name in dict.fromkeys(args.figures or figure_names())]
    weights = _weights(args.weights, figures)
    lacking = 0
    for figure in figures:
        try:
            _capture_one(figure, weights, args)
        except UserError as error:
            print(f'run.py: {figure.name}: {error}', file=sys.stderr)
            lacking += 1
    return 1 if lacking else 0


def _list() -> int:
    for name in figure_names():
        figure = load_figure(name)
        print(f'{name}  {figure.title} ({figure.source}): {", ".join(figure.labels)}')
    return 0


def _weights(texts: List[str], figures: list) -> Dict[str, Path]:
    weights = {}
    for text in texts:
        label, equals, path = text.partition('=')
        if not (equals and path) or label not in figures[0].labels:
            raise UserError(f'--weights {text}: write LABEL=FILE, LABEL one of {", ".join(figures[0].labels)}')
        weights[label] = Path(path)
    return weights


def _capture_one(figure: Any, weights: Dict[str, Path], args: argparse.Namespace) -> None:
    """Store the qualitative results of one figure in ``<runs>/<profile>/captures/<name>.npz``."""
    find = _of_panels if isinstance(figure, DetectionsFigure) else _of_stages
    with open_view({}) as view, tempfile.TemporaryDirectory() as aside:
        meta, arrays = find(figure, weights, args, view, Path(aside))

        from experiments.store.qualitative import write_capture

        path = args.runs / args.profile / 'captures' / f'{figure.name}.npz'
        write_capture(path, meta, arrays)
    print(f'wrote {path} ({path.stat().st_size / 1000:.0f} kB)')


def _of_panels(figure: Any, weights: Dict[str, Path], args: argparse.Namespace, view: Any, aside: Path) -> tuple:
    runs = [panel.cell.run(args.profile, args.seed) for panel in figure.panels]
    checkpoints = [
        weights.get(panel.label) or _checkpoint(panel.cell, run, args) for panel, run in zip(figure.panels, runs)
    ]

    from experiments.qualitative.detections import capture_detections

    return capture_detections(figure, runs, checkpoints, args.images, args.data, view.progress)


def _of_stages(figure: Any, weights: Dict[str, Path], args: argparse.Namespace, view: Any, aside: Path) -> tuple:
    run = figure.cell.run(args.profile, args.seed)
    max_epochs = run.config['train_cfg']['max_epochs']
    wanted = {stage.label: stage.epoch(max_epochs) for stage in figure.stages if stage.label not in weights}
    found = dict(weights)
    if wanted:
        last = _checkpoint(figure.cell, run, args)
        for label, epoch in wanted.items():
            found[label] = last if epoch == max_epochs else _replayed(run, epoch, last.parent, args, view, aside)

    from experiments.qualitative.assignment import capture_assignment

    checkpoints = [found[stage.label] for stage in figure.stages]
    return capture_assignment(figure, run, checkpoints, args.images, args.data, view.progress)


def _replayed(run: Any, epoch: int, original: Path, args: argparse.Namespace, view: Any, aside: Path) -> Path:
    from experiments.qualitative.replay import replay

    folder = aside / f'epoch{epoch}'
    view.say(f'training the first {epoch} epochs of run {run.id} again')
    return replay(run, epoch, RunFolder(original), folder, args.data, view.progress, view.say)


def _checkpoint(cell: Any, run: Any, args: argparse.Namespace) -> Path:
    """The weights of a finished run.

    Raises:
        UserError: it is not trained, or its weights are missing; the message names the command that trains it.
    """
    folder = RunFolder(args.runs / args.profile / run.id)
    done, checkpoint = folder.result() is not None, folder.checkpoint()
    if done and checkpoint is not None:
        return checkpoint
    words = profile_words(args.runs, args.profile, file=own_file(args.profile), data=args.data)
    command = shlex.join([*shlex.split(cell.command), *words])
    command += f' --seeds {args.seed}' if args.seed else ''
    if done:
        raise UserError(
            f'{folder.path} has a result but no weights: run {command} --runs OTHER, then this with that folder'
        )
    other = f' --runs {shlex.quote(str(args.runs))}' if args.runs.resolve() != RUNS else ''
    raise UserError(f'{cell.table} {_words(cell.at)} is not trained: run {command}{other} first')


def _words(at: Dict[str, str]) -> str:
    return ' '.join(f'{axis}={value}' for axis, value in at.items())
