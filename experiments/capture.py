"""Capture what trained detectors do on images, for Figs. 6 to 9 of analysis/make_figures.py.

python experiments/capture.py                      # all figures whose detectors are trained
python experiments/capture.py fig7 fig9 --profile smoke
python experiments/capture.py fig7 --images 17 203
python experiments/capture.py fig7 --weights Ours=o2f_r50_fpn_1x.pth
python experiments/capture.py --list

It trains nothing but the first epochs that Fig. 6 shows, in a temporary folder.
"""

import argparse
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any, Dict, List, Optional

ROOT = Path(__file__).resolve().parent.parent
if __package__ in (None, ''):
    sys.path[0] = str(ROOT)  # run as a script: the packages lie beside this folder
os.environ.setdefault('OMP_NUM_THREADS', '1')  # as in training, so that sums round in the same way
warnings.filterwarnings('ignore', message='.*pkg_resources is deprecated')

from experiments.store.errors import UserError  # noqa: E402
from experiments.store.files import DATA, RUNS  # noqa: E402


def main(argv: Optional[List[str]] = None) -> int:
    """The command line.

    Returns:
        int: 0 when all that was asked for is there, 1 when a figure lacks its detectors, 2 for wrong arguments or
        files, 130 when stopped.
    """
    try:
        args = _parse(argv)
        return _list() if args.list else _capture(args)
    except UserError as error:
        print(f'capture.py: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('capture.py: stopped', file=sys.stderr)
        return 130


def _parse(argv: Optional[List[str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='capture.py', description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('figures', nargs='*', metavar='FIGURE', help='figures (default: all)')
    parser.add_argument('--profile', default='desk', help='profile of the runs (default: desk)')
    parser.add_argument('--seed', type=int, default=0, help='which training of each cell (default: 0)')
    parser.add_argument('--images', nargs='+', default=[], metavar='ID', help="images to show instead of the rule's")
    parser.add_argument(
        '--weights', action='append', default=[], metavar='LABEL=FILE', help='weights for a panel or stage'
    )
    parser.add_argument('--runs', type=Path, default=RUNS, help='folder of the runs (default: runs)')
    parser.add_argument('--data', type=Path, default=DATA, help='folder of the data (default: data)')
    parser.add_argument('--list', action='store_true', help='list the figures')
    args = parser.parse_args(argv)
    if (args.images or args.weights) and len(args.figures) != 1:
        parser.error('--images and --weights need one figure')
    return args


def _list() -> int:
    from experiments.spec.figure import figure_names, load_figure

    for name in figure_names():
        figure = load_figure(name)
        print(f'{name}  {figure.title} ({figure.source}): {", ".join(figure.labels)}')
    return 0


def _capture(args: argparse.Namespace) -> int:
    from experiments.spec.figure import figure_names, load_figure

    figures = [load_figure(name) for name in dict.fromkeys(args.figures or figure_names())]
    weights = _weights(args.weights, figures)
    lacking = 0
    for figure in figures:
        try:
            _capture_one(figure, weights, args)
        except UserError as error:
            print(f'capture.py: {figure.name}: {error}', file=sys.stderr)
            lacking += 1
    return 1 if lacking else 0


def _weights(texts: List[str], figures: list) -> Dict[str, Path]:
    weights = {}
    for text in texts:
        label, equals, path = text.partition('=')
        if not (equals and path) or label not in figures[0].labels:
            raise UserError(f'--weights {text}: write LABEL=FILE, LABEL one of {", ".join(figures[0].labels)}')
        weights[label] = Path(path)
    return weights


def _capture_one(figure: Any, weights: Dict[str, Path], args: argparse.Namespace) -> None:
    """Capture one figure into ``<runs>/<profile>/captures/<name>.npz``."""
    from experiments.commands.view import open_view
    from experiments.spec.figure import DetectionsFigure

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
    from experiments.store.runs import RunFolder

    folder = aside / f'epoch{epoch}'
    view.say(f'training the first {epoch} epochs of run {run.id} again')
    return replay(run, epoch, RunFolder(original), folder, args.data, view.progress, view.say)


def _checkpoint(cell: Any, run: Any, args: argparse.Namespace) -> Path:
    """The weights of a finished run.

    Raises:
        UserError: it is not trained, or its weights are not there; the message names the command that trains it.
    """
    from experiments.store.runs import RunFolder

    folder = RunFolder(args.runs / args.profile / run.id)
    done, checkpoint = folder.result() is not None, folder.checkpoint()
    if done and checkpoint is not None:
        return checkpoint
    command = cell.command + (f' --profile {args.profile}' if args.profile != 'desk' else '')
    command += f' --seeds {args.seed}' if args.seed else ''
    if done:
        raise UserError(
            f'{folder.path} has a result but no weights: run {command} --runs OTHER, then this with that folder'
        )
    other = f' --runs {args.runs}' if args.runs.resolve() != RUNS else ''
    raise UserError(f'{cell.table} {_words(cell.at)} is not trained: run {command}{other} first')


def _words(at: Dict[str, str]) -> str:
    return ' '.join(f'{axis}={value}' for axis, value in at.items())


if __name__ == '__main__':
    sys.exit(main())
