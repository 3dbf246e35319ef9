"""The values in stored runs of the quantities that claims compare."""

from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterable, List, NamedTuple, Optional, Sequence, Set, Tuple, TypeVar

import numpy as np
import pandas as pd

from analysis.results import SPEED, is_speed, load_epochs, load_image_groups, load_plan, load_results, plan_names
from experiments.spec.schema import (
    Claim,
    Comparison,
    Epoch,
    ImageGroups,
    Overrides,
    Quantity,
    Result,
    Speed,
    StoredPlan,
)
from experiments.store.errors import UserError
from experiments.store.model import Metrics

N = TypeVar('N', float, np.ndarray)


class Measure(NamedTuple):
    """What a quantity is of a run, whatever its cell.

    Attributes:
        key (str): the metric.
        minus (str, optional): a metric that is subtracted.
        times (float): a factor.
        epoch (int, optional): the epoch after which it is taken; None is the last one.
        share (bool): the difference is divided by the metric: a gap as a share of the metric with NMS.
        plus (float): points that are added.
    """

    key: str
    minus: Optional[str] = None
    times: float = 1.0
    epoch: Optional[int] = None
    share: bool = False
    plus: float = 0.0

    @property
    def keys(self) -> Tuple[str, ...]:
        """The metrics that it is computed from."""
        return (self.key,) if self.minus is None else (self.key, self.minus)

    @property
    def unit(self) -> str:
        """The unit of its differences. Speeds are compared as ratios, in percent."""
        return '%' if self.share or is_speed(self.keys) else 'points'

    def of(self, metrics: Sequence[N]) -> N:
        """The value from the stored metrics: points, or percent of ``key``. Speeds stay in ms and 1/s."""
        value = metrics[0] - sum(metrics[1:])
        if self.share:
            value = value / metrics[0]
        return self.times * value * (1 if is_speed(self.keys) else 100) + self.plus


def measure(quantity: Quantity, share: bool = False) -> Measure:
    """The measure of a quantity."""
    return Measure(quantity.key, quantity.minus, quantity.times, quantity.epoch, share, quantity.plus)


class Statistic(NamedTuple):
    """A value of one training: a measure, or the difference of two measures of the same training."""

    measure: Measure
    less: Optional[Measure] = None

    @property
    def measures(self) -> Tuple[Measure, ...]:
        return (self.measure,) if self.less is None else (self.measure, self.less)


@dataclass(frozen=True)
class Group:
    """Trainings that differ only in the seed: a cell, in all tables that show it.

    Attributes:
        runs (tuple): their ids.
        tables (tuple): names of the tables.
        shared (frozenset): what sets these trainings apart from others of as many epochs: the variants and settings
            that all cells of a table share, such as the backbone of Table 6, and a cell's own data and backbone.
        epochs (int): number of epochs.
        metrics (frozenset): the names of the metrics that all of them have.
    """

    runs: Tuple[str, ...]
    tables: Tuple[str, ...]
    shared: frozenset
    epochs: int
    metrics: frozenset


@dataclass(frozen=True)
class Evidence:
    """The stored data of all runs of a folder.

    Attributes:
        runs (dict): results by run id.
        speeds (dict): speeds by run id.
        epochs (dict): epochs by run id; empty if no claim needs them.
        image_groups (dict): metrics without each group of test images, by run id.
        groups (tuple[Group]): the trainings by what they train.
        plans (dict): all plans by name.
    """

    runs: Dict[str, Result]
    speeds: Dict[str, Speed]
    epochs: Dict[str, List[Epoch]]
    image_groups: Dict[str, ImageGroups]
    groups: Tuple[Group, ...]
    plans: Dict[str, StoredPlan]

    def value(self, run: str, statistic: Statistic) -> Optional[float]:
        """A statistic of a run; None if it was not measured."""
        values = [self._value(run, each) for each in statistic.measures]
        known = [value for value in values if value is not None]
        return known[0] - sum(known[1:]) if len(known) == len(values) else None

    def left_out(self, run: str, statistic: Statistic) -> Optional[np.ndarray]:
        """(G,) a statistic of a run without each group of its test images; None if that was not stored."""
        values = [self._left_out(run, each) for each in statistic.measures]
        known = [value for value in values if value is not None]
        return known[0] - sum(known[1:]) if len(known) == len(values) else None

    def left_out_of(self, runs: Sequence[str], statistic: Statistic) -> Optional[np.ndarray]:
        """(n, G) a statistic of runs on the same images; None if it is not known of all, or if images or groups
        differ."""
        values = [self.left_out(run, statistic) for run in runs]
        known = [value for value in values if value is not None]
        same = self.same_images(runs) and len({len(value) for value in known}) == 1
        return np.stack(known) if len(known) == len(values) and same else None

    def same_images(self, runs: Sequence[str]) -> bool:
        """Whether runs were evaluated on the same images, as far as that was stored."""
        return len({self.image_groups[run].evaluated for run in runs if run in self.image_groups}) == 1

    def over_seeds(self, plan: StoredPlan, quantity: Quantity, share: bool = False) -> pd.Series:
        """A quantity of its cell by seed, NaN if it was not measured. The name of the series describes the quantity."""
        asked = Statistic(measure(quantity, share))
        values = {seed: self.value(run, asked) for seed, run in plan.cell_at(quantity.at).runs.items()}
        return pd.Series(values, dtype=float, name=words(plan, quantity, share))

    def group_of(self, run: str) -> Optional[Group]:
        """The trainings that a run belongs to; None if it has no result."""
        return next((group for group in self.groups if run in group.runs), None)

    def _value(self, run: str, asked: Measure) -> Optional[float]:
        metrics = self._metrics(run, asked)
        values = [metrics.get(key) for key in asked.keys]
        known = [value for value in values if value is not None]
        if len(known) < len(values) or asked.share and not known[0]:
            return None
        return asked.of(known)

    def _metrics(self, run: str, asked: Measure) -> Metrics:
        if asked.epoch is not None:
            epochs = self.epochs.get(run, ())
            return epochs[asked.epoch - 1].metrics if asked.epoch <= len(epochs) else {}
        stored = self.speeds if is_speed(asked.keys) else self.runs
        return stored[run].metrics if run in stored else {}

    def _left_out(self, run: str, asked: Measure) -> Optional[np.ndarray]:
        stored = self.image_groups.get(run)
        if stored is None or asked.epoch is not None or any(key not in stored.metrics for key in asked.keys):
            return None
        if any(None in stored.left_out[key] for key in asked.keys):
            return None
        return asked.of([stored.metrics[key] + np.array(stored.left_out[key]) / 1e6 for key in asked.keys])


def words(plan: StoredPlan, quantity: Quantity, share: bool = False) -> str:
    """A quantity in words: '0.5 × AP with NMS, Method FCOS, 1×, after epoch 6'."""
    value = ' − '.join(map(_metric_words, (quantity.key, quantity.minus) if quantity.minus else (quantity.key,)))
    if share:
        value = f'({value}) / {_metric_words(quantity.key)}'
    if quantity.times != 1:
        value = f'{quantity.times:g} × ' + (f'({value})' if quantity.minus else value)
    if quantity.plus:
        value += f' {"+" if quantity.plus > 0 else "−"} {abs(quantity.plus):g} points'
    when = [f'after epoch {quantity.epoch}'] if quantity.epoch else []
    return ', '.join([value, *plan.words(quantity.at), *when])


def _metric_words(key: str) -> str:
    """A key in words: 'with_nms/mask_AP' is 'mask AP with NMS', 'speed/without_nms/fps' is 'fps without NMS'."""
    reading, _, name = key.removeprefix(SPEED).rpartition('/')
    return f'{name} {reading}'.replace('_', ' ').replace('nms', 'NMS').strip()


def load_evidence(runs: Path, profile: str, plans: Sequence[StoredPlan]) -> Tuple[Evidence, List[str]]:
    """The evidence for the plans' claims, and a line for each broken file.

    The noise of training is estimated from all stored runs. So the runs of other tables are read too, and what is
    broken there is named as well: without it, intervals differ.

    Args:
        runs (Path): folder of the runs.
        profile (str): their profile.
        plans (sequence): the plans.
    """
    others, warnings = _other_plans(runs, profile, {plan.name for plan in plans})
    every = [*plans, *others]
    stored = [load_results(runs, profile, plan) for plan in every]
    warnings += [warning for each in stored[: len(plans)] for warning in each.warnings]
    warnings += [warning for each in stored[len(plans) :] for warning in each.broken]
    results = {run: result for each in stored for run, result in each.runs.items()}
    speeds = {run: speed for each in stored for run, speed in each.speeds.items()}
    epochs: Dict[str, List[Epoch]] = {}
    if any(side.epoch is not None for plan in plans for side in _sides(plan.claims)):
        for plan in every:
            found, broken = load_epochs(runs, profile, plan)
            epochs |= found
            warnings += broken if plan in plans else []
    image_groups, broken = load_image_groups(runs, profile, results)
    warnings += broken
    by_name = {plan.name: plan for plan in every}
    evidence = Evidence(results, speeds, epochs, image_groups, _groups(every, results), by_name)
    return evidence, list(dict.fromkeys(warnings))


def _other_plans(runs: Path, profile: str, names: Set[str]) -> Tuple[List[StoredPlan], List[str]]:
    """The other plans of the profile, and a line for each that cannot be read. Plans with other settings differ."""
    plans, warnings = [], []
    for name in plan_names(runs, profile):
        if name not in names:
            try:
                plans.append(load_plan(runs, profile, name))
            except UserError as error:
                warnings.append(f'{error}: left out')
    return plans, warnings


def _sides(claims: Iterable[Claim]) -> List[Quantity]:
    comparisons: List[Comparison] = [comparison for claim in claims for comparison in claim.every_comparison]
    others = [each.more_than for each in comparisons if each.more_than]
    return [side for each in comparisons for side in (each.left, each.right)] + [
        side for other in others for side in (other.left, other.right)
    ]


#: Parts of a config that are a cell's data or backbone. Cells that differ there are not trained alike.
_DATA_AND_BACKBONE = ('generate.', 'model.backbone', 'model.neck', 'train_dataloader.dataset', 'val_dataloader.dataset')


def _groups(plans: Sequence[StoredPlan], results: Dict[str, Result]) -> Tuple[Group, ...]:
    """The trainings of all cells. Cells of several tables that share a run are one group."""
    found: List[Tuple[Set[str], Set[str], Set[str]]] = []  # runs, tables, what they share
    for plan in plans:
        of_cells = [{*cell.use} | _texts(cell.overrides) for cell in plan.cells]
        shared = _texts(plan.overrides).union(set.intersection(*of_cells) if of_cells else ())
        for cell in plan.cells:
            runs = {run for run in cell.runs.values() if run in results}
            if runs:
                own = {key: value for key, value in cell.overrides.items() if key.startswith(_DATA_AND_BACKBONE)}
                same = [group for group in found if group[0] & runs]
                found = [group for group in found if not group[0] & runs]
                merged = set(runs), {plan.name}, shared | _texts(own)
                for group in same:
                    merged = merged[0] | group[0], merged[1] | group[1], merged[2] & group[2]
                found.append(merged)
    return tuple(_group(runs, tables, shared, results) for runs, tables, shared in found)


def _texts(overrides: Overrides) -> Set[str]:
    return {f'{key}={value}' for key, value in overrides.items()}


def _group(runs: Set[str], tables: Set[str], shared: Set[str], results: Dict[str, Result]) -> Group:
    metrics = frozenset.intersection(*(frozenset(results[run].metrics) for run in runs))
    epochs = results[min(runs)].epochs or 0
    return Group(tuple(sorted(runs)), tuple(sorted(tables)), frozenset(shared), epochs, metrics)
