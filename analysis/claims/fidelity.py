"""The differences that the paper prints, against the same differences measured.

A difference is between two numbers of one metric in one table, whose cells stand in one row or one column, or between
the two numbers of one cell, without and with NMS. Speeds depend on the machine and are left out.
"""

import itertools
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Iterator, List, NamedTuple, Tuple

import numpy as np
import pandas as pd

from analysis.claims.evidence import load_evidence
from analysis.claims.finding import Comparer
from analysis.claims.noise import NoiseModel
from analysis.claims.statistics import CONFIDENCE, Interval
from analysis.results import SPEED, load_plan, paper_numbers, plan_names
from experiments.spec.schema import Cell, Comparison, Quantity, StoredPlan

#: Printed differences above this many points count for the share of signs that agree.
CLEAR = 0.5
#: Draws of the bootstrap.
_DRAWS = 1000
COLUMNS = ('table', 'left', 'right', 'trainings', 'paper', 'measured', 'low', 'high')


class Printed(NamedTuple):
    """A number that the paper prints: its cell, its metric, its place in the cell, its key and its value."""

    cell: Cell
    metric: str
    place: int
    key: str
    value: float


def measured_differences(runs: Path, profile: str) -> pd.DataFrame:
    """All differences that the paper prints and that were measured, one per row.

    Returns:
        DataFrame: the left side is the larger one in the paper. The columns are

        ============  ========================================================================================
        table         name of the table
        left, right   the key and the position of each side, such as 'without_nms/AP k=7'
        trainings     the run of the first seed of each side, joined by a space; one id if both are one training
        paper         the paper's difference in points, 0 or more
        measured      the measured one, in points
        low, high     its 95 % interval (docs/claims.md); NaN if the noise of training is not known
        ============  ========================================================================================

    Raises:
        UserError: a plan is broken.
    """
    plans = [load_plan(runs, profile, name) for name in plan_names(runs, profile)]
    noise = NoiseModel(load_evidence(runs, profile, plans)[0])
    rows = [row for plan in plans if not plan.overrides for row in _rows(Comparer(noise, plan))]
    numbers = {name: float for name in COLUMNS[4:]}
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(numbers).round(3)


def _rows(comparer: Comparer) -> Iterator[tuple]:
    for pair in printed_pairs(comparer.plan):
        left, right = sorted(pair, key=lambda number: -number.value)
        sides = (Quantity(key=number.key, at=number.cell.at) for number in (left, right))
        found = comparer.finding(Comparison(left=next(sides), relation='greater', right=next(sides)), CONFIDENCE)
        if found.effect is not None:
            low, high = found.interval or (math.nan, math.nan)
            trainings = dict.fromkeys(number.cell.runs[min(number.cell.runs)] for number in (left, right))
            names = (f'{number.key} {number.cell.label}' for number in (left, right))
            yield comparer.plan.name, *names, ' '.join(trainings), left.value - right.value, found.effect, low, high


def printed_pairs(plan: StoredPlan) -> List[Tuple[Printed, Printed]]:
    """The pairs of numbers whose difference the paper prints. Cells of one training and one key are no pair."""
    numbers = [
        Printed(cell, metric, place, key, printed[key])
        for cell in plan.cells
        for printed in [paper_numbers(cell)]
        for metric, keys in cell.keys.items()
        for place, key in enumerate(keys)
        if key in printed and not key.startswith(SPEED)
    ]
    return [pair for pair in itertools.combinations(numbers, 2) if _compared(plan, *pair)]


def _compared(plan: StoredPlan, left: Printed, right: Printed) -> bool:
    if left.metric != right.metric:
        return False
    if left.cell is right.cell:
        return True
    one_line = any(
        all(left.cell.at[axis] == right.cell.at[axis] for axis in axes) for axes in (plan.rows, plan.columns)
    )
    same = left.cell.runs == right.cell.runs and left.key == right.key
    return one_line and left.place == right.place and not same


@dataclass(frozen=True)
class Value:
    """A statistic and its 95 % interval. All are NaN where the differences do not define it."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Agreement:
    """How measured differences agree with printed ones.

    Attributes:
        differences (int): their number.
        clear (int): the number of those that the paper prints with more than ``CLEAR`` points.
        kendall (Value): Kendall's rank correlation (tau-b).
        pearson (Value): Pearson's correlation.
        slope (Value): the measured difference per point of the paper's, by least squares through 0.
        signs (Value): the share of the ``clear`` ones whose sign was measured.
    """

    differences: int
    clear: int
    kendall: Value
    pearson: Value
    slope: Value
    signs: Value

    def content(self) -> dict:
        """The numbers by name, None for NaN."""

        def defined(value):
            if isinstance(value, dict):
                return {key: defined(each) for key, each in value.items()}
            return None if math.isnan(value) else round(value, 4)

        return {key: defined(value) for key, value in asdict(self).items()}


def agreement(frame: pd.DataFrame) -> Agreement:
    """The agreement of some differences.

    Which side of a difference comes first is arbitrary. So each counts in both directions, and no statistic depends on
    it. A training stands in many differences. So trainings are drawn for the bootstrap, with replacement, and a
    difference counts as often as the product of its trainings' numbers. Tables are not drawn: they are few, and they
    are all that the paper has.
    """
    x, y = frame['paper'].to_numpy(), frame['measured'].to_numpy()
    weights = np.vstack([np.ones(len(frame)), _draws(frame['trainings'])])
    clear = x > CLEAR
    with np.errstate(divide='ignore', invalid='ignore'):
        xy, xx, yy = (weights @ product for product in (x * y, x * x, y * y))
        found = dict(
            kendall=_kendall(x, y, weights),
            pearson=xy / np.sqrt(xx * yy),
            slope=xy / xx,
            signs=weights[:, clear] @ (y[clear] > 0) / weights[:, clear].sum(axis=1),
        )
    return Agreement(len(frame), int(clear.sum()), **{name: _value(values) for name, values in found.items()})


def _draws(trainings: pd.Series) -> np.ndarray:
    """(draws, n) how often each difference counts if trainings are drawn with replacement."""
    pairs = [each.split(' ') for each in trainings]
    places = {training: place for place, training in enumerate(dict.fromkeys(itertools.chain(*pairs)))}
    number = max(1, len(places))
    drawn = np.random.default_rng(0).multinomial(number, [1 / number] * number, _DRAWS)
    left, right = (np.array([places[pair[end]] for pair in pairs], int) for end in (0, -1))
    return np.where(left == right, drawn[:, left], drawn[:, left] * drawn[:, right]).astype(float)


def _kendall(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(k,) tau-b of the points (x, y) and (-x, -y), with each of (k, n) weights."""

    def paired(concordance: np.ndarray) -> np.ndarray:
        return np.einsum('kn,kn->k', weights @ concordance, weights)

    signs = [[np.sign(other(values, values)) for values in (x, y)] for other in (np.subtract.outer, np.add.outer)]
    both = paired(sum(of_x * of_y for of_x, of_y in signs))
    return both / np.sqrt(paired(sum(of_x**2 for of_x, _ in signs)) * paired(sum(of_y**2 for _, of_y in signs)))


def _value(values: np.ndarray) -> Value:
    """The statistic, which comes first, and the bootstrap's interval."""
    drawn = values[1:][np.isfinite(values[1:])]
    ends: Interval = (math.nan, math.nan)
    if len(drawn) >= _DRAWS / 2:
        low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        ends = float(low), float(high)
    return Value(float(values[0]), *ends)
