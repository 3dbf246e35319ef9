"""Processes that train one run together: how they meet, agree and end.

They are the ranks of ``torch.distributed``. Rank 0 leads: it alone holds the run's lock and writes its results. Beside
the process group, over which training averages gradients, all ranks reach a store that lives in rank 0. Over it they
agree on what to do before training begins, and learn why another one has to end while they wait for it.
"""

import contextlib
import itertools
import json
import os
import socket
import sys
import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Callable, List, Optional

from experiments.store.errors import UserError
from experiments.store.runs import RunFolder

#: Seconds that the first process waits for the last one.
MEET_S = 300.0
#: Seconds that a collective operation may wait for a rank, such as for the evaluation that rank 0 makes alone.
COLLECTIVE_S = 3600.0
#: Seconds until rank 0 has surely written why a run failed, or knows that the others are through.
_SETTLE_S = 15.0
_POLL_S = 0.5
_FAILED = 1  # exit status, as that of a worker


@dataclass(frozen=True)
class Ranks:
    """Where one process stands among those of its run.

    Attributes:
        rank (int): its number, from 0.
        world_size (int): how many there are.
        address (str): host on which rank 0 is.
        port (int): port on which rank 0 listens.
        local_rank (int): the GPU to use, counted among those that the process sees.
        listener (socket, optional): for rank 0 a socket that listens there already.
    """

    rank: int
    world_size: int
    address: str
    port: int
    local_rank: int = 0
    listener: Optional[socket.socket] = None


def ranks_here(world_size: int) -> List[Ranks]:
    """Ranks of processes on this machine, which see one GPU each. The caller closes its copy of the listener."""
    listener = socket.create_server(('127.0.0.1', 0), backlog=world_size)
    address, port = listener.getsockname()
    return [Ranks(rank, world_size, address, port, 0, None if rank else listener) for rank in range(world_size)]


class SingleProcess:
    """The only process of a run; the same methods as :class:`Group`."""

    rank, size, leads = 0, 1, True

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder

    def agree(self, decide: Callable[[], Any]) -> Any:
        """What ``decide`` returns, which rank 0 alone calls."""
        return decide()

    def start(self) -> None:
        """There is nobody to open a process group with."""

    def fail(self, message: str) -> None:
        """Record why the run failed."""
        self.folder.fail(message)

    def explain(self, error: Exception) -> str:
        """What an error that nobody foresaw means to the user."""
        return f'{type(error).__name__}: {error} (the traceback is in {self.folder.log_of(self.rank)})'


class Group(SingleProcess):
    """The processes of a run as one of them sees them, from ``with`` to its end.

    While it is open, a thread ends this process soon after another one has failed: a rank that waits in a collective
    operation for one that is gone may not notice by itself.

    Args:
        ranks (Ranks): where this process stands.
        folder (RunFolder): the run's folder; rank 0 writes failures into it.
    """

    def __init__(self, ranks: Ranks, folder: RunFolder) -> None:
        super().__init__(folder)
        self.ranks = ranks
        self.rank, self.size, self.leads = ranks.rank, ranks.world_size, ranks.rank == 0
        self._words = itertools.count()
        self._through = threading.Event()
        self._ending = threading.Lock()  # held for good by what ends this process: its failure, or another's

    def __enter__(self) -> 'Group':
        self._store = self._open_store(self.leads)
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, kind: Optional[type], *_: Any) -> None:
        self._through.set()
        if kind is None and not self._ending.locked():
            self._part()

    def _open_store(self, serve: bool = False) -> Any:
        from torch.distributed import TCPStore

        listener = self.ranks.listener.detach() if serve and self.ranks.listener else None
        return TCPStore(
            self.ranks.address,
            self.ranks.port,
            is_master=serve,
            master_listen_fd=listener,
            timeout=timedelta(seconds=MEET_S),
            wait_for_workers=False,
        )

    def agree(self, decide: Callable[[], Any]) -> Any:
        """The same on all ranks: what ``decide`` returns on rank 0, which alone calls it; something that JSON has.

        Where it raises, rank 0 fails and the others end.
        """
        if not self.leads:
            return self.receive()
        word = decide()
        self.send(word)
        return word

    def send(self, word: Any) -> None:
        """Rank 0 tells the others the next word."""
        self._store.set(f'word {next(self._words)}', json.dumps(word))

    def receive(self) -> Any:
        """The next word of rank 0, which may first have to wait for the run; should it end, so does this process."""
        key = f'word {next(self._words)}'
        self._store.wait([key], timedelta(days=1))
        return json.loads(self._store.get(key))

    def start(self) -> None:
        """Open the process group, over NCCL between GPUs and Gloo without.

        Raises:
            UserError: not all processes have come, or there is no GPU for this one.
        """
        import torch
        import torch.distributed

        self._meet()
        on_gpu = torch.cuda.is_available()
        if on_gpu:
            if self.ranks.local_rank >= torch.cuda.device_count():
                raise UserError(f'{self.folder.path}: rank {self.rank} finds no GPU left: a GPU trains in one process')
            torch.cuda.set_device(self.ranks.local_rank)
        elif self.ranks.address == '127.0.0.1' and sys.platform == 'linux':
            os.environ.setdefault('GLOO_SOCKET_IFNAME', 'lo')  # the host's own name may lead nowhere
        os.environ['LOCAL_RANK'] = str(self.ranks.local_rank)  # mmengine asks for it
        torch.distributed.init_process_group(
            'nccl' if on_gpu else 'gloo',
            store=torch.distributed.PrefixStore('train', self._store),
            rank=self.rank,
            world_size=self.size,
            timeout=timedelta(seconds=COLLECTIVE_S),
        )

    def _meet(self) -> None:
        here = self._store.add('here', 1)
        deadline = time.monotonic() + MEET_S
        while self.leads and here < self.size:
            if time.monotonic() > deadline:
                raise UserError(f'{self.folder.path}: {here} of {self.size} processes came within {MEET_S:.0f} s')
            time.sleep(0.05)
            here = self._store.add('here', 0)

    def _part(self) -> None:
        """End together: the store is there until the last one needs it no more."""
        import torch.distributed

        with contextlib.suppress(RuntimeError):  # all is done, so it matters no more who is gone
            if torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()
            parted = self._store.add('parted', 1)
            deadline = time.monotonic() + _SETTLE_S
            while self.leads and parted < self.size and time.monotonic() < deadline:
                time.sleep(0.05)
                parted = self._store.add('parted', 0)

    def fail(self, message: str) -> None:
        """Have the run fail with this message, unless another rank was first to say why; then all others end too."""
        self._ending.acquire()
        try:
            self._record(self._store, self._store.compare_set('cause', '', message).decode())
        except RuntimeError:  # rank 0 is gone, and with it the store
            print(f'rank 0 is gone; the failure was: {message}', flush=True)

    def explain(self, error: Exception) -> str:
        """What an error that nobody foresaw means to the user; often, that another process was killed."""
        from torch.distributed import DistError

        if isinstance(error, DistError) or (isinstance(error, RuntimeError) and 'gloo' in str(error)):
            return (
                f'rank {self.rank} lost touch with another process of the run, which may have been killed for want of '
                f'memory; what each of them printed is in {self.folder.log} and, by rank, {self.folder.log}.1 ...'
            )
        return super().explain(error)

    def _record(self, store: Any, cause: str) -> None:
        """Rank 0 writes the cause into the folder. The others live until it has: a scheduler may end all with them."""
        if self.leads:
            self.folder.fail(cause)
            store.set('recorded', 'yes')
        else:
            store.wait(['recorded'], timedelta(seconds=_SETTLE_S))

    def _watch(self) -> None:
        try:
            store = self._open_store()  # one of its own: the other may be waiting
            while not self._through.wait(_POLL_S):
                if store.check(['cause']):
                    if not self._ending.acquire(blocking=False):
                        return  # this process is the one that failed
                    cause = store.get('cause').decode()
                    print(f'the run ends, as one of its processes failed: {cause}')
                    self._record(store, cause)
                    break
            else:
                return
        except RuntimeError as error:
            if self._through.is_set() or not self._ending.acquire(blocking=False):
                return
            print(f'the run ends, as its rank 0 is gone ({error})')
        sys.stdout.flush()
        os._exit(_FAILED)
