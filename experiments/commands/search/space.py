"""The settings that a search tries: the cells of a table, or draws from its axes. An axis may be widened to a range."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Sequence, Union

from experiments.spec.config import Run, resolve
from experiments.spec.plan import Plan
from experiments.spec.schema import Axis, Cell
from experiments.store.errors import UserError
from experiments.store.runs import DONE, RunFolder

Number = Union[int, float]
#: Significant digits of values drawn from a range.
_DIGITS = 3
#: After this many repeated draws in a row, all settings are taken to be drawn.
_MAX_REPEATS = 1000


@dataclass(frozen=True)
class Range:
    """An axis that takes any number from ``low`` to ``high``, or any integer if its values and both ends are so."""

    axis: str
    key: str
    low: Number
    high: Number
    whole: bool

    def domain(self) -> Any:
        """The range as a domain of Ray Tune."""
        from ray import tune

        return tune.randint(self.low, self.high + 1) if self.whole else tune.uniform(self.low, self.high)

    def holds(self, cell: Cell) -> bool:
        """Whether the cell's value lies in the range."""
        return self.low <= cell.overrides[self.key] <= self.high


@dataclass(frozen=True)
class Setting:
    """One setting to try: its value of each axis, and the run that trains it."""

    at: Dict[str, Any]
    run: Run

    @property
    def label(self) -> str:
        return ' '.join(f'{axis}={value}' for axis, value in self.at.items())


def read_ranges(axes: Dict[str, Axis], texts: Sequence[str]) -> List[Range]:
    """The ranges that ``--space NAME=LOW:HIGH ...`` gives to axes.

    Raises:
        UserError: there is no such axis, its values are not numbers at one key, it is named twice, or it is no range.
    """
    ranges = [_read_range(axes, text) for text in texts]
    for place, part in enumerate(ranges):
        if part.key in [other.key for other in ranges[:place]]:
            raise UserError(f'--space {texts[place]}: {part.key} has a range already: give each one')
    return ranges


def _read_range(axes: Dict[str, Axis], given: str) -> Range:
    name, equals, text = given.partition('=')
    if not (name and equals and text):
        raise UserError(f'--space {given}: write it as AXIS=LOW:HIGH')
    if name not in axes:
        raise UserError(f'--space {name}={text}: there is no axis {name!r}; there are {", ".join(axes)}')
    overrides = [value.overrides for value in axes[name].values.values()]
    keys = {key for of_value in overrides for key in of_value}
    values = [value for of_value in overrides for value in of_value.values()]
    if len(keys) != 1 or not all(type(value) in (int, float) for value in values):
        raise UserError(f'--space {name}={text}: the values of axis {name} are not numbers at one key')
    try:
        low, high = (_number(end) for end in text.split(':'))
    except ValueError as error:
        raise UserError(f'--space {name}={text}: write it as {name}=LOW:HIGH') from error
    if not (math.isfinite(low) and math.isfinite(high)):
        raise UserError(f'--space {name}={text}: both numbers must be finite')
    if not low < high:
        raise UserError(f'--space {name}={text}: the first number must be the smaller one')
    whole = all(type(value) is int for value in (*values, low, high))
    return Range(name, keys.pop(), low, high, whole)


def _number(text: str) -> Number:
    return int(text) if text.strip().lstrip('+-').isdigit() else float(text)


def settings(plan: Plan, ranges: Sequence[Range], trials: int, seed: int, runs: Path) -> List[Setting]:
    """The settings to try, each training once: the requested ones, and the plan's cells that are finished already.

    Args:
        plan (Plan): the cells to choose from.
        ranges (sequence[Range]): axes that are drawn from a range instead.
        trials (int): number of draws; 0, which excludes ranges, takes every cell instead.
        seed (int): seed of the runs and of the draws, so that the same command tries the same settings.
        runs (Path): folder of the profile's runs.

    Raises:
        UserError: a drawn value is not possible.
    """
    for part in ranges:
        if part.key in plan.overrides:
            raise UserError(f'--space {part.axis}: --set sets {part.key} already')
    inside = [
        Setting(dict(planned.cell.at), planned.runs[seed])
        for planned in plan.cells
        if all(part.holds(planned.cell) for part in ranges)
    ]
    known = [setting for setting in inside if RunFolder(runs / setting.run.id).status().state == DONE]
    tried = _draw(plan, ranges, trials, seed) if trials else inside
    return list({setting.run.id: setting for setting in (*tried, *known)}.values())


def _draw(plan: Plan, ranges: Sequence[Range], trials: int, seed: int) -> List[Setting]:
    """Draw settings of ``trials`` different runs, or of all runs if there are fewer."""
    import numpy as np
    from ray import tune

    random = np.random.RandomState(seed)
    which = tune.randint(0, len(plan.cells))
    drawn: Dict[str, Setting] = {}
    seen: List[dict] = []
    repeats = 0
    while len(drawn) < trials and repeats < _MAX_REPEATS:
        cell = plan.cells[int(which.sample(random_state=random))].cell
        values = {part: _rounded(part, part.domain().sample(random_state=random)) for part in ranges}
        at = {**cell.at, **{part.axis: value for part, value in values.items()}}
        repeats = repeats + 1 if at in seen else 0
        if not repeats:
            seen.append(at)
            overrides = {**cell.overrides, **{part.key: value for part, value in values.items()}, **plan.overrides}
            run = resolve(plan.profile, cell.use, overrides, seed, '--space')
            drawn.setdefault(run.id, Setting(at, run))
    return list(drawn.values())


def _rounded(part: Range, value: Any) -> Number:
    return int(value) if part.whole else float(f'{value:.{_DIGITS}g}')
