"""How the tasks of one job find each other: rank, port and device, from submitit's helper and what Slurm gave."""

import hashlib
import os

#: Below the ports that the kernel gives out by itself.
_PORTS = range(10000, 30000)


def rendezvous_port(job: str, restarts: int) -> int:
    """A port that all tasks of one start of a job agree on, and no other start of it uses.

    The port of a start that was killed may not be free yet when the job comes back.
    """
    digest = hashlib.sha256(f'{job}:{restarts}'.encode()).digest()
    return _PORTS[(int.from_bytes(digest[:8], 'big') + restarts) % len(_PORTS)]


def join_ranks(restarts: int) -> int:
    """Set what torch.distributed reads from the environment, and return this task's rank.

    Args:
        restarts (int): how often the job has been put back into the queue.
    """
    import submitit
    from submitit.helpers import TorchDistributedEnvironment

    os.environ['MASTER_PORT'] = str(rendezvous_port(submitit.JobEnvironment().job_id, restarts))
    # Which devices a task sees is Slurm's choice: all of the node, of which the local rank picks one, or its own alone.
    ranks = TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
    if len(os.environ.get('CUDA_VISIBLE_DEVICES', '').split(',')) < ranks.local_world_size:
        os.environ['LOCAL_RANK'] = '0'
    return ranks.rank
