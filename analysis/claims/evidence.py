"""The values in stored runs of the quantities that claims compare."""

from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
import pandas as pd

from analysis.claims.matches import StoredMatches, load_matches
from analysis.claims.statistics import over_images
from analysis.results import SPEED, Results, load_epochs, load_results
from experiments.spec.schema import Claim, Epoch, Quantity, StoredPlan


@dataclass(frozen=True)
class Evidence:
    """The stored data of a plan's runs.

    Attributes:
        plan (StoredPlan): the plan.
        results (Results): the final results and speeds.
        epochs (dict): epochs by run id; empty if no claim needs them.
        matches (dict): matches by run id.
        resampled (dict): (samples,) fractions on samples of the test images, by run id and key.
    """

    plan: StoredPlan
    results: Results
    epochs: Dict[str, List[Epoch]]
    matches: Dict[str, StoredMatches]
    resampled: Dict[Tuple[str, str], np.ndarray]

    def value(self, run: str, quantity: Quantity) -> Optional[float]:
        """A quantity of a run, whatever its cell, in its unit; None if it was not measured."""
        stored = [self._stored(run, key, quantity.epoch) for key in quantity.keys]
        values = [value for value in stored if value is not None]
        if len(values) < len(stored):
            return None
        return quantity.times * scale(quantity.key) * (values[0] - sum(values[1:]))

    def over_seeds(self, quantity: Quantity) -> pd.Series:
        """A quantity of its cell by seed, NaN if it was not measured. The name of the series describes the quantity."""
        runs = self.plan.cell_at(quantity.at).runs
        values = {seed: self.value(run, quantity) for seed, run in runs.items()}
        return pd.Series(values, dtype=float, name=words(self.plan, quantity))

    def on_samples(self, run: str, quantity: Quantity) -> Optional[np.ndarray]:
        """(samples,) a quantity of a run on samples of the test images; None if there are no matches."""
        if quantity.epoch is not None or any((run, key) not in self.resampled for key in quantity.keys):
            return None
        values = [self.resampled[run, key] for key in quantity.keys]
        return quantity.times * scale(quantity.key) * (values[0] - sum(values[1:]))

    def _stored(self, run: str, key: str, epoch: Optional[int]) -> Optional[float]:
        if epoch is None:
            return self.results.number(run, key)
        epochs = self.epochs.get(run, ())
        return epochs[epoch - 1].metrics.get(key) if epoch <= len(epochs) else None


def words(plan: StoredPlan, quantity: Quantity) -> str:
    """A quantity in words: '0.5 × AP with NMS, Method FCOS, 1×, after epoch 6'."""
    value = ' − '.join(map(_metric_words, quantity.keys))
    if quantity.times != 1:
        value = f'{quantity.times:g} × ' + (f'({value})' if quantity.minus else value)
    when = [f'after epoch {quantity.epoch}'] if quantity.epoch else []
    return ', '.join([value, *plan.words(quantity.at), *when])


def _metric_words(key: str) -> str:
    """A key in words: 'with_nms/mask_AP' is 'mask AP with NMS', 'speed/without_nms/fps' is 'fps without NMS'."""
    reading, _, name = key.removeprefix(SPEED).rpartition('/')
    return f'{name} {reading}'.replace('_', ' ').replace('nms', 'NMS').strip()


def unit(key: str) -> str:
    """The unit of differences of a metric."""
    if not key.startswith(SPEED):
        return 'points'
    return '1/s' if key.endswith('fps') else 'ms'


def scale(key: str) -> float:
    """The factor from the stored number to that unit."""
    return 1.0 if key.startswith(SPEED) else 100.0


def load_evidence(
    runs: Path, profile: str, plans: Sequence[StoredPlan], samples: int
) -> Tuple[List[Evidence], List[str]]:
    """The evidence for each plan's claims, and a line for each broken file.

    Args:
        runs (Path): folder of the runs.
        profile (str): their profile.
        plans (sequence): the plans.
        samples (int): number of samples of the test images.
    """
    stored = [load_results(runs, profile, plan) for plan in plans]
    warnings = [warning for each in stored for warning in each.warnings]
    epochs = []
    for plan in plans:
        needed = any(quantity.epoch is not None for quantity in _quantities(plan.claims))
        found, broken = load_epochs(runs, profile, plan) if needed else ({}, [])
        epochs.append(found)
        warnings += broken
    wanted = [
        (run, key)
        for plan in plans
        for quantity in _quantities(plan.claims)
        for run in plan.cell_at(quantity.at).runs.values()
        for key in quantity.keys
        if quantity.epoch is None
    ]
    metrics = {run: result.metrics for each in stored for run, result in each.runs.items()}
    matches, broken = _load_matches(runs, profile, {run: metrics[run] for run, _ in wanted if run in metrics})
    resampled = over_images(matches, wanted, samples)
    evidence = [Evidence(*each, matches, resampled) for each in zip(plans, stored, epochs)]
    return evidence, list(dict.fromkeys(warnings + broken))


def _quantities(claims: Sequence[Claim]) -> List[Quantity]:
    comparisons = [comparison for claim in claims for comparison in claim.comparisons]
    return [quantity for each in comparisons for quantity in (each.left, each.right)]


def _load_matches(
    runs: Path, profile: str, metrics: Dict[str, Dict[str, Optional[float]]]
) -> Tuple[Dict[str, StoredMatches], List[str]]:
    """The matches of runs by id, checked against the metrics of their results, and a line for each broken file."""
    found, warnings = {}, []
    for run, of_run in metrics.items():
        path = Path(runs) / profile / run / 'matches.npz'
        if path.exists():
            try:
                matches = load_matches(path)
                matches.check(of_run)
                found[run] = matches
            except ValueError as error:
                warnings.append(f'{path}: {error}: left out')
    return found, warnings
