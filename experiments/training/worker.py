"""The process that every launcher starts: it trains one run and logs to the run's folder."""

import contextlib
import os
import sys
import threading
import traceback
from multiprocessing import parent_process
from pathlib import Path
from typing import Any, Dict, Optional

from experiments.machine import settle_temporary_folder
from experiments.store.errors import UserError
from experiments.store.files import settle_home
from experiments.store.runs import Busy, RunFolder
from experiments.training.distributed import Group, Ranks, SingleProcess

#: Exit statuses of a worker.
DONE, FAILED, BUSY = 0, 1, 75


def work(
    path: str,
    run_id: str,
    profile: str,
    paths: Dict[str, str],
    threads: int,
    device: Optional[str] = None,
    ranks: Optional[Ranks] = None,
    pipe: Any = None,
) -> None:
    """Train the run in folder ``path`` and exit with ``DONE``, ``FAILED`` or ``BUSY``.

    Args:
        path (str): the run's folder, with its config.
        run_id (str): the run's id.
        profile (str): the run's profile.
        paths (dict): folders of this machine for the config's placeholders.
        threads (int): CPU threads to compute with.
        device (str, optional): the GPU to use, as CUDA_VISIBLE_DEVICES has it.
        ranks (Ranks, optional): the rank of this process if several train the run together.
        pipe (Connection, optional): receives why the run failed, in case the folder cannot be written.
    """
    if device is not None:
        os.environ['CUDA_VISIBLE_DEVICES'] = device  # before torch looks for GPUs
    _end_with_parent()
    folder = RunFolder(Path(path))
    status = attempt(folder, run_id, profile, paths, threads, ranks=ranks)
    if status == FAILED and pipe is not None:
        pipe.send(folder.status().message)
    sys.exit(status)


def attempt(
    folder: RunFolder,
    run_id: str,
    profile: str,
    paths: Dict[str, str],
    threads: int,
    patience_s: float = 1.0,
    ranks: Optional[Ranks] = None,
) -> int:
    """Train a run to its end in this process. From here on, the output of the process goes to the run's log.

    Every launcher calls this, and may call it repeatedly. A finished run is left as it is. An unfinished run resumes
    from its newest checkpoint. A run that another process is training is left to that process.

    Args:
        folder (RunFolder): the run's folder, with its config.
        run_id, profile, paths, threads: see :func:`work`.
        patience_s (float): how long to wait for a process that is training the run already.
        ranks (Ranks, optional): the rank of this process if several train the run together. Each of them calls this,
            and all get the same answer.

    Returns:
        int: ``DONE``, ``FAILED`` or ``BUSY``.
    """
    task = run_id, profile, paths, threads
    if ranks is None or ranks.world_size == 1:
        return _attempt_alone(folder, patience_s, *task)
    with Group(ranks, folder) as group:
        if not group.leads:
            return BUSY if group.receive() == 'busy' else _attempt(group, *task)
        try:
            with folder.lock(patience_s):
                group.send('begin')
                return _attempt(group, *task)
        except Busy:
            group.send('busy')
            return BUSY
        except UserError as error:
            group.fail(str(error))
            return FAILED


def _attempt_alone(folder: RunFolder, patience_s: float, *task: Any) -> int:
    try:
        with folder.lock(patience_s):
            return _attempt(SingleProcess(folder), *task)
    except Busy:
        return BUSY
    except UserError as error:  # the lock file cannot be written
        folder.fail(str(error))
        return FAILED


def _attempt(group: SingleProcess, run_id: str, profile: str, paths: Dict[str, str], threads: int) -> int:
    try:
        with group.folder.open_log(group.rank) as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        settle_temporary_folder()  # on a cluster, this is the first process of its node
        settle_home()
        from experiments.training.train import train

        train(group.folder, run_id, profile, paths, threads, group)
    except Exception as error:
        with contextlib.suppress(OSError):  # the disk may be full
            traceback.print_exc()  # to the run's log; the terminal shows only the message
            if group.leads:
                group.folder.sweep()  # frees space for the message
        group.fail(str(error) if isinstance(error, UserError) else group.explain(error))
        return FAILED
    return DONE


def _end_with_parent() -> None:
    """End at once when the launcher dies, in whatever way. Every file of a run is whole at any moment."""
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(FAILED)

    threading.Thread(target=watch, daemon=True).start()
