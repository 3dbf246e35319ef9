"""A cluster's settings, from a YAML file such as those in the folder ``slurm``."""

import dataclasses
import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

from experiments.spec.yaml_file import YamlFile, read_yaml
from experiments.store.errors import UserError


@dataclass(frozen=True)
class Settings:
    """What one run asks of Slurm; the keys of the file have the same names.

    Attributes:
        partition, account, qos, constraint (str): as sbatch has them; what is not given is the cluster's default.
        gpus_per_node (int): GPUs of one run on each of its nodes; 0 trains on the CPU.
        nodes (int): nodes of one run.
        tasks_per_node (int): processes of one run on each node: one per GPU; without GPUs 1, or as many as it says.
        cpus_per_task (int): cores of each process, and the threads that it computes with.
        mem_gb (float): memory on each node in GB.
        timeout_min (int): time limit in minutes; a run that needs longer goes on in the queue from its last epoch.
        signal_delay_s (int): seconds before the time limit at which a job is put back into the queue.
        array_parallelism (int): runs at once.
        setup (tuple[str]): lines of shell before the training starts, such as ``module load cuda``.
        sbatch (dict): any other options of sbatch, without dashes in front; ``true`` for one without a value.
    """

    partition: Optional[str] = None
    account: Optional[str] = None
    qos: Optional[str] = None
    constraint: Optional[str] = None
    gpus_per_node: int = 0
    nodes: int = 1
    tasks_per_node: int = 1
    cpus_per_task: int = 1
    mem_gb: Optional[float] = None
    timeout_min: int = 60
    signal_delay_s: int = 90
    array_parallelism: int = 256
    setup: Tuple[str, ...] = ()
    sbatch: Dict[str, Any] = field(default_factory=dict)

    @property
    def tasks(self) -> int:
        """Processes of one run."""
        return self.nodes * self.tasks_per_node


_TEXTS = ('partition', 'account', 'qos', 'constraint')
#: Whole numbers and the least of each.
_COUNTS = dict(
    gpus_per_node=0,
    nodes=1,
    tasks_per_node=1,
    cpus_per_task=1,
    timeout_min=1,
    signal_delay_s=1,
    array_parallelism=1,
)


def read_settings(path: Path) -> Settings:
    """Read a cluster file.

    Raises:
        UserError: the file is missing or is no YAML, or a key is unknown or has a wrong value.
    """
    file = YamlFile(path)
    content = _load(path)
    if not isinstance(content, dict):
        raise UserError(f'{path}: must map keys to values, such as "partition: gpu"')
    known = [entry.name for entry in dataclasses.fields(Settings)]
    for key, value in content.items():
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 3, 0.5)
            hint = f'did you mean {" or ".join(near)}?' if near else f'known keys: {", ".join(known)}'
            file.fail(str(key), f'unknown key; {hint} (other options of sbatch stand under "sbatch")')
        _check(file, key, value)
    content = {key: tuple(value) if key == 'setup' else value for key, value in content.items()}
    content.setdefault('tasks_per_node', content.get('gpus_per_node') or 1)
    return _consistent(file, Settings(**content))


def _load(path: Path) -> Any:
    try:
        return read_yaml(path)
    except OSError as error:
        raise UserError(f'{path}: {error.strerror}; name a file such as slurm/single-gpu.yaml') from error


def _check(file: YamlFile, key: str, value: Any) -> None:
    if key in _TEXTS and not isinstance(value, str):
        file.fail(key, f'must be text, not {value!r}')
    if key in _COUNTS and (type(value) is not int or value < _COUNTS[key]):
        file.fail(key, f'must be a whole number from {_COUNTS[key]}, not {value!r}')
    if key == 'mem_gb' and (isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0):
        file.fail(key, f'must be a number of GB, not {value!r}')
    if key == 'setup':
        file.texts(value, key)
    if key == 'sbatch':
        for option, setting in file.mapping(value, key).items():
            if not isinstance(setting, (str, int, float)) or setting is False:
                file.fail(f'{key}.{option}', f'must be text, a number or true, not {setting!r}')


def _consistent(file: YamlFile, settings: Settings) -> Settings:
    if settings.gpus_per_node not in (0, settings.tasks_per_node):
        file.fail(
            'tasks_per_node', f'must be that of gpus_per_node, {settings.gpus_per_node}, as each GPU has one process'
        )
    if settings.signal_delay_s >= 60 * settings.timeout_min:
        file.fail('signal_delay_s', f'must be shorter than timeout_min, {settings.timeout_min} minutes')
    return settings
