"""All figures by name, drawn from stored files. Each is a function that returns a Matplotlib Figure.

Figures of curves use a table's plan and the epochs of its runs. Figures of images use qualitative results. ``draw``
reads what a figure needs and draws it. ``save`` turns it into the content of a file.
"""

import traceback
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Callable, Dict, List, Optional

from matplotlib.figure import Figure

from analysis.figures import crowding, curves, fidelity, scaling, schedule
from analysis.figures.assignment import fig6
from analysis.figures.detections import detections
from analysis.figures.fit import Misfit
from analysis.figures.style import FORMATS, save, styled
from analysis.results import command, load_epochs, load_plan, load_results, plan_names
from experiments.spec.schema import capture_command
from experiments.store.errors import UserError
from experiments.store.qualitative import load_assignment, load_detections, path_of

__all__ = ['FORMATS', 'FigureEntry', 'draw', 'entries', 'save']
Warn = Callable[[str], None]


@dataclass(frozen=True)
class FigureEntry:
    """A figure: its name, its title, a text alternative, and the function that draws it from a runs folder, a profile
    and a function for warnings. ``table`` is the table whose runs it shows, if any. ``caption`` puts it into words, as
    Markdown, and ``files`` gives its numbers as files by the ends of their names."""

    name: str
    title: str
    alt: str
    draw: Callable[[Path, str, Warn], Figure]
    table: Optional[str] = None
    caption: Optional[Callable[[Path, str], str]] = None
    files: Optional[Callable[[Path, str], Dict[str, bytes]]] = None


def entries(runs: Path, profile: str) -> Dict[str, FigureEntry]:
    """All figures by name: those of the paper and of the schedule, then those of each table that has a plan."""
    found = [*_FIXED]
    for name in plan_names(runs, profile):
        if name in _STUDIES:
            found.append(_STUDIES[name])
        found += [
            FigureEntry(
                f'curves-{name}',
                f'Training curves of {name}',
                f'Lines of the first metric of {name} after each epoch, one for each cell.',
                partial(_of_epochs, curves.curves, name),
                name,
            ),
            FigureEntry(
                f'losses-{name}',
                f'Training losses of {name}',
                f'Lines of the mean losses of each epoch, one for each training of {name}.',
                partial(_of_epochs, curves.losses, name),
                name,
            ),
        ]
    return {entry.name: entry for entry in found}


def draw(name: str, runs: Path, profile: str, warn: Warn = lambda line: None) -> Figure:
    """Draw a figure.

    Args:
        name (str): its name, see :func:`entries`.
        runs (Path): folder of the runs.
        profile (str): profile of the runs.
        warn (callable): called with a line for each broken file, which is left out.

    Raises:
        UserError: there is no such figure, or its data are missing or broken, and the message names the command that
            creates them; or its table is not one that the figure can show, and the message says what does not fit.
    """
    known = entries(runs, profile)
    if name not in known:
        raise UserError(f'no figure {name!r}: there are {", ".join(known)}')
    table = known[name].table
    with styled():
        try:
            return known[name].draw(Path(runs), profile, warn)
        except Misfit as error:
            raise UserError(f'the plan of {table} does not fit the figure {name}: {error}') from error
        except _OF_CONTENT as error:
            if table is None:
                raise
            what = f'{type(error).__name__} in {_place(error)}: {error}'.removesuffix(': ')
            raise UserError(f'what is stored of {table} does not fit the figure {name}, which raised {what}') from error


#: What a function of a figure may raise on a table that it was not made for. The message says what was raised, because
#: it may also be a fault of the function.
_OF_CONTENT = (ArithmeticError, LookupError, RuntimeError, StopIteration, TypeError, ValueError)


def _place(error: Exception) -> str:
    """The line of this package that raised the error, or called what did: 'curves.py:52'."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(Path(__file__).parent)]
    return f'{Path(own[-1].filename).name}:{own[-1].lineno}'


def _of_epochs(function: Callable, table: str, runs: Path, profile: str, warn: Warn) -> Figure:
    """Draw the metrics of a table's runs after each epoch."""
    plan = load_plan(runs, profile, table)
    stored, warnings = load_epochs(runs, profile, plan)
    _tell(warnings, warn)
    again = command(runs, profile, table, plan.overrides)
    if not stored:
        raise UserError(f'no run of {table} has finished an epoch: run {again} first')
    try:
        return function(plan, stored)
    except curves.NotStored as error:
        anew = command(runs, profile, table, plan.overrides, into='OTHER')
        raise UserError(f'{error}: run {anew}, then this on that folder') from error


def _of_results(function: Callable, table: str, runs: Path, profile: str, warn: Warn) -> Figure:
    """Draw the final metrics of a table's runs."""
    plan = load_plan(runs, profile, table)
    results = load_results(runs, profile, plan)
    _tell(results.warnings, warn)
    if not results.runs:
        again = command(runs, profile, table, plan.overrides)
        raise UserError(f'no run of {table} is finished: run {again} first')
    return function(plan, results)


def _schedule(runs: Path, profile: str, warn: Warn) -> Figure:
    return schedule.degree_schedule()


def _fidelity(runs: Path, profile: str, warn: Warn) -> Figure:
    return fidelity.fidelity(runs, profile)


def _captured(load: Callable, function: Callable, name: str, runs: Path, profile: str, warn: Warn) -> Figure:
    again = capture_command(runs, profile, name)
    capture = load(runs, profile, name, again)
    try:
        return function(capture)
    except ValueError as error:
        raise UserError(f'{path_of(runs, profile, name)}: {error}: delete it and run {again} again') from error


def _tell(warnings: List[str], warn: Warn) -> None:
    for warning in warnings:
        warn(warning)


#: The figures of studies, each there if its study has a plan.
_STUDIES = {
    'scaling': FigureEntry(
        'scaling',
        "The paper's effects as scale grows (study scaling)",
        'Four panels of ratios of AP over three schedules, a line for each set of levels, with crosses at the values '
        'of the paper.',
        partial(_of_results, scaling.scaling, 'scaling'),
        'scaling',
    ),
    'crowding': FigureEntry(
        'crowding',
        'Where NMS begins to lose (study crowding)',
        'Lines of the AP of each method minus that of FCOS with NMS, over four sets of scenes of rising overlap.',
        partial(_of_results, crowding.crowding, 'crowding'),
        'crowding',
    ),
}
_FIXED = (
    FigureEntry(
        'fidelity',
        'The differences that the paper prints, and the same differences measured',
        'Points for all differences within rows, columns and cells of the tables: the paper across, measured up, with '
        'intervals and the diagonal; where the desk before was measured, its points in a second panel.',
        _fidelity,
        caption=fidelity.caption,
        files=fidelity.files,
    ),
    FigureEntry(
        'schedule',
        'The schedule of the positive degrees (Eq. 3)',
        'Left, T falls in a straight line over the epochs from its largest to its smallest value. Right, the degree of '
        'an ambiguous anchor grows in proportion to its joint score, less steeply in later epochs.',
        _schedule,
    ),
    FigureEntry(
        'fig5',
        'AP after every epoch, with and without NMS (Figure 5)',
        'Four lines of AP over the epochs, one-to-one and one-to-few, each with and without NMS; below them the gap '
        'between the two readings of each method.',
        partial(_of_epochs, curves.fig5, 'fig5'),
        'fig5',
    ),
    FigureEntry(
        'positives',
        'Positives per instance during training',
        'Lines of the mean number of certain and ambiguous anchors per instance over the epochs, one-to-one and '
        'one-to-few, and of the sum of their degrees where it is stored.',
        partial(_of_epochs, curves.positives, 'fig5'),
        'fig5',
    ),
    FigureEntry(
        'mechanism',
        "How an object's detections compete, after every epoch",
        'Two panels of lines over the epochs, one-to-one and one-to-few: duplicates per object, and the second best '
        "score of an object's detections over its best one.",
        partial(_of_epochs, curves.mechanism, 'fig5'),
        'fig5',
    ),
    FigureEntry(
        'gap',
        'The gap between the readings against the smallest T (Table 3)',
        'Lines of the AP that NMS adds, over T min, one for each T max: measured on the left, the paper on the right.',
        partial(_of_results, schedule.gap, 'table3'),
        'table3',
    ),
    FigureEntry(
        'fig6',
        'Joint scores and assigned degrees, early and late in training (Figure 6)',
        'Maps on the levels of the feature pyramid for instances of one image: early in training several anchors of an '
        'instance have large scores and degrees, late in training the maps may be sparser.',
        partial(_captured, load_assignment, fig6, 'fig6'),
        'fig5',
    ),
    *(
        FigureEntry(
            name,
            f'{what} without NMS (Figure {name[3:]})',
            f'The same images side by side: annotations, then {what.lower()} of three detectors, duplicates dashed. '
            'Counts stand under each picture.',
            partial(_captured, load_detections, detections, name),
            table,
        )
        for name, what, table in (
            ('fig7', 'Detections', 'table5'),
            ('fig8', 'Instance segmentation', 'table9'),
            ('fig9', 'Detections in crowds', 'table8'),
        )
    ),
)
