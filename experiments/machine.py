"""What this process may use of the machine: cores, memory, GPUs, its terminal, and a folder for temporary files.

A container, a Slurm job or ``taskset`` may allow less than the machine has. Linux limits cores by the affinity mask and
by the quota of control groups (cgroups), and memory by control groups. Both versions of them are read.
"""

import io
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path, PurePosixPath
from typing import Iterator, List, Optional

from experiments.store.errors import UserError
from experiments.store.files import PROC, can_be_written, mounts

#: Longest path of a Unix socket, in bytes: 108 with the final zero on Linux.
SOCKET_PATH = 107
#: Longest path below the temporary folder. Ray's is the longest of those that are used:
#: ray/session_<date>_<time>_<microseconds>_<process>/sockets/plasma_store
_LONGEST_BELOW = len('/ray/session_2000-01-01_00-00-00_000000_0000000/sockets/plasma_store')


def print_in_any_locale() -> None:
    """Let standard output accept –, ±, Ω and any folder name, even if the locale lacks such characters."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding='utf-8', errors='replace')


def cores() -> int:
    """The cores that this process may use: those of its affinity mask, but no more than its quota, rounded down."""
    quota = core_quota()
    return max(min(affinity(), int(quota) if quota is not None else affinity()), 1)


def affinity() -> int:
    """The cores of the affinity mask. ``taskset``, cpusets and Slurm's task/affinity set it."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def core_quota(proc: Path = PROC) -> Optional[float]:
    """The smallest quota of the control groups of this process, in cores; None if there is none.

    Args:
        proc (Path): the process's folder in /proc.
    """
    return min((quota for group in _groups('cpu', proc) if (quota := _core_quota(group)) is not None), default=None)


def memory(proc: Path = PROC) -> int:
    """The bytes of memory that this process and its siblings may use: the machine's, or a control group's limit."""
    limits = (limit for group in _groups('memory', proc) if (limit := _memory_limit(group)) is not None)
    return min([machine_memory(), *limits])


def machine_memory() -> int:
    """The bytes of memory of the machine."""
    return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')


def shared_memory() -> Optional[int]:
    """The free bytes of /dev/shm, through which loader workers pass images; None if there is no such folder."""
    try:
        return shutil.disk_usage('/dev/shm').free
    except OSError:
        return None


def peak_memory(children: int) -> int:
    """The most bytes that this process has used, and as much for each of ``children`` as the largest ended one used."""
    own, largest = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return (own + children * largest) * (1 if sys.platform == 'darwin' else 1024)


def gpus() -> List[str]:
    """The GPUs of this machine, named as in CUDA_VISIBLE_DEVICES. Asks the driver, because torch is not imported."""
    if 'CUDA_VISIBLE_DEVICES' in os.environ:
        return [name for name in os.environ['CUDA_VISIBLE_DEVICES'].split(',') if name.strip() not in ('', '-1')]
    try:
        listing = subprocess.run(
            ('nvidia-smi', '--query-gpu=index', '--format=csv,noheader'), capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return listing.stdout.split() if listing.returncode == 0 else []


def settle_temporary_folder() -> Path:
    """Make the temporary folder one that can be written and whose path leaves room for the names of Unix sockets.

    Workers, loaders and Ray have sockets there. A ``TMPDIR`` that does not do is replaced, for this process and its
    children, by /tmp, /var/tmp or /dev/shm. Ray takes ``RAY_TMPDIR`` first, so that is settled likewise.

    Returns:
        Path: the folder.

    Raises:
        UserError: there is no such folder.
    """
    asked = [os.environ[name] for name in ('TMPDIR', 'TEMP', 'TMP') if os.environ.get(name)]
    for path in map(Path, [*asked, '/tmp', '/var/tmp', '/dev/shm']):
        if len(os.fsencode(path)) + _LONGEST_BELOW <= SOCKET_PATH and can_be_written(path):
            if asked and str(path) != asked[0]:
                os.environ['TMPDIR'] = tempfile.tempdir = str(path)
            of_ray = os.environ.get('RAY_TMPDIR')
            if of_ray and len(os.fsencode(of_ray)) + _LONGEST_BELOW > SOCKET_PATH:
                os.environ['RAY_TMPDIR'] = str(path)
            return path
    raise UserError(
        f'no folder for temporary files: set TMPDIR to a folder that can be written, with a path of at most '
        f'{SOCKET_PATH - _LONGEST_BELOW} characters, because sockets lie in it'
    )


def _groups(controller: str, proc: Path) -> Iterator[Path]:
    """The folders of the control groups that may limit ``controller`` for this process, and of all groups above them.

    In a container, the hierarchy may be mounted from the container's own group on, while /proc names that group by its
    path on the host, or by one that is not visible.
    """
    try:
        lines = [line.split(':', 2) for line in (proc / 'cgroup').read_text().splitlines()]
    except OSError:  # not Linux
        return
    paths = {name: PurePosixPath(path) for _, names, path in lines for name in names.split(',')}
    for mount in mounts(proc):
        name = {'cgroup2': '', 'cgroup': controller}.get(mount.kind)
        if name is None or name not in paths or (name and name not in mount.options):
            continue
        path = paths[name]
        group = mount.point / (path.relative_to(mount.root) if path.is_relative_to(mount.root) else '')
        yield from (at for at in (group, *group.parents) if at.is_relative_to(mount.point) and at.is_dir())


def _core_quota(group: Path) -> Optional[float]:
    """Version 2 has 'max 100000' or '150000 100000' in cpu.max; version 1 has -1 without a quota."""
    together = _words(group / 'cpu.max')
    quota, period = (
        together or (_words(group / 'cpu.cfs_quota_us') + _words(group / 'cpu.cfs_period_us') + ['', ''])[:2]
    )
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else None


def _memory_limit(group: Path) -> Optional[int]:
    """Version 1 has an enormous number if there is no limit, version 2 has 'max'."""
    [limit] = (_words(group / 'memory.max') or _words(group / 'memory.limit_in_bytes') or ['max'])[:1]
    return int(limit) if limit.isdigit() else None


def _words(path: Path) -> List[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []
