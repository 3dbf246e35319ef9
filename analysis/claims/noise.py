"""The noise of training: its variance is pooled over cells that are trained alike.

Cells are trained alike if they have the same schedule, backbone and data, and their tables the same head. A table
without enough seeds takes the noise of the nearest table: one of the same schedule if there is one.

Cells whose variance is far above the others' are left out, by Cochran's test. They must be few, one or one in twenty,
and the variances of the rest must be equal, by Bartlett's test. Otherwise each cell of three seeds keeps its own
variance. A cell of nine seeds keeps its own in any case.
"""

from dataclasses import dataclass, field
from typing import Dict, FrozenSet, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

from analysis.claims.evidence import Evidence, Group, Measure, Statistic
from analysis.claims.statistics import Variance, alike, interaction, pooled
from experiments.spec.schema import Position, StoredPlan

#: Degrees of freedom that a table's own noise needs; with fewer, another table's is the better estimate.
ENOUGH = 4
#: Seeds from which on a cell may keep its own variance.
ENOUGH_SEEDS = 3
#: Seeds from which on it does in any case. Eight degrees of freedom widen an interval by no more than a fifth.
MANY_SEEDS = 9


class Noise(NamedTuple):
    """The noise of a statistic.

    Attributes:
        training (Variance): the variance of one training's value.
        interaction (Variance): see :class:`~analysis.claims.statistics.Side`.
        groups (tuple[Group]): the cells that it is pooled over.
        heavy (tuple[tuple[Group]]): cells whose variance is far above theirs, each with its equals. They are left out.
        equal (bool): whether the cells' variances may be equal.
        statistic (Statistic): what was pooled, which is of boxes if no masks were trained with several seeds.
        borrowed (bool): whether these cells are trained otherwise than the one asked for, or ``statistic`` is another.
    """

    training: Variance
    interaction: Variance
    groups: Tuple[Group, ...]
    heavy: Tuple[Tuple[Group, ...], ...]
    equal: bool
    statistic: Statistic
    borrowed: bool = False

    def leaves_out(self, group: Group) -> bool:
        """Whether a cell is left out, because its variance is far above that of others."""
        return any(group in cell for cell in self.heavy)

    @property
    def tables(self) -> Tuple[str, ...]:
        """Names of the tables that have these cells."""
        return tuple(dict.fromkeys(table for group in self.groups for table in group.tables))

    @property
    def epochs(self) -> int:
        """The number of epochs of these trainings."""
        return self.groups[0].epochs


@dataclass(frozen=True)
class NoiseModel:
    """Pools the noise of training, each statistic once."""

    evidence: Evidence
    _known: Dict[tuple, Optional[Noise]] = field(default_factory=dict)

    def of(self, run: str, statistic: Statistic) -> Optional[Noise]:
        """The noise of a statistic of a run; None if nothing is known about it."""
        own = self.evidence.group_of(run)
        if own is None:
            return None
        key = _setting(own), own.metrics, statistic
        if key not in self._known:
            self._known[key] = self._nearest(own, statistic)
        noise = self._known[key]
        if noise is None or noise.leaves_out(own):
            return noise
        seeds = len(self._values(own, statistic))
        if seeds >= MANY_SEEDS or not noise.equal and seeds >= ENOUGH_SEEDS:
            return self._noise([own], [], True, statistic)
        return noise

    def is_heavy(self, plan: StoredPlan, at: Position, run: str, statistic: Statistic) -> bool:
        """Whether a cell's noise is far larger than that of others.

        One training does not show that. It is then taken from the cell that differs only in the schedule.
        """
        own = self.evidence.group_of(run)
        if own is None or len(own.runs) > 1:
            return self._left_out(own, statistic)
        others = [cell for cell in plan.cells if sum(cell.at[axis] != at[axis] for axis in at) == 1]
        groups = [self.evidence.group_of(run) for cell in others for run in list(cell.runs.values())[:1]]
        return any(self._left_out(group, statistic) for group in groups if group and group.epochs != own.epochs)

    def _left_out(self, group: Optional[Group], statistic: Statistic) -> bool:
        noise = self.of(group.runs[0], statistic) if group else None
        return group is not None and noise is not None and noise.leaves_out(group)

    def _nearest(self, own: Group, statistic: Statistic) -> Optional[Noise]:
        found: List[Noise] = []
        for asked in dict.fromkeys((statistic, _of_boxes(statistic))):
            for groups in self._by_nearness(own):
                noise = self._pool(groups, asked)
                if noise is None:
                    continue
                noise = noise._replace(borrowed=asked != statistic or _setting(groups[0]) != _setting(own))
                if noise.training.freedom >= ENOUGH:
                    return noise
                found.append(noise)
        return max(found, key=lambda noise: noise.training.freedom, default=None)

    def _by_nearness(self, own: Group) -> Iterator[List[Group]]:
        """The cells that are trained alike: first those like ``own``, then those of other tables and schedules."""
        settings: Dict[Tuple[FrozenSet[str], int], List[Group]] = {}
        for group in self.evidence.groups:
            if group.metrics <= own.metrics or group.metrics >= own.metrics:  # the same kind of data
                settings.setdefault(_setting(group), []).append(group)

        def distance(setting: Tuple[FrozenSet[str], int]) -> tuple:
            return abs(setting[1] - own.epochs), setting[0] != own.shared, len(setting[0])

        for setting in sorted(settings, key=distance):
            yield settings[setting]

    def _pool(self, groups: List[Group], statistic: Statistic) -> Optional[Noise]:
        values = {group: self._values(group, statistic) for group in groups}
        # Cells with equal values are one training under several names: α = 0 is the same with both matching functions.
        names: Dict[bytes, List[Group]] = {}
        for group in groups:
            if len(values[group]) > 1:
                names.setdefault(np.sort(values[group]).tobytes(), []).append(group)
        cells = list(names.values())
        kept, heavy, equal = alike([values[several[0]] for several in cells])
        return self._noise([cells[i][0] for i in kept], [tuple(cells[i]) for i in heavy], equal, statistic)

    def _noise(
        self, groups: List[Group], heavy: List[Tuple[Group, ...]], equal: bool, statistic: Statistic
    ) -> Optional[Noise]:
        training = pooled([self._values(group, statistic) for group in groups])
        if training is None:
            return None
        left_out = [each for group in groups if (each := self.evidence.left_out_of(group.runs, statistic)) is not None]
        return Noise(training, interaction(left_out), tuple(groups), tuple(heavy), equal, statistic)

    def _values(self, group: Group, statistic: Statistic) -> np.ndarray:
        values = [self.evidence.value(run, statistic) for run in group.runs]
        return np.array([value for value in values if value is not None])


def _setting(group: Group) -> Tuple[FrozenSet[str], int]:
    return group.shared, group.epochs


def _of_boxes(statistic: Statistic) -> Statistic:
    """The same statistic of boxes in place of masks."""

    def boxes(measure: Measure) -> Measure:
        minus = measure.minus and measure.minus.replace('/mask_', '/')
        return measure._replace(key=measure.key.replace('/mask_', '/'), minus=minus)

    return Statistic(boxes(statistic.measure), statistic.less and boxes(statistic.less))
