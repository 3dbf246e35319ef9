"""Checks the machine: cores, GPUs, folders, and the launchers that are requested or found."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Dict, Iterator, Optional

from rich.filesize import decimal

from experiments.commands.doctor.checks import FAILS, NOTE, OK, WARNING, Check
from experiments.commands.estimate import disk
from experiments.machine import affinity, core_quota, cores, gpus, machine_memory, memory, shared_memory
from experiments.store.errors import UserError
from experiments.store.files import check_locks


def compute(full_scale: bool, processes: int, cluster: bool) -> Iterator[Check]:
    """Check the cores, and the GPUs with their driver.

    Args:
        full_scale (bool): the runs are meant for GPUs.
        processes (int): processes of a run. Each takes a GPU.
        cluster (bool): other machines than this one train.
    """
    from experiments.launchers.local import LocalLauncher

    yield from allowance()
    found = gpus()
    for line in _driver() if found else ():
        yield Check(OK, 'GPU', line)
    if found and not _torch_sees():
        yield Check(
            FAILS,
            'GPU',
            'the driver lists it and torch cannot use it: bring the driver to the CUDA that torch is built for '
            '(python -c "import torch; print(torch.version.cuda)"), or install another build of torch',
        )
    if not found and full_scale and not cluster:
        yield Check(WARNING, 'GPU', 'none: --dry-run --probe estimates how long cores would take')
    elif not found:
        yield Check(OK, 'GPU', 'none, and none is needed')
    if not cluster:
        try:
            LocalLauncher(None, processes)
        except UserError as error:
            yield Check(FAILS, 'processes per run', str(error))


def allowance() -> Iterator[Check]:
    """What this process may use, beside what the machine has."""
    quota = core_quota()
    masked = f'{affinity()} in the affinity mask' + ('' if quota is None else f', a quota of {quota:g}')
    yield Check(OK, 'cores', f'{cores()} may be used ({masked}); the machine has {os.cpu_count()}')
    yield Check(OK, 'memory', f'{decimal(memory())} may be used; the machine has {decimal(machine_memory())}')
    room = shared_memory()
    if room is not None and room < 2**30:
        says = (
            f'/dev/shm has {decimal(room)} free: loader workers pass images through pipes instead, which is slower; '
            'give a container more with --shm-size=8g (Docker, Podman) or an emptyDir of medium Memory (Kubernetes)'
        )
        yield Check(NOTE, 'shared memory', says)


def _driver() -> Iterator[str]:
    listing = subprocess.run(
        ('nvidia-smi', '--query-gpu=name,memory.total,driver_version', '--format=csv,noheader'),
        capture_output=True,
        text=True,
    )
    for line in listing.stdout.splitlines():
        name, memory, driver = (part.strip() for part in line.split(','))
        yield f'{name}, {memory}, driver {driver}'


def _torch_sees() -> bool:
    import torch

    return torch.cuda.is_available()


def folders(runs: Path, data: Path, todo: Dict[str, dict], at_once: int) -> Iterator[Check]:
    """Check that the folders can be written, and that the disk has space for the runs.

    Args:
        runs (Path): folder of the profile's runs.
        data (Path): the data folder.
        todo (dict): configs of the runs that are not done, by id.
        at_once (int): number of runs that train at once.
    """
    writable = _writable(runs)
    yield writable or Check(OK, 'runs', f'{runs} can be written')
    if writable is None:
        yield _locks(_existing(runs))
    reads_only = not any(config.get('generate') for config in todo.values())
    trouble = _writable(data)
    if trouble is not None and reads_only:
        yield Check(OK, 'data', f'{data} is only read')
    else:
        yield trouble or Check(OK, 'data', f'{data} can be written')
    if writable is None:
        yield space(
            shutil.disk_usage(_existing(runs)).free,
            disk.needed(disk.disk_usages(todo, data).values(), at_once),
            runs,
            len(todo),
        )


def space(free: int, needed: int, runs: Path, count: int) -> Check:
    """Compare free bytes with needed bytes."""
    text = f'{count} run(s) to do need about {decimal(needed)} of {decimal(free)} free at {runs}'
    if needed > free:
        return Check(FAILS, 'disk', f'{text}: free {decimal(needed - free)}, or name another folder with --runs')
    if needed > 0.8 * free:
        return Check(WARNING, 'disk', f'{text}, which is tight')
    return Check(OK, 'disk', text)


def _existing(path: Path) -> Path:
    """The folder, or its nearest existing parent."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def _locks(folder: Path) -> Check:
    try:
        warning = check_locks(folder)
    except UserError as error:
        return Check(FAILS, 'locks', str(error))
    return Check(WARNING, 'locks', warning) if warning else Check(OK, 'locks', 'a run is locked while it trains')


def _writable(path: Path) -> Optional[Check]:
    where = _existing(path)
    try:
        with tempfile.NamedTemporaryFile(dir=where, prefix='.aside.doctor.'):
            return None
    except OSError as error:
        says = f'{where} cannot be written ({error.strerror}): change its rights, or name another with --runs or --data'
        return Check(FAILS, 'folder', says)


def launchers(args: Any) -> Iterator[Check]:
    """Check Slurm and Ray, if they are requested or found."""
    if args.launcher == 'slurm' or shutil.which('sbatch'):
        yield _slurm(args)
    if args.launcher == 'ray':
        yield _ray(args)


def _slurm(args: Any) -> Check:
    bad = FAILS if args.launcher == 'slurm' else NOTE
    try:
        done = subprocess.run(('sinfo', '--noheader', '--format=%P %a %D'), capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check(bad, 'Slurm', f'sinfo does not answer ({error}): run this on a login node')
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or ['no answer']
        return Check(bad, 'Slurm', f'installed, and its controller does not answer: {reason[0]}')
    partitions = {line.split()[0].rstrip('*') for line in done.stdout.splitlines() if line.split()}
    if args.launcher != 'slurm':
        return Check(OK, 'Slurm', f'answers; partitions {", ".join(sorted(partitions))}')
    from experiments.launchers.slurm.launcher import open_slurm

    try:
        launcher = open_slurm(args.cluster, args.runs / args.profile, wait=False)
        launcher.preview(1)
    except UserError as error:
        return Check(FAILS, 'Slurm', str(error))
    wanted = launcher.settings.partition
    if wanted and not set(wanted.split(',')) & partitions:
        says = f'no partition {wanted}, which the cluster file asks for; there are {", ".join(sorted(partitions))}'
        return Check(FAILS, 'Slurm', says)
    return Check(OK, 'Slurm', f'answers; partition {wanted or "by default"}')


def _ray(args: Any) -> Check:
    from experiments.launchers.ray.cluster import reach

    address = args.ray_address or os.environ.get('RAY_ADDRESS')
    try:
        import ray
        import ray.tune  # noqa: F401

        if address and address != 'auto':
            reach(address)
    except ImportError as error:
        return Check(FAILS, 'Ray', f"{error}: pip install '.[ray]'")
    except UserError as error:
        return Check(FAILS, 'Ray', str(error))
    where = (
        f'{address} answers' if address and address != 'auto' else 'a cluster of this machine is started with the runs'
    )
    return Check(OK, 'Ray', f'{ray.__version__}; {where}')
