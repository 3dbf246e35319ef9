"""The differences that the paper prints against the measured ones: the figure, its numbers, and both in words.

The published desk is shown beside the one before it, whose differences are in ``BEFORE``.
"""

import json
import math
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Tuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from analysis.claims.fidelity import CLEAR, Agreement, Value, agreement, measured_differences, printed_pairs
from analysis.figures.style import COLOURS, MARKERS, WIDE, new_figure, note
from analysis.results import command, load_plan, plan_names
from analysis.tables.render import table
from experiments.store.errors import UserError

#: The differences on the desk before, as ``make_figures.py fidelity`` wrote them from the runs of commit 14e4725.
BEFORE = Path(__file__).with_name('desk-14e4725.csv')
#: The profile that this desk had.
DESK = 'desk'
#: Up to here, in points, the axes are linear. Beyond, they are logarithmic.
_LINEAR = 1.0
#: Points are moved sideways by up to this share of their place, so that their bars can be told apart.
_ASIDE = 0.04
_TICKS = (0, 0.5, 1, 2, 5, 10, 20, 50)


class Panel(NamedTuple):
    """A set of differences, and its title."""

    title: str
    differences: pd.DataFrame


def panels(runs: Path, profile: str) -> List[Panel]:
    """The desk before, for the profile that it had, and the differences in a folder of runs.

    Raises:
        UserError: no difference was measured, or a plan is broken.
    """
    now = measured_differences(runs, profile)
    if now.empty:
        raise _none_measured(runs, profile)
    shown = [Panel('the desk before (commit 14e4725)', pd.read_csv(BEFORE))] if profile == DESK else []
    return [*shown, Panel('the desk now' if shown else f'profile {profile}', now)]


def _none_measured(runs: Path, profile: str) -> UserError:
    plans = [load_plan(runs, profile, name) for name in plan_names(runs, profile)]
    printed = [plan.name for plan in plans if not plan.overrides and printed_pairs(plan)]
    if plans and not printed:
        there = ', '.join(plan.name for plan in plans)
        return UserError(
            f'no table of profile {profile} ({there}) has differences that the paper prints: run a table of the paper '
            f'first, such as {command(runs, profile, "table3")}'
        )
    again = command(runs, profile, (printed or ['table3'])[0])
    return UserError(f'no difference that the paper prints has been measured: run {again} first')


def fidelity(runs: Path, profile: str) -> Figure:
    """Draw a panel for each set of differences, with a colour and a marker for each table."""
    shown = panels(runs, profile)
    figure = new_figure(WIDE if len(shown) > 1 else WIDE / 2 + 1, 4.5)
    every = pd.concat([panel.differences for panel in shown])
    tables = sorted(every['table'].unique())
    measured = every['measured']
    limits = 1.15 * every['paper'].max(), 1.15 * min(0.0, measured.min()), 1.15 * max(0.0, measured.max())
    for axes, panel in zip(np.atleast_1d(figure.subplots(1, len(shown), sharey=True)), shown):
        _panel(axes, panel, tables, limits)
    figure.axes[0].set_ylabel('difference measured, points')
    handles = {label: handle for axes in figure.axes for handle, label in zip(*axes.get_legend_handles_labels())}
    order = sorted(handles)
    figure.legend([handles[name] for name in order], order, loc='outside upper center', ncols=6, handletextpad=0.1)
    note(
        figure,
        'Every difference that the paper prints within a row, a column or a cell of a table. Bars: 95 % intervals. '
        'Line: as printed.\nBelow 0: the opposite sign. Axes are linear up to 1 and logarithmic beyond. '
        'Points are moved sideways by up to 4 %.',
    )
    return figure


def _panel(axes: Axes, panel: Panel, tables: List[str], limits: tuple) -> None:
    aside = np.random.default_rng(0).uniform(-_ASIDE, _ASIDE, len(panel.differences))
    places = panel.differences['paper'] + aside * panel.differences['paper'].clip(lower=_LINEAR)
    for number, name in enumerate(tables):
        rows = panel.differences[panel.differences['table'] == name]
        if len(rows):
            x = places[rows.index]
            style: Dict[str, Any] = dict(color=COLOURS[number % len(COLOURS)], marker=MARKERS[number % len(MARKERS)])
            axes.vlines(x, rows['low'], rows['high'], color=style['color'], alpha=0.15, linewidth=0.6)
            label = f'Table {name.removeprefix("table")}' if name.startswith('table') else name
            axes.scatter(x, rows['measured'], s=11, linewidths=0, alpha=0.75, label=label, **style)
    axes.axhline(0, color='0.5', linewidth=0.8)
    axes.plot([0, limits[0]], [0, limits[0]], color='0.2', linewidth=1)
    for which in ('x', 'y'):
        getattr(axes, f'set_{which}scale')('symlog', linthresh=_LINEAR)
        axis = getattr(axes, f'{which}axis')
        ticks = [tick for tick in _TICKS if which == 'y' or tick < limits[0]]
        axis.set_ticks(ticks if which == 'x' else [*(-tick for tick in reversed(ticks[1:])), *ticks])
        axis.set_major_formatter(FuncFormatter(lambda value, _: f'{value:g}'.replace('-', '−')))
        axis.set_minor_locator(NullLocator())
    axes.set(xlim=(-2 * _ASIDE, limits[0]), ylim=limits[1:], xlabel='difference in the paper, points')
    found = agreement(panel.differences)
    axes.set_title(
        f'{panel.title[0].upper()}{panel.title[1:]}\n'
        f'{found.differences} differences: τ {_shown(found.kendall)}, r {_shown(found.pearson)}\n'
        f'slope {_shown(found.slope)}; equal signs {_share(found.signs)}',
        loc='left',
        fontsize=7.5,
    )


def caption(runs: Path, profile: str) -> str:
    """The figure in words: a table in Markdown with the agreement in all and of each table."""
    lines = [['differences', 'of', 'number', "Kendall's τ", "Pearson's r", 'slope', f'equal signs (above {CLEAR:g})']]
    for what, panel, found in _agreements(panels(runs, profile)):
        signs = f'{_share(found.signs)} of {found.clear}'
        correlations = [_shown(value) for value in (found.kendall, found.pearson, found.slope)]
        lines.append([what, panel.title, str(found.differences), *correlations, signs])
    return table(lines)


def files(runs: Path, profile: str) -> Dict[str, bytes]:
    """The differences as CSV, and their agreement as JSON, by the ends of the files' names."""
    shown = panels(runs, profile)
    content = [
        dict(differences_of=what, measured_on=panel.title, **found.content())
        for what, panel, found in _agreements(shown)
    ]
    text = json.dumps(dict(schema=1, agreement=content), indent=1, ensure_ascii=False) + '\n'
    return {'json': text.encode('utf-8'), 'csv': shown[-1].differences.to_csv(index=False).encode('utf-8')}


def _agreements(shown: List[Panel]) -> Iterator[Tuple[str, Panel, Agreement]]:
    """The agreement of all differences, of those that all panels have, and of each table."""
    for panel in shown:
        yield 'all', panel, agreement(panel.differences)
    if len(shown) > 1:
        names = [pd.MultiIndex.from_frame(panel.differences[['table', 'left', 'right']]) for panel in shown]
        for panel, own in zip(shown, names):
            rows = panel.differences[np.all([own.isin(each) for each in names], axis=0)]
            yield 'those of both', panel, agreement(rows)
    for name in sorted({name for panel in shown for name in panel.differences['table']}):
        for panel in shown:
            rows = panel.differences[panel.differences['table'] == name]
            if len(rows):
                yield name, panel, agreement(rows)


def _shown(value: Value) -> str:
    """'0.54 (0.45 to 0.61)', or a dash if it is not defined."""
    return _range(value, lambda number: f'{number:.2f}'.replace('-', '−'))


def _share(value: Value) -> str:
    """'81 % (75 to 88)'."""
    return _range(value, lambda number: f'{100 * number:.0f}', ' %')


def _range(value: Value, written: Callable[[float], str], unit: str = '') -> str:
    if not math.isfinite(value.value):
        return '–'
    ends = f' ({written(value.low)} to {written(value.high)})' if math.isfinite(value.low) else ''
    return f'{written(value.value)}{unit}{ends}'
