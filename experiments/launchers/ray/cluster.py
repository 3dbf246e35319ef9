"""Connects to Ray: to an existing cluster, or to a local one that ends with this process."""

import contextlib
import logging
import os
import secrets
import signal
import socket
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Iterator, Optional

from rich.filesize import decimal

from experiments.machine import cores, memory
from experiments.store.errors import UserError
from experiments.store.files import can_be_written, make_folder

ROOT = Path(__file__).resolve().parents[3]
#: Bytes of shared memory for a local cluster. Runs pass nothing through it.
OBJECT_STORE = 100 * 2**20
#: Time limit for a cluster to answer, in seconds.
_REACH_S = 10.0
#: Defaults for Ray's and Tune's environment variables in this process. They send no usage statistics, and join no other
#: cluster by accident. They leave the terminal to the suite's own view and errors of trials to the runs' folders. They
#: save the state of an experiment often enough to restore it. Runs have the same priority as under other launchers.
_HERE = dict(
    RAY_USAGE_STATS_ENABLED='0',
    RAY_ENABLE_AUTO_CONNECT='0',
    RAY_AIR_NEW_OUTPUT='0',
    RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO='1',
    TUNE_PRINT_ALL_TRIAL_ERRORS='0',
    TUNE_DISABLE_SIGINT_HANDLER='1',
    TUNE_DISABLE_STRICT_METRIC_CHECKING='1',
    TUNE_GLOBAL_CHECKPOINT_S='5',
    RAY_worker_niceness='0',
)
#: Environment variables of every training process.
_THERE = dict(
    PYTHONPATH=f'{ROOT}:${{PYTHONPATH}}',
    OMP_NUM_THREADS='1',  # read when torch is imported; training sets its own number
    RAY_CHDIR_TO_TRIAL_DIR='0',
)


@dataclass(frozen=True)
class Resources:
    """The resources of one run.

    Attributes:
        cpus (int): number of CPUs and of threads.
        gpus (float, optional): number of GPUs; with 0.5, two runs share one. None: 1 if the cluster has any, else 0.
        jobs (int, optional): runs at once; None: as many as fit.
        memory (int): bytes of memory; 0 if that is not known.
    """

    cpus: int = 1
    gpus: Optional[float] = None
    jobs: Optional[int] = None
    memory: int = 0

    def to_dict(self) -> dict:
        """What must be the same where an experiment is restored. The memory is only an estimate."""
        return {name: value for name, value in asdict(self).items() if name != 'memory'}


def connect(address: Optional[str]) -> bool:
    """Connect this process to the cluster at ``address`` or ``RAY_ADDRESS``, or start one here.

    Returns:
        bool: whether one was started here.

    Raises:
        UserError: Ray is not installed, or the cluster does not answer.
    """
    address = address or os.environ.get('RAY_ADDRESS')
    if address and address != 'auto':
        reach(address)
    for name, value in _HERE.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.tune  # noqa: F401  (has more requirements than ray itself)
    except ImportError as error:
        raise UserError(f"--launcher ray needs Ray Tune ({error}): pip install '.[ray]'") from error
    if not address and not can_be_written(Path.home()):
        # Ray would keep the token of the new cluster there.
        os.environ.setdefault('RAY_AUTH_TOKEN', secrets.token_hex(32))
    new = dict(
        address='local',
        num_cpus=cores(),
        include_dashboard=False,
        object_store_memory=OBJECT_STORE,
        _memory=memory(),
    )
    on_term = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            **(dict(address=address) if address else new),
            runtime_env=dict(env_vars=_THERE),
            log_to_driver=False,
            logging_level=logging.CRITICAL,
        )
    except Exception as error:  # Ray raises almost anything
        where = f'the Ray cluster at {address} does not answer' if address else 'Ray does not start on this machine'
        raise UserError(f'{where}: {" ".join(str(error).split())}') from error
    finally:
        signal.signal(signal.SIGTERM, on_term)  # Ray has set its own handler
    return not address


def reach(address: str) -> None:
    """Check that a cluster's port answers. Ray itself would retry for minutes.

    Raises:
        UserError: it does not answer, or the address is not valid.
    """
    host, colon, port = address.rpartition(':')
    if '/' in address or not (host and colon and port.isdigit()):
        raise UserError(f'--ray-address {address}: on a node of the cluster, give HOST:PORT or auto')
    try:
        socket.create_connection((host, int(port)), timeout=_REACH_S).close()
    except OSError as error:
        raise UserError(f'the Ray cluster at {address} does not answer: {error}') from error


def disconnect() -> None:
    """End all trials of this process, and the cluster if this process has started it."""
    import ray

    ray.shutdown()


def settle(resources: Resources, here: bool) -> Resources:
    """``resources`` with the default number of GPUs filled in.

    Args:
        resources (Resources): what one run asks for.
        here (bool): the cluster is this machine alone. A node with enough resources may still join any other cluster.

    Raises:
        UserError: this machine has less than one run asks for.
    """
    import ray

    nodes = [node['Resources'] for node in ray.nodes() if node['Alive']]
    gpus = resources.gpus
    if gpus is None:
        gpus = 1.0 if any(node.get('GPU', 0) >= 1 for node in nodes) else 0.0
    wanted = dict(CPU=resources.cpus, GPU=gpus, memory=resources.memory)
    if not any(all(node.get(name, 0) >= amount for name, amount in wanted.items()) for node in nodes):
        found = ', '.join(sorted({_words(node) for node in nodes}))
        lack = f'no node has the {_words(wanted)} of a run; there are nodes of {found}'
        if here:
            raise UserError(f'{lack}: see --cpus-per-run and --gpus-per-run')
        print(f'run.py: warning: {lack}; runs wait until one joins the cluster', file=sys.stderr, flush=True)
    return replace(resources, gpus=gpus)


def _words(node: dict) -> str:
    memory = f' and {decimal(int(node["memory"]))} of memory' if node.get('memory') else ''
    return f'{node.get("CPU", 0):g} CPUs and {node.get("GPU", 0):g} GPUs{memory}'


@contextlib.contextmanager
def logged(path: Path) -> Iterator[None]:
    """Redirect the output of Ray and Tune to a file. Ray prints messages about nodes on standard output."""
    make_folder(path.parent)
    logger = logging.getLogger('ray')
    before = logger.handlers, logger.level
    with open(path, 'a', buffering=1) as file, contextlib.redirect_stdout(file):
        handler = logging.StreamHandler(file)
        handler.setFormatter(logging.Formatter('%(asctime)s %(levelname)s %(message)s'))
        logger.handlers, logger.level = [handler], logging.INFO
        try:
            yield
        finally:
            logger.handlers, logger.level = before
