"""Processes that train one run together: how they meet, agree and end.

They are the ranks of ``torch.distributed``. Rank 0 leads: it alone holds the run's lock and writes its results.
Training averages gradients over the process group. Beside it, all ranks use a key-value store in rank 0. Through it
they agree on what to do before training begins, and a waiting rank learns why another one failed.
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

#: How long the first process waits for the last one.
MEET_S = 300.0
#: How long a collective operation may wait for a rank, such as while rank 0 evaluates alone.
COLLECTIVE_S = 3600.0
#: Time for rank 0 to write why a run failed, or to learn that the others have ended.
_SETTLE_S = 15.0
_POLL_S = 0.5
_FAILED = 1  # exit status, the same as a worker's


@dataclass(frozen=True)
class Ranks:
    """The rank of one process among those of its run.

    Attributes:
        rank (int): its number, from 0.
        world_size (int): the number of processes.
        address (str): host of rank 0.
        port (int): port on which rank 0 listens.
        local_rank (int): index of the GPU to use, among those that the process sees.
        listener (socket, optional): for rank 0, a socket that listens on that port already.
    """

    rank: int
    world_size: int
    address: str
    port: int
    local_rank: int = 0
    listener: Optional[socket.socket] = None


def ranks_here(world_size: int) -> List[Ranks]:
    """Ranks of processes on this machine. Each process sees one GPU. The caller closes its copy of the listener."""
    listener = socket.create_server(('127.0.0.1', 0), backlog=world_size)
    address, port = listener.getsockname()
    return [Ranks(rank, world_size, address, port, 0, None if rank else listener) for rank in range(world_size)]


class SingleProcess:
    """The only process of a run. It has the same methods as :class:`Group`."""

    rank, size, leads = 0, 1, True

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder

    def agree(self, decide: Callable[[], Any]) -> Any:
        """The result of ``decide``."""
        return decide()

    def start(self) -> None:
        """Do nothing: one process needs no process group."""

    def fail(self, message: str) -> None:
        """Record why the run failed."""
        self.folder.fail(message)

    def explain(self, error: Exception) -> str:
        """The message to the user for an unexpected error."""
        return f'{type(error).__name__}: {error} (the traceback is in {self.folder.log_of(self.rank)})'


class Group(SingleProcess):
    """The processes of a run as one of them sees them. It is open inside a ``with`` block.

    While it is open, a thread ends this process soon after another one has failed. Without the thread, a rank that
    waits in a collective operation may not notice that another one is gone.

    Args:
        ranks (Ranks): the rank of this process.
        folder (RunFolder): the run's folder; rank 0 writes failures into it.
    """

    def __init__(self, ranks: Ranks, folder: RunFolder) -> None:
        super().__init__(folder)
        self.ranks = ranks
        self.rank, self.size, self.leads = ranks.rank, ranks.world_size, ranks.rank == 0
        self._words = itertools.count()
        self._through = threading.Event()
        self._ending = threading.Lock()  # taken once, by whatever ends this process: its own failure or another's

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
        """The result of ``decide``, a JSON value, on all ranks. Only rank 0 calls ``decide``.

        If ``decide`` raises, rank 0 fails and the others end.
        """
        if not self.leads:
            return self.receive()
        word = decide()
        self.send(word)
        return word

    def send(self, word: Any) -> None:
        """Send the next message from rank 0 to the others."""
        self._store.set(f'word {next(self._words)}', json.dumps(word))

    def receive(self) -> Any:
        """The next message of rank 0, which may still be waiting for the run. If rank 0 ends, so does this process."""
        key = f'word {next(self._words)}'
        self._store.wait([key], timedelta(days=1))
        return json.loads(self._store.get(key))

    def start(self) -> None:
        """Open the process group, over NCCL between GPUs and Gloo without.

        Raises:
            UserError: not all processes have joined, or there is no GPU for this one.
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
            os.environ.setdefault('GLOO_SOCKET_IFNAME', 'lo')  # the host name may not resolve
        os.environ['LOCAL_RANK'] = str(self.ranks.local_rank)  # mmengine reads it
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
        """Wait for all ranks to end. Rank 0 keeps the store until no other needs it."""
        import torch.distributed

        with contextlib.suppress(RuntimeError):  # training is over, so a lost rank does not matter
            if torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()
            parted = self._store.add('parted', 1)
            deadline = time.monotonic() + _SETTLE_S
            while self.leads and parted < self.size and time.monotonic() < deadline:
                time.sleep(0.05)
                parted = self._store.add('parted', 0)

    def fail(self, message: str) -> None:
        """Let the run fail with this message, or with that of the first rank that failed. All other ranks end too."""
        self._ending.acquire()
        try:
            self._record(self._store, self._store.compare_set('cause', '', message).decode())
        except RuntimeError:  # rank 0 is gone, and with it the store
            print(f'rank 0 is gone; the failure was: {message}', flush=True)

    def explain(self, error: Exception) -> str:
        """The message to the user for an unexpected error. Often another process was killed."""
        from torch.distributed import DistError

        if isinstance(error, DistError) or (isinstance(error, RuntimeError) and 'gloo' in str(error)):
            return (
                f'rank {self.rank} lost touch with another process of the run, which may have been killed for want of '
                f'memory; what each of them printed is in {self.folder.log} and, by rank, {self.folder.log}.1 ...'
            )
        return super().explain(error)

    def _record(self, store: Any, cause: str) -> None:
        """Rank 0 writes the cause into the folder. The others wait for it: a scheduler may kill all when one ends."""
        if self.leads:
            self.folder.fail(cause)
            store.set('recorded', 'yes')
        else:
            store.wait(['recorded'], timedelta(seconds=_SETTLE_S))

    def _watch(self) -> None:
        try:
            store = self._open_store()  # its own connection: the other one may be blocked
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
