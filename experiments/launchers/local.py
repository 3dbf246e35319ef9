"""Several runs at once on this machine, each in its own process, on its cores or its GPUs."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import subprocess
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

from experiments import worker
from experiments.errors import UserError
from experiments.places import places
from experiments.resolve import Run
from experiments.runs import DONE, FAILED, RUNNING, RunFolder, Status

POLL_S = 0.3


class LocalLauncher:
    """Trains runs side by side.

    One process is forked per run from a server that has imported torch and MMDetection once; with GPUs each process
    imports them itself, because CUDA does not survive a fork.

    Args:
        jobs (int, optional): runs at once; by default one per GPU, or one per core without a GPU.
    """

    def __init__(self, jobs: Optional[int] = None) -> None:
        self.gpus = _gpus()
        cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
        self.jobs = jobs or len(self.gpus) or cores
        self.threads = max(cores // self.jobs, 1)
        os.environ.setdefault('OMP_NUM_THREADS', '1')  # read when torch is imported; workers set their own number
        self.context = multiprocessing.get_context('spawn' if self.gpus else 'forkserver')
        if not self.gpus:
            self.context.set_forkserver_preload(['experiments.training'])

    def start(self) -> None:
        """Let the server begin its imports, so that they pass while data are made."""
        if not self.gpus:
            from multiprocessing import forkserver

            forkserver.ensure_running()

    def in_process(self, function: Callable, *args: Any) -> None:
        """Run ``function(*args, report)`` in a process with torch; the last of ``args`` is called with its reports.

        Raises:
            OSError, UserError: the function raised it.
            RuntimeError: the process failed otherwise.
        """
        *args, report = args
        ours, theirs = self.context.Pipe(duplex=False)
        process = self.context.Process(target=_report, args=(theirs, function, args))
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
            raise RuntimeError(f'{function.__name__} ended without a result') from None
        finally:
            process.join()

    def run(
        self,
        runs: List[Run],
        folders: Dict[str, RunFolder],
        data: Path,
        show: Callable[[Dict[str, Status]], None],
    ) -> Dict[str, Status]:
        """Train all runs and return their final states.

        A run that another launcher is training is left to it and waited for. A failed run does not stop the others.

        Args:
            runs (list[Run]): distinct runs, in the order to start them.
            folders (dict): folder of each run by its id.
            data (Path): the data folder.
            show (callable): told the state of every run a few times a second.
        """
        waiting, elsewhere = list(runs), []
        active: Dict[str, Tuple[BaseProcess, Run, int]] = {}
        try:
            while waiting or active or elsewhere:
                while waiting and len(active) < self.jobs:
                    self._start(waiting.pop(0), folders, data, active)
                for run_id, (process, run, _) in list(active.items()):
                    if process.exitcode is not None:
                        del active[run_id]
                        self._ended(process, run, folders[run_id], elsewhere)
                left_alone = [run for run in elsewhere if folders[run.id].status().state != RUNNING]
                waiting += left_alone  # finished there, or dropped: _start looks
                elsewhere = [run for run in elsewhere if run not in left_alone]
                show({run.id: folders[run.id].status() for run in runs})
                multiprocessing.connection.wait([process.sentinel for process, *_ in active.values()], POLL_S)
        finally:
            _stop([process for process, *_ in active.values()])
        states = {run.id: folders[run.id].status() for run in runs}
        show(states)
        return states

    def _start(self, run: Run, folders: Dict[str, RunFolder], data: Path, active: dict) -> None:
        if folders[run.id].status().state == DONE:
            return
        taken = [slot for _, _, slot in active.values()]
        slot = next(slot for slot in range(self.jobs) if slot not in taken)
        device = self.gpus[slot % len(self.gpus)] if self.gpus else None
        process = self.context.Process(
            target=worker.work,
            args=(str(folders[run.id].path), run.id, run.profile, places(run.config, data), self.threads, device),
            name=run.id,
        )
        process.start()
        active[run.id] = (process, run, slot)

    def _ended(self, process: BaseProcess, run: Run, folder: RunFolder, elsewhere: list) -> None:
        if process.exitcode == worker.BUSY:
            elsewhere.append(run)
        elif process.exitcode != worker.DONE and folder.status().state not in (DONE, FAILED):
            cause = (
                f'signal {signal.Signals(-process.exitcode).name}; out of memory?'
                if process.exitcode < 0
                else f'exit status {process.exitcode}'
            )
            folder.fail(f'the process that trained ended without a word ({cause}); its output is in {folder.log}')


def _gpus() -> List[str]:
    """The GPUs of this machine as CUDA_VISIBLE_DEVICES names them; asked of the driver, as torch is not imported."""
    if 'CUDA_VISIBLE_DEVICES' in os.environ:
        return [name for name in os.environ['CUDA_VISIBLE_DEVICES'].split(',') if name.strip() not in ('', '-1')]
    try:
        listing = subprocess.run(
            ('nvidia-smi', '--query-gpu=index', '--format=csv,noheader'), capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return listing.stdout.split() if listing.returncode == 0 else []


def _report(pipe: Any, function: Callable, args: tuple) -> None:
    try:
        function(*args, lambda *progress: pipe.send(('progress', progress)))
        pipe.send(('done', None))
    except (OSError, UserError) as error:
        pipe.send(('error', error))


def _stop(processes: List[BaseProcess], patience_s: float = 5.0) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(patience_s)
        if process.exitcode is None:
            process.kill()
            process.join()
