"""How the tasks of one job find each other: rank, host, port and device, from submitit's helper and what Slurm gave."""

import hashlib
import os
from typing import Optional

from experiments.ranks import Ranks

#: Below the ports that the kernel gives out by itself.
_PORTS = range(10000, 30000)


def rendezvous_port(job: str, restarts: int) -> int:
    """A port that all tasks of one start of a job agree on, and no other start of it uses.

    The port of a start that was killed may not be free yet when the job comes back.
    """
    digest = hashlib.sha256(f'{job}:{restarts}'.encode()).digest()
    return _PORTS[(int.from_bytes(digest[:8], 'big') + restarts) % len(_PORTS)]


def find_ranks(restarts: int) -> Optional[Ranks]:
    """Where this task stands among those of its job; None where it is the only one.

    Args:
        restarts (int): how often the job has been put back into the queue.
    """
    from submitit import JobEnvironment
    from submitit.helpers import TorchDistributedEnvironment

    found = TorchDistributedEnvironment()
    if found.world_size == 1:
        return None
    # Which devices a task sees is Slurm's choice: all of the node, of which the local rank picks one, or its own alone.
    visible = len(os.environ.get('CUDA_VISIBLE_DEVICES', '').split(','))
    return Ranks(
        rank=found.rank,
        world_size=found.world_size,
        address=found.master_addr,
        port=rendezvous_port(JobEnvironment().job_id, restarts),
        local_rank=found.local_rank if visible >= found.local_world_size else 0,
    )
