"""How long an epoch of each kind of run takes: from finished runs, from a probe, or from a given rate."""

import contextlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, List, Optional

from experiments.commands.estimate.cost_key import cost_key
from experiments.commands.estimate.counts import Counts, counts
from experiments.launchers.protocol import Capacity
from experiments.store.errors import UserError
from experiments.store.runs import DONE, RunFolder

#: Evaluation is only the forward pass, about a third of a training step.
EVALUATION_IS_FASTER = 3.0
#: A probe with less than this share of its cores was disturbed.
_ALONE = 0.85
#: Sources of an epoch's duration.
STORED, PROBED, TOLD, LIKE_OTHERS = 'finished runs', 'the probe', '--images-per-second', "other models' images/s"


@dataclass(frozen=True)
class EpochCost:
    """Seconds of one epoch, evaluation included, and their source."""

    seconds: float
    source: str


def stored(configs: Dict[str, dict], folders: Dict[str, RunFolder]) -> Dict[str, EpochCost]:
    """Mean epoch of each kind that has finished runs, by kind.

    Args:
        configs (dict): configs of all runs, by id.
        folders (dict): their folders, by id.
    """
    seconds: Dict[str, List[float]] = {}
    for run_id, config in configs.items():
        if folders[run_id].status().state == DONE:
            with contextlib.suppress(UserError):  # a damaged file has no usable times
                epochs = [entry['seconds'] for entry in folders[run_id].epochs()]
                if epochs:
                    seconds.setdefault(cost_key(config), []).append(sum(epochs) / len(epochs))
    return {kind: EpochCost(sum(means) / len(means), STORED) for kind, means in seconds.items()}


def told(kinds: Dict[str, dict], rate: float, data: Path) -> Dict[str, EpochCost]:
    """Epochs at ``rate`` training images per second, by kind. ``kinds`` has one config of each."""
    seen = {kind: counts(config, data) for kind, config in kinds.items()}
    return {
        kind: EpochCost(one.train / rate + one.mean_val / (rate * EVALUATION_IS_FASTER), TOLD)
        for kind, one in seen.items()
        if one
    }


def probed(
    kinds: Dict[str, dict],
    seconds: float,
    capacity: Capacity,
    say: Callable[[str], None],
    labels: Dict[str, str],
    data: Path,
) -> Dict[str, EpochCost]:
    """Epochs as measured by a probe on this machine, by kind. As many probes run at once as there will be runs.

    Args:
        kinds (dict): one config of each kind.
        seconds (float): total duration.
        capacity (Capacity): the resources of the runs.
        say (callable): called with a line about each kind.
        labels (dict): name of each kind.
        data (Path): the data folder.
    """
    from experiments.commands.estimate.probe import probe
    from experiments.launchers.local import in_process
    from experiments.machine import gpus

    devices = gpus()
    found: Dict[str, List[float]] = {}
    order = list(kinds)

    def one(slot: int) -> None:
        mine = {kind: kinds[kind] for kind in order[slot % len(order) :: capacity.runs]}
        device = devices[slot % len(devices)] if devices else None

        def report(kind: str, train: float, val: float, share: int, had: float) -> None:
            seen = counts(kinds[kind], data)
            trains = train * capacity.processes
            busy = '' if had > _ALONE else f'; it had {100 * had:.0f} % of its cores, as other work was going on'
            say(f'probed {labels[kind]}: trains {trains:.3g} and evaluates {val:.3g} images/s, {share} in a step{busy}')
            if seen is not None:
                found.setdefault(kind, []).append(seen.train / trains + seen.mean_val / val)

        in_process(probe, mine, seconds, capacity.processes, capacity.threads, device, data, report)

    with ThreadPoolExecutor(capacity.runs) as pool:
        for done in [pool.submit(one, slot) for slot in range(capacity.runs)]:
            done.result()
    return {kind: EpochCost(sum(each) / len(each), PROBED) for kind, each in found.items()}


def complete(
    kinds: Dict[str, dict], known: Dict[str, EpochCost], all_kinds: Dict[str, dict], data: Path
) -> Dict[str, EpochCost]:
    """``known``, and for each other kind an epoch at the mean images per second of the known kinds on the same data.

    Args:
        kinds (dict): one config of each kind that is to be trained.
        known (dict): epochs by kind.
        all_kinds (dict): one config of every kind in ``known``.
        data (Path): the data folder.
    """
    found = dict(known)
    for kind, config in kinds.items():
        alike = {other: all_kinds[other] for other in known if _same_data(all_kinds[other], config)}
        seen = counts(config, data) if alike and kind not in known else None
        if seen is None:
            continue
        others = [per for other in alike if (per := _per_image(alike[other], known[other], data)) is not None]
        if others:
            found[kind] = EpochCost(_images(seen) * sum(others) / len(others), LIKE_OTHERS)
    return found


def _same_data(one: dict, other: dict) -> bool:
    first, second = (config['train_dataloader']['dataset'] for config in (one, other))
    return all(first.get(key) == second.get(key) for key in ('data_root', 'ann_file', 'dataset', 'datasets'))


def _per_image(config: dict, epoch: EpochCost, data: Path) -> Optional[float]:
    seen = counts(config, data)
    return epoch.seconds / _images(seen) if seen else None


def _images(seen: Counts) -> float:
    return seen.train + seen.mean_val / EVALUATION_IS_FASTER
