"""A cluster's settings, from a YAML file such as those in the folder ``slurm``."""

from pathlib import Path
from typing import Annotated, Dict, Optional, Tuple, Union

from pydantic import Field, StrictInt, StrictStr, model_validator

from experiments.store.errors import UserError
from experiments.store.files import read_yaml
from experiments.store.model import Model, Number, naming

#: Options of sbatch that have a key of their own, and those that belong to the launcher.
_KEYS = {
    'array': 'array_parallelism',
    'time': 'timeout_min',
    'nodes': 'nodes',
    'ntasks': 'tasks_per_node',
    'ntasks-per-node': 'tasks_per_node',
    'gpus-per-node': 'gpus_per_node',
    'cpus-per-task': 'cpus_per_task',
    'mem': 'mem_gb',
    'signal': 'signal_delay_s',
    'partition': 'partition',
    'account': 'account',
    'qos': 'qos',
    'constraint': 'constraint',
}
_OF_THE_LAUNCHER = ('output', 'error', 'job-name', 'open-mode')
Count = Annotated[StrictInt, Field(ge=1)]


class Settings(Model):
    """What one run requests from Slurm. The keys of the file have the same names.

    Attributes:
        partition, account, qos, constraint (str): options of sbatch; the default is the cluster's.
        gpus_per_node (int): GPUs of one run on each of its nodes; 0 trains on the CPU.
        nodes (int): nodes of one run.
        tasks_per_node (int): processes of one run on each node. One per GPU; without GPUs the default is 1.
        cpus_per_task (int): cores and threads of each process.
        mem_gb (float): memory on each node in GB.
        timeout_min (int): time limit in minutes. A run that needs longer is requeued and resumes from its last epoch.
        signal_delay_s (int): how long before the time limit a job is requeued, in seconds.
        array_parallelism (int): runs at once.
        setup (tuple[str]): shell lines before the training starts, such as ``module load cuda``.
        sbatch (dict): any other options of sbatch, by their long names without dashes; ``true`` for an option without
            a value. Those that the keys above stand for, and output, error, job-name and open-mode, are refused.
    """

    partition: Optional[StrictStr] = None
    account: Optional[StrictStr] = None
    qos: Optional[StrictStr] = None
    constraint: Optional[StrictStr] = None
    gpus_per_node: Annotated[StrictInt, Field(ge=0)] = 0
    nodes: Count = 1
    tasks_per_node: Count = 1
    cpus_per_task: Count = 1
    mem_gb: Optional[Annotated[Number, Field(gt=0)]] = None
    timeout_min: Count = 60
    signal_delay_s: Count = 90
    array_parallelism: Count = 256
    setup: Tuple[StrictStr, ...] = ()
    sbatch: Dict[StrictStr, Union[StrictStr, StrictInt, Number, bool]] = {}

    @property
    def tasks(self) -> int:
        """Processes of one run."""
        return self.nodes * self.tasks_per_node

    @model_validator(mode='before')
    @classmethod
    def _one_task_per_gpu(cls, content: object) -> object:
        if isinstance(content, dict) and 'tasks_per_node' not in content and content.get('gpus_per_node'):
            return {**content, 'tasks_per_node': content['gpus_per_node']}
        return content

    @model_validator(mode='after')
    def _consistent(self) -> 'Settings':
        for option, setting in self.sbatch.items():
            name = option.replace('_', '-')
            if name.startswith('-') or len(name) == 1:
                raise ValueError(f'sbatch.{option}: write the long name of the option, without dashes')
            if name in _KEYS:
                raise ValueError(f'sbatch.{option}: write it as {_KEYS[name]}, beside sbatch')
            if name in _OF_THE_LAUNCHER:
                raise ValueError(f'sbatch.{option}: the launcher sets it: take it out')
            if setting is False:
                raise ValueError(f'sbatch.{option}: must be text, a number or true, not False')
        if self.gpus_per_node not in (0, self.tasks_per_node):
            gpus = self.gpus_per_node
            raise ValueError(f'tasks_per_node: must be that of gpus_per_node, {gpus}, as each GPU has one process')
        if self.signal_delay_s >= 60 * self.timeout_min:
            raise ValueError(f'signal_delay_s: must be shorter than timeout_min, {self.timeout_min} minutes')
        return self


def read_settings(path: Path) -> Settings:
    """Read a cluster file.

    Raises:
        UserError: the file is missing or is not YAML, or a key is unknown or has a wrong value.
    """
    try:
        content = read_yaml(path)
    except OSError as error:
        raise UserError(f'{path}: {error.strerror}; name a file such as slurm/single-gpu.yaml') from error
    if not isinstance(content, dict):
        raise UserError(f'{path}: must map keys to values, such as "partition: gpu"')
    with naming(path):
        return Settings.model_validate(content)
