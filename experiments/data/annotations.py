"""The annotation files of runs: looked at before a training, and known again by their digests afterwards."""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Callable, Dict, Iterable, List, Optional, Sequence

from experiments.spec.config import Run
from experiments.spec.paths import data_paths, makes_data, substitute_paths
from experiments.store.errors import UserError
from experiments.store.runs import RunFolder


def look(configs: Sequence[dict], report: Callable[[str], None]) -> None:
    """Look at the datasets of configs, each once (:mod:`o2f.io.dataset_check`). It imports torch.

    Args:
        configs (sequence[dict]): resolved configs with the paths of this machine.
        report (callable): called with a line for each thing that is changed or worth knowing.

    Raises:
        UserError: a dataset would be trained on wrongly, or not at all.
    """
    import o2f  # noqa: F401  (before MMDetection)
    from o2f.errors import InputError
    from o2f.io.dataset_check import inspect_once

    for found in inspect_once(configs):
        try:
            found.require()
        except InputError as error:
            raise UserError(str(error)) from error
        for finding in found.findings:
            report(f'{finding.file}: {finding.says}')


def remember(run: Run, folder: RunFolder, data: Path) -> None:
    """Store the digests of the annotation files that a run is about to be trained on, unless it has an epoch already.

    Raises:
        UserError: the folder cannot be written.
    """
    if not folder.status().epoch:
        folder.set_data(digests(run.config, data))


def changed_since(run: Run, folder: RunFolder, data: Path) -> List[str]:
    """The annotation files that are others now than when the run was trained, also those of another data folder.

    Runs that were trained before digests were stored have none to compare."""
    before = folder.data() if folder.status().epoch else {}
    now = digests(run.config, data, before) if before else {}
    return [
        entry['path'] for name, entry in now.items() if name in before and entry['sha256'] != before[name]['sha256']
    ]


def digests(config: dict, data: Path, known: Optional[Dict[str, dict]] = None) -> Dict[str, dict]:
    """Path, size, time and SHA-256 of a run's annotation files, by their loader. Generated data have none: folders name
    their content.

    Args:
        config (dict): the run's resolved config.
        data (Path): the data folder.
        known (dict, optional): earlier digests. A file of the same size and time is not read again.
    """
    found = {}
    for loader in ('train_dataloader', 'val_dataloader'):
        path = annotation_file(config, loader, data)
        if path is None or not path.is_file():
            continue
        stat, earlier = path.stat(), (known or {}).get(loader, {})
        entry = dict(path=str(path), bytes=stat.st_size, mtime_ns=stat.st_mtime_ns)
        same = all(earlier.get(key) == value for key, value in entry.items())
        found[loader] = dict(entry, sha256=earlier['sha256'] if same else _sha256_once(*entry.values()))
    return found


@lru_cache(maxsize=None)
def _sha256_once(path: str, *_: int) -> str:
    """The digest of a file of this size and time, for all runs of a command."""
    return sha256(Path(path))


def annotation_file(config: dict, loader: str, data: Path) -> Optional[Path]:
    """The annotation file of a run's loader, whether it is there or not. None for generated data, and for a wrapper of
    datasets, which names none itself.

    Args:
        config (dict): the run's resolved config.
        loader (str): 'train_dataloader' or 'val_dataloader'.
        data (Path): the data folder.
    """
    dataset = substitute_paths(config[loader]['dataset'], data_paths(config, data))
    if makes_data(config) or not dataset.get('ann_file'):
        return None
    return Path(dataset.get('data_root') or '', dataset['ann_file'])


def differing(cells: Iterable[Sequence[RunFolder]]) -> List[str]:
    """The annotation files, by their last path, that had not the same content in all trainings of a cell, or that were
    changed in place between those of two cells. Cells may have different files."""
    found: Dict[tuple, Dict[str, str]] = {}
    for place, folders in enumerate(cells):
        for folder in folders:
            for loader, entry in _stored(folder).items():
                for group in ((place, loader), (entry['path'],)):
                    found.setdefault(group, {})[entry['sha256']] = entry['path']
    return list(dict.fromkeys([*paths.values()][-1] for paths in found.values() if len(paths) > 1))


def _stored(folder: RunFolder) -> Dict[str, dict]:
    """The digests of a training that has begun. Of a damaged file nothing is known."""
    try:
        return folder.data() if folder.status().epoch else {}
    except UserError:
        return {}


def sha256(path: Path) -> str:
    """The digest of a file in hex digits."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
