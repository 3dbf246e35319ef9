"""Trains several runs at once on this machine, on cores or GPUs. Each run has one process or several."""

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import time
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple, Union

from rich.filesize import decimal

from experiments.launchers.protocol import Capacity, Show
from experiments.machine import cores, gpus, memory
from experiments.spec.config import Run
from experiments.spec.paths import data_paths
from experiments.store.errors import UserError
from experiments.store.runs import DONE, FAILED, RUNNING, RunFolder, Status
from experiments.training import worker
from experiments.training.distributed import ranks_here

POLL_S = 0.3
#: Seconds in which the other processes of a run must end after one of them has failed.
GRACE_S = 20.0


class LocalLauncher:
    """Trains runs side by side.

    Args:
        jobs (int, optional): runs at once; default: as many as the GPUs allow, or the cores if there is no GPU.
        processes (int): processes that train a run together, on one GPU each, or on cores if there is no GPU.
        need (int): bytes of memory that each process needs; 0 if that is not known. Without ``jobs``, no more runs
            are placed at once than the memory has room for.

    Raises:
        UserError: there are fewer GPUs than a run needs.
    """

    def __init__(self, jobs: Optional[int] = None, processes: int = 1, need: int = 0) -> None:
        self.gpus = gpus()
        if self.gpus and processes > len(self.gpus):
            raise UserError(f'--processes-per-run {processes}: each takes a GPU, and there are {len(self.gpus)} here')
        places = max((len(self.gpus) or cores()) // processes, 1)
        jobs, note = fit_memory(jobs, places, processes * need)
        self.capacity = Capacity(jobs, processes, max(cores() // (jobs * processes), 1), bool(self.gpus), note)
        self.context = _context(self.gpus)

    def start(self) -> None:
        """Start the imports of the fork server, so that they overlap with data preparation."""
        if not self.gpus:
            from multiprocessing import forkserver

            forkserver.ensure_running()

    def run(self, runs: List[Run], folders: Dict[str, RunFolder], data: Path, show: Show) -> Dict[str, Status]:
        """Train all runs and return their final states; see :meth:`experiments.launchers.protocol.Launcher.run`."""
        waiting = list(runs)
        elsewhere: List[Run] = []
        active: Dict[str, _Training] = {}
        try:
            while waiting or active or elsewhere:
                while waiting and len(active) < self.capacity.runs:
                    self._start(waiting.pop(0), folders, data, active)
                for run_id, training in list(active.items()):
                    if training.ended():
                        del active[run_id]
                        training.judge(folders[run_id], elsewhere)
                left_alone = [run for run in elsewhere if folders[run.id].status().state != RUNNING]
                waiting += left_alone  # finished or dropped by the other launcher: _start checks
                elsewhere = [run for run in elsewhere if run not in left_alone]
                show({run.id: folders[run.id].status() for run in runs})
                living = [process.sentinel for training in active.values() for process in training.living()]
                multiprocessing.connection.wait(living, POLL_S)
        finally:
            _stop([process for training in active.values() for process in training.living()])
        states = {run.id: folders[run.id].status() for run in runs}
        show(states)
        return states

    def _start(self, run: Run, folders: Dict[str, RunFolder], data: Path, active: Dict[str, '_Training']) -> None:
        if folders[run.id].status().state == DONE:
            return
        taken = [training.slot for training in active.values()]
        slot = next(slot for slot in range(self.capacity.runs) if slot not in taken)
        task = str(folders[run.id].path), run.id, run.profile, data_paths(run.config, data), self.capacity.threads
        processes = self.capacity.processes
        together = ranks_here(processes) if processes > 1 else [None]
        active[run.id] = training = _Training(run, slot, [], [])
        for number, ranks in enumerate(together, slot * processes):
            device = self.gpus[number % len(self.gpus)] if self.gpus else None
            ours, theirs = self.context.Pipe(duplex=False)
            process = self.context.Process(target=worker.work, args=(*task, device, ranks, theirs), name=run.id)
            process.start()
            theirs.close()
            training.processes.append(process)
            training.pipes.append(ours)
            if ranks is not None and ranks.listener is not None:
                ranks.listener.close()

    def preview(self, count: int) -> str:
        """Empty, because runs start on this machine."""
        return ''


@dataclass
class _Training:
    """A run in training.

    Attributes:
        run (Run): the run.
        slot (int): its index among the runs at once, which determines its GPUs.
        processes (list): its processes, by rank.
        pipes (list): one for each process, through which it reports why the run failed.
        deadline (float, optional): when all processes must have ended, because one of them has failed.
        stopped (bool): this launcher stopped processes that did not end by themselves.
    """

    run: Run
    slot: int
    processes: List[BaseProcess]
    pipes: List[multiprocessing.connection.Connection]
    deadline: Optional[float] = None
    stopped: bool = False

    def living(self) -> List[BaseProcess]:
        return [process for process in self.processes if process.exitcode is None]

    def ended(self) -> bool:
        """Whether all processes have ended. Stops those that still run some time after one has failed."""
        living = self.living()
        if living and any(process.exitcode for process in self.processes):
            self.deadline = self.deadline or time.monotonic() + GRACE_S
            if time.monotonic() > self.deadline:
                self.stopped = True
                _stop(living)
        return not self.living()

    def judge(self, folder: RunFolder, elsewhere: List[Run]) -> None:
        """Record the failure of a process that died, or add the run to ``elsewhere`` if another launcher trains it."""
        failed = [(rank, process.exitcode) for rank, process in enumerate(self.processes) if process.exitcode]
        if self.stopped:  # this launcher killed the others
            failed = [found for found in failed if found[1] > 0] or failed
        state = folder.status().state
        said = self._said()
        if any(code == worker.BUSY for _, code in failed):
            elsewhere.append(self.run)
        elif failed and state != DONE:
            # A killed process is the cause: the others fail because they lose it.
            rank, code = min(failed, key=lambda found: found[1])
            if state != FAILED and said:
                folder.fail(said)  # the process itself could not write it
            elif state != FAILED or code < 0:
                which = 'the process that trained' if len(self.processes) == 1 else f'the process of rank {rank}'
                cause = f'signal {signal.Signals(-code).name}; out of memory?' if code < 0 else f'exit status {code}'
                folder.fail(f'{which} ended without a word ({cause}); its output is in {folder.log_of(rank)}')

    def _said(self) -> str:
        """The message of the first process that sent one, or ''."""
        words = []
        for pipe in self.pipes:
            with contextlib.suppress(EOFError):
                words += [pipe.recv()] if pipe.poll() else []
            pipe.close()
        return next(filter(None, words), '')


def fit_memory(jobs: Optional[int], places: int, need: int) -> Tuple[int, str]:
    """The number of runs at once on this machine, and a note if memory limits it.

    Args:
        jobs (int, optional): the number that the user asks for, which is not changed.
        places (int): the number of runs that the cores or GPUs have room for.
        need (int): bytes of memory that a run needs; 0 if that is not known.
    """
    room = memory() // need if need else max(jobs or 0, places)
    if room >= (jobs or places):
        return jobs or places, ''
    words = f'a run needs about {decimal(need)} of memory, and this process may use {decimal(memory())}'
    if jobs:
        return jobs, f'{words}: --jobs {jobs} may be too many'
    return max(room, 1), f'{words}: {max(room, 1)} run(s) at once, not {places}; --jobs changes that'


def _context(devices: List[str]) -> Union[SpawnContext, ForkServerContext]:
    """How processes with torch start. On the CPU they are forked from a server that has imported torch and MMDetection.
    With GPUs each process imports them itself, because CUDA does not survive a fork."""
    os.environ.setdefault('OMP_NUM_THREADS', '1')  # read when torch is imported; workers set their own number
    if devices:
        return multiprocessing.get_context('spawn')
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['experiments.training.train'])
    return context


def in_process(function: Callable, *args: Any) -> None:
    """Run ``function(*args, report)`` in a process with torch. The last of ``args`` is called here with its reports.

    Raises:
        OSError, UserError: the function raised it, or its process ended without a word.
    """
    *given, report = args
    context = _context(gpus())
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_report, args=(theirs, function, given))
    process.start()
    theirs.close()
    try:
        while True:
            kind, content = ours.recv()
            if kind == 'error':
                raise content
            if kind == 'done':
                return
            report(*content)
    except EOFError:
        process.join()
        why = ': it may have needed more memory than there is' if process.exitcode == -signal.SIGKILL else ''
        raise UserError(f'the process of {function.__name__} was ended (status {process.exitcode}){why}') from None
    except BaseException:
        process.terminate()  # it may wait for a reader of its reports
        raise
    finally:
        ours.close()
        process.join()


def _report(pipe: Any, function: Callable, args: list) -> None:
    try:
        function(*args, lambda *progress: pipe.send(('progress', progress)))
        pipe.send(('done', None))
    except (OSError, UserError) as error:
        pipe.send(('error', error))
    except Exception as error:
        from o2f.errors import InputError

        if not isinstance(error, InputError):
            raise
        pipe.send(('error', UserError(str(error))))


def _stop(processes: List[BaseProcess], patience_s: float = 5.0) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(patience_s)
        if process.exitcode is None:
            process.kill()
            process.join()
