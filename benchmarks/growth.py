"""Growth: time and memory of assignment and loss with the size of the problem.

The problem starts with 2 images of 800 x 1333 with 30 instances each and 80 classes. One size is changed at a time. The
table has the numbers at the end of each curve beside those at its beginning. The picture has the curves, and also those
of the loop over instances and of plain autograd, as long as they take seconds and not minutes. The targets of the loss
are made once, outside the measured time.
"""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

from benchmarks import assignment, loss, per_instance, timing
from benchmarks.problem import Problem, problem
from benchmarks.rows import Row

BASE = dict(per_image=30, images=2, size=(800, 1333), classes=80)
#: What is changed: name on the axis, argument of ``problem``, its values, and the number of each on the axis.
SWEEPS: Tuple[Tuple[str, str, tuple, Callable[[Any], float]], ...] = (
    ('instances per image', 'per_image', (1, 3, 10, 30, 100, 300, 1000), float),
    (
        'megapixels per image',
        'size',
        ((400, 667), (566, 943), (800, 1333), (1131, 1885), (1600, 2666)),
        lambda size: size[0] * size[1] / 1e6,
    ),
    ('classes', 'classes', (1, 5, 20, 80, 365), float),
    ('images per batch', 'images', (1, 2, 4, 8, 16), float),
)
#: What is measured, and its unit.
QUANTITIES = (('assignment', 'ms'), ('assignment', 'MB'), ('loss', 'ms'), ('loss', 'MB'))
#: The others are not asked for more once they took so long, or would have so many logits.
ENOUGH_S, ENOUGH_LOGITS = 1.5, 1 << 24


@dataclass
class Curve:
    """One quantity along one sweep: (x, y) pairs of ours and of what it is compared with, which may end before."""

    sweep: str
    quantity: str
    unit: str
    ours: List[Tuple[float, float]] = field(default_factory=list)
    other: List[Tuple[float, float]] = field(default_factory=list)


def measure(quick: bool, figure: Optional[Path] = None) -> List[Row]:
    """The far ends of all curves. With ``figure`` all of them are drawn there, as the file's suffix says."""
    curves = [curve for sweep in SWEEPS for curve in _sweep(*sweep, quick)]
    if figure is not None:
        draw(curves, figure)
    return [_ends(curve) for curve in curves]


def _sweep(name: str, argument: str, values: tuple, number: Callable[[Any], float], quick: bool) -> List[Curve]:
    """All quantities along one sweep; quick has its first two values on a small image."""
    curves = [Curve(name, *quantity) for quantity in QUANTITIES]
    base = dict(BASE, size=(100, 167)) if quick else BASE
    went_on = dict(assignment=True, loss=True)
    for value in values[:2] if quick else values:
        given = problem(**dict(base, **{argument: value}))
        for curve, ours, other in zip(curves, *_figures(given, went_on, 1 if quick else 5)):
            curve.ours.append((number(value), ours))
            if other is not None:
                curve.other.append((number(value), other))
    return curves


def _figures(given: Problem, went_on: Dict[str, bool], repeats: int) -> Tuple[List[float], List[Optional[float]]]:
    """The four quantities of ours and of the others, None where they are too slow from here on."""
    targets = loss.targets_of(given)
    leaves = given.with_gradients()
    went_on['loss'] &= given.cls_logits.numel() <= ENOUGH_LOGITS
    pairs = dict(
        assignment=(partial(assignment.assign, given), partial(per_instance.assign, given)),
        loss=(partial(loss.step, loss.ours, leaves, targets), partial(loss.step, loss.plain, leaves, targets)),
    )
    ours: List[float] = []
    others: List[Optional[float]] = []
    for name, (mine, other) in pairs.items():
        functions = dict(ours=mine, other=other) if went_on[name] else dict(ours=mine)
        calls = assignment.CALLS if name == 'assignment' else 1
        often = dict(functions, ours=partial(assignment.often, mine, calls))
        seconds = timing.in_turns(often, repeats, enough_s=5, least=1)
        peaks = {which: timing.memory(function)[0] / 1e6 for which, function in functions.items()}
        ours += [seconds['ours'] / calls * 1e3, peaks['ours']]
        others += [seconds['other'] * 1e3, peaks['other']] if went_on[name] else [None, None]
        went_on[name] &= seconds.get('other', 0) < ENOUGH_S
    return ours, others


def _ends(curve: Curve) -> Row:
    (first, before), (last, after) = curve.ours[0], curve.ours[-1]
    what = dict(ms='time', MB='memory at the peak')[curve.unit]
    return Row(f'{curve.quantity}, {what}, {last:.4g} {curve.sweep}', after, curve.unit, before, f'at {first:.4g}')


# --- the picture --------------------------------------------------------------------------------------------

#: Told apart by lightness, dashes and marks as well as by colour.
STYLE_OF_OURS = dict(color='#00415c', marker='o', linestyle='-', linewidth=1.8, markersize=4.5)
STYLE_OF_OTHER = dict(color='#e07a1f', marker='s', linestyle='--', linewidth=1.5, markersize=4, markerfacecolor='white')
LABELS = {
    ('assignment', 'ms'): 'assignment\ntime, ms',
    ('assignment', 'MB'): 'assignment\npeak memory, MB',
    ('loss', 'ms'): 'loss, forward and backward\ntime, ms',
    ('loss', 'MB'): 'loss, forward and backward\npeak memory, MB',
}


def draw(curves: List[Curve], path: Path) -> None:
    """Small multiples: a column for each sweep, a row for each quantity, all axes logarithmic.

    Raises:
        ModuleNotFoundError: matplotlib is not installed; it is in the extra ``report``.
    """
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot as plt

    sweeps = list(dict.fromkeys(curve.sweep for curve in curves))
    settings = {'font.size': 9, 'svg.hashsalt': path.stem, 'axes.spines.top': False, 'axes.spines.right': False}
    with plt.rc_context(settings):
        figure, axes = plt.subplots(
            len(QUANTITIES), len(sweeps), figsize=(11, 9.5), sharex='col', sharey='row', squeeze=False
        )
        for curve in curves:
            row, column = QUANTITIES.index((curve.quantity, curve.unit)), sweeps.index(curve.sweep)
            _panel(axes[row, column], curve)
            if row == len(QUANTITIES) - 1:
                axes[row, column].set_xlabel(curve.sweep)
            if column == 0:
                axes[row, column].set_ylabel(LABELS[curve.quantity, curve.unit])
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles[::-1], labels[::-1], loc='upper center', ncols=2, frameon=False, fontsize=10)
        figure.tight_layout(rect=(0, 0, 1, 0.96))
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=120, metadata={'Date': None} if path.suffix == '.svg' else None)
        plt.close(figure)


def _panel(axes: Any, curve: Curve) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    for points, style, label in (
        (curve.other, STYLE_OF_OTHER, 'loop over instances; plain autograd'),
        (curve.ours, STYLE_OF_OURS, 'o2f'),
    ):
        axes.plot(*zip(*points), label=label, **style)
    axes.set_xscale('log')
    axes.set_yscale('log')
    axes.grid(True, which='major', color='#d9d9d9', linewidth=0.6)
    axes.set_xticks([x for x, _ in curve.ours])
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f'{value:.2g}' if value < 10 else f'{value:.0f}'))
        axis.set_minor_formatter(NullFormatter())
    axes.tick_params(which='minor', length=0)
