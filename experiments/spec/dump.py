"""Standalone mmengine configs of a plan's runs, for MMDetection's own tools. They do not need ``experiments``."""

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Dict, List, Sequence

from experiments.spec.config import HELPERS, Run
from experiments.spec.paths import data_paths, substitute_paths
from experiments.spec.plan import Plan
from experiments.spec.schema import Axis, Cell, Table
from experiments.store.errors import UserError
from experiments.store.files import make_folder, write_whole

#: What nothing reads in a finished config.
LEFTOVERS = {*HELPERS, 'augmentation_seed', 'generate', 'max_workers'}


def dump_configs(plans: Sequence[Plan], folder: Path, data: Path) -> Dict[Path, List[str]]:
    """Write one config for each distinct run.

    Args:
        plans (sequence[Plan]): tables, resolved.
        folder (Path): where the files go; it is created.
        data (Path): the data folder, which replaces ``${DATA}`` and the like.

    Returns:
        dict[Path, list[str]]: file -> the cells that its run fills.

    Raises:
        UserError: the runs use a subset, the folder cannot be written, or a file of that name exists with other
            content.
    """
    if any(run.config.get('subset') for plan in plans for run in plan.runs().values()):
        raise UserError("--dump-configs: MMDetection's own tools know no --subset; dump the whole profile")
    make_folder(folder)
    runs: Dict[str, Run] = {}
    names: Dict[str, str] = {}
    cells: Dict[str, List[str]] = {}
    for plan in plans:
        for planned in plan.cells:
            for seed, run in planned.runs.items():
                runs[run.id] = run
                names.setdefault(run.id, file_name(plan.table, planned.cell, seed))
                cells.setdefault(run.id, []).append(f'{plan.name} {planned.cell.label}')
    _make_unique(names)
    return {
        _write(folder / f'{names[run_id]}.py', _content(run, names[run_id], cells[run_id], data)): cells[run_id]
        for run_id, run in runs.items()
    }


def file_name(table: Table, cell: Cell, seed: int) -> str:
    """The file name of a cell, without extension: ``table5-Ours-3convs-3x``, ``table2-k7``."""
    parts = [_part(table.axes[axis], value) for axis, value in cell.at.items()]
    return '-'.join([_safe(table.name), *parts, *([f'seed{seed}'] if seed else [])])


def _part(axis: Axis, value: str) -> str:
    """A value's name, with the name of its axis if the value is a bare number."""
    return _safe(axis.name + value if re.fullmatch(r'[\d.]+', value) else value)


def _safe(text: str) -> str:
    return re.sub(r'[^\w.+-]+', '_', text)


def _make_unique(names: Dict[str, str]) -> None:
    """Add the run's id where names are equal, ignoring case, as some file systems do."""
    folded = [name.casefold() for name in names.values()]
    for run_id, name in names.items():
        if folded.count(name.casefold()) > 1:
            names[run_id] = f'{name}-{run_id}'


def _content(run: Run, name: str, cells: List[str], data: Path) -> str:
    config = substitute_paths(run.config, data_paths(run.config, data.absolute()))
    config = {key: value for key, value in config.items() if key not in LEFTOVERS}
    loader = config['train_dataloader']
    # MMDetection's tools take the batch size per GPU.
    config['train_dataloader'] = dict(loader, batch_size=loader['batch_size'] // gpus_of(run))
    return _header(run, cells) + replace(run, config=dict(config, work_dir=f'./work_dirs/{name}')).config_text


def gpus_of(run: Run) -> int:
    """The number of GPUs of a dumped config: 8, as published, or fewer if the batch does not divide; 1 for the desk."""
    if not run.config.get('auto_scale_lr', {}).get('enable'):
        return 1
    return math.gcd(run.config['train_dataloader']['batch_size'], 8)


def _header(run: Run, cells: List[str]) -> str:
    lines = [
        f'{cells[0]}: profile {run.profile}, seed {run.seed}, run {run.id}.',
        *(f'The same training fills {cell}.' for cell in cells[1:]),
        'Written by experiments/run.py --dump-configs. It needs MMDetection 3.3 and the package o2f, nothing else:',
        '    python tools/train.py THIS_FILE',
        '    python tools/test.py THIS_FILE CHECKPOINT    (with mmcv-lite: python -m o2f tools/test.py ...)',
    ]
    images, gpus = run.config['train_dataloader']['batch_size'], gpus_of(run)
    lines.append(f'A batch is {images} images, {images // gpus} on each of {gpus} GPU(s).')
    if run.config.get('auto_scale_lr', {}).get('enable'):
        lines.append('With another number of GPUs the learning rate follows linearly (auto_scale_lr).')
    if run.config.get('generate'):
        lines.append('Its data are generated: run a cell of the profile with experiments/run.py first.')
    # A name in a table file may have a line break, and what follows it would be code.
    plain = [''.join(letter if letter.isprintable() else ' ' for letter in line) for line in lines]
    return ''.join(f'# {line}\n' for line in plain) + '\n'


def _write(path: Path, content: str) -> Path:
    if path.exists() and path.read_text(encoding='utf-8') != content:
        raise UserError(f'{path} is there already and is another: delete it, or choose another folder')
    write_whole(path, content)
    return path
