"""Reads and writes files: whole or not at all, and no oversized ones. Says where runs and data lie."""

import atexit
import contextlib
import errno
import json
import math
import os
import re
import secrets
import shutil
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Set, TextIO, Tuple, Union

import yaml

from experiments.store.errors import UserError

#: Prefix of files that are still being written.
ASIDE = '.aside.'
#: Errors that mean that the disk is full.
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
#: Errors of a file system that has no locks.
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


def write_whole(path: Path, content: Union[bytes, str]) -> None:
    """Write ``content`` to a temporary file, flush it to the disk, and rename it to ``path``.

    Raises:
        UserError: the disk is full or the folder cannot be written. An existing file is untouched.
    """
    aside = path.with_name(f'{ASIDE}{path.name}.{os.getpid()}.{secrets.token_hex(4)}')  # hosts may share the folder
    data = content.encode() if isinstance(content, str) else content
    try:
        with open(aside, 'wb') as file:
            file.write(data)
        rename_whole(aside, path)
    except OSError as error:
        with contextlib.suppress(OSError):  # it is read-only
            aside.unlink(missing_ok=True)
        raise cannot_write(path, error) from error


def remove(path: Path) -> None:
    """Delete a file if it exists.

    Raises:
        UserError: it cannot be deleted.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        if path.exists():  # in a read-only folder, deleting fails even for a file that does not exist
            raise cannot_write(path, error) from error


def open_to_append(path: Path) -> TextIO:
    """Open a text file to append lines.

    Raises:
        UserError: it cannot be written.
    """
    try:
        return open(path, 'a', buffering=1)
    except OSError as error:
        raise cannot_write(path, error) from error


def make_folder(path: Path) -> None:
    """Create a folder and its parents if it does not exist.

    Raises:
        UserError: it cannot be created.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'cannot make {path}: {error.strerror}; choose another folder with --runs or --data') from error


def obstacle(path: Path) -> str:
    """What keeps files from being made and filled in a folder that exists; empty if nothing does."""
    try:
        with tempfile.TemporaryFile(dir=path, buffering=0) as file:
            file.write(bytes(4096))  # on a full disk, an empty file can still be made
    except OSError as error:
        return str(cannot_write(path, error))
    return ''


def can_be_written(path: Path) -> bool:
    """Whether files can be made and filled in a folder that exists."""
    return not obstacle(path)


def settle_home() -> None:
    """Make this process and its children work without a home folder, or with one that cannot be written.

    matplotlib keeps its list of fonts in ``MPLCONFIGDIR`` or in the home folder. If it cannot, each process would make
    a list of its own and print two lines about it, so it gets a temporary folder. Call this before it is imported.
    """
    if os.path.expanduser('~') == '~':
        os.environ['HOME'] = os.sep  # a user without a name; Docker does the same
    named = os.environ.get('MPLCONFIGDIR')
    homes = [os.environ.get(f'XDG_{kind}_HOME') or f'~/.{kind.lower()}' for kind in ('CONFIG', 'CACHE')]
    if not all(map(_can_be_made, [named] if named else homes)):
        os.environ['MPLCONFIGDIR'] = folder = tempfile.mkdtemp(prefix='matplotlib-')
        atexit.register(shutil.rmtree, folder, ignore_errors=True)


def _can_be_made(folder: str) -> bool:
    """Whether a folder can be written, or made so that it can."""
    path = Path(folder).expanduser().absolute()
    return can_be_written(next(at for at in (path, *path.parents) if os.path.exists(at)))


def rename_whole(aside: Path, path: Path) -> None:
    """Flush a finished file to the disk, then rename it. After a crash, the old or the new file is there whole."""
    with open(aside, 'rb') as file:
        os.fsync(file.fileno())
    os.replace(aside, path)


@contextlib.contextmanager
def locked(path: Path, patience_s: Optional[float] = None) -> Iterator[Optional[TextIO]]:
    """Hold an exclusive lock. The kernel releases it when the process dies, so the file may stay.

    Args:
        path (Path): the lock file; created if missing.
        patience_s (float, optional): how long to wait for another process; None waits without limit.

    Returns:
        TextIO: the file that holds the lock; None if another process still holds it after that time.

    Raises:
        UserError: the file cannot be written.
    """
    import fcntl

    with open_to_append(path) as file:
        deadline = math.inf if patience_s is None else time.monotonic() + patience_s
        while True:
            try:
                # Without a deadline the kernel wakes this process at once.
                fcntl.flock(file, fcntl.LOCK_EX | (0 if patience_s is None else fcntl.LOCK_NB))
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    yield None
                    return
                time.sleep(0.05)
            except OSError as error:
                raise no_locks(path, error) from error
        yield file


def no_locks(path: Path, error: OSError) -> UserError:
    """The error for a file that cannot be locked."""
    return UserError(
        f'the file system of {path.parent} has no locks ({error.strerror}), so two commands could train one run: '
        'have it mounted with locks (Lustre: -o flock; NFS: without nolock) or choose another folder with --runs'
    )


def check_locks(folder: Path) -> str:
    """Try a lock in a folder, which is created if it is missing.

    Returns:
        str: a warning if locks there may hold on this machine only, else ''.

    Raises:
        UserError: there are no locks, or the folder cannot be written.
    """
    make_folder(folder)
    probe = folder / f'{ASIDE}locks.{os.getpid()}'
    try:
        with locked(probe, patience_s=0):
            pass
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
    kind, options = _mount_of(folder)
    if not _locks_of_one_machine(kind, options):
        return ''
    return (
        f'locks in {folder} ({kind}) may hold on this machine only: start no other command on these runs from another '
        'machine while this one works'
    )


def _locks_of_one_machine(kind: str, options: Set[str]) -> bool:
    if kind.startswith('nfs'):
        return bool(options & {'nolock', 'local_lock=all', 'local_lock=flock'})
    if kind in ('cifs', 'smb3'):
        return bool(options & {'nobrl', 'nolock'})
    return kind.startswith('fuse.') or kind == 'fuse' or (kind == 'lustre' and 'localflock' in options)


class Mount(NamedTuple):
    """A mounted file system: the folder in it that is mounted, where, its type, and its options."""

    root: Path
    point: Path
    kind: str
    options: Set[str]


PROC = Path('/proc/self')


def mounts(proc: Path = PROC) -> List[Mount]:
    """The mounted file systems in order; those that come later lie on top. Empty if they are not known.

    Args:
        proc (Path): the process's folder in /proc.
    """
    try:
        lines = (proc / 'mountinfo').read_text().splitlines()
    except OSError:  # not Linux
        return []
    found = []
    for line in lines:
        before, _, after = line.partition(' - ')
        root, point, options = before.split()[3:6]
        kind, _, of_disk = (after.split() + ['', ''])[:3]
        found.append(Mount(_unescaped(root), _unescaped(point), kind, {*options.split(','), *of_disk.split(',')}))
    return found


def _unescaped(field: str) -> Path:
    return Path(re.sub(r'\\([0-7]{3})', lambda octal: chr(int(octal[1], 8)), field))


def _mount_of(folder: Path, proc: Path = PROC) -> Tuple[str, Set[str]]:
    """Type and options of the file system of a folder; empty if they are not known."""
    found = Mount(Path('/'), Path('/'), '', set())
    for mount in mounts(proc):
        if folder.resolve().is_relative_to(mount.point) and len(mount.point.parts) >= len(found.point.parts):
            found = mount
    return found.kind, found.options


def cannot_write(path: Path, error: OSError) -> UserError:
    """The error for a file that could not be written."""
    first = 'Free some space' if error.errno in NO_ROOM else 'Make it writable'
    return UserError(
        f'cannot write {path}: {error.strerror or error}. {first} or choose another folder with '
        '--runs or --data; what is finished is kept and is not trained again'
    )


def write_json(path: Path, content: Any) -> None:
    """:func:`write_whole` for JSON."""
    write_whole(path, json.dumps(content, indent=1, allow_nan=False) + '\n')


def read_json(path: Path, cure: str = 'delete it and run again') -> Any:
    """The content of a JSON file, or None if there is no such file. ``cure`` is for the message if it is damaged.

    Raises:
        UserError: the file exists but is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f'{path} cannot be read ({error}): {cure}') from error


#: The most values that a YAML file may expand to. Each alias (``*name``) counts as all values that it repeats.
MOST_VALUES = 100_000


class UniqueKeys(yaml.SafeLoader):
    """Refuses a mapping with a key twice. PyYAML would take the last one, and what the first one says would be lost.

    1e-4 is a number, as in JSON and YAML 1.2; for PyYAML it would be text, as it has no point.
    """

    def compose_mapping_node(self, anchor: Optional[str]) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        first: Dict[Tuple[str, str], int] = {}
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if (key.tag, key.value) in first:
                says = f'the key {key.value!r:.80} is there already, on line {first[key.tag, key.value]}'
                raise yaml.MarkedYAMLError(problem=says, problem_mark=key.start_mark)
            first[key.tag, key.value] = key.start_mark.line + 1
        return node


UniqueKeys.add_implicit_resolver(
    'tag:yaml.org,2002:float', re.compile(r'[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$'), list('-+.0123456789')
)


def read_yaml(path: Path) -> Any:
    """The content of a YAML file of plain values.

    Raises:
        OSError: the file cannot be read.
        UserError: it is not YAML of plain values, or a mapping has a key twice; the message names the file and the
            line.
    """
    try:
        content = yaml.load(path.read_text(encoding='utf-8'), UniqueKeys)
        if _count(content, {}) > MOST_VALUES:  # nested aliases multiply, and an error message would show them all
            raise ValueError(f'it stands for more than {MOST_VALUES} values')
        return content
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:  # ValueError: not UTF-8, or no such date
        place = getattr(error, 'problem_mark', None)
        where = f', line {place.line + 1}' if place else ''
        reason = ' '.join(str(getattr(error, 'problem', None) or error).split())
        raise UserError(f'{path}{where}: not valid YAML: {reason}') from error


def _count(value: Any, known: dict) -> float:
    """The number of values in ``value``. Repeated ones count each time; a value that contains itself is infinite."""
    if not isinstance(value, (dict, list)):
        return 1
    if id(value) not in known:
        known[id(value)] = float('inf')
        items = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_count(item, known) for item in items)
    return known[id(value)]


#: The most bytes that the arrays of a file may take in memory. A run on COCO's 5000 images needs about ten million.
LARGEST = 2**30


def read_arrays(path: Path) -> Dict[str, Any]:
    """The NumPy arrays of a file by name. Arrays of Python objects are refused, because they would be unpickled.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, is not such a file, or is larger than ``LARGEST``.
    """
    import numpy as np

    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > LARGEST:
            raise ValueError(f'it unfolds to {size / 2**30:.1f} GiB')
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise
    except Exception as error:  # on damaged files, zipfile and NumPy can raise almost anything
        reason = ' '.join(str(error).split())[:200] or type(error).__name__  # some messages quote the whole file
        raise ValueError(f'cannot be read ({reason})') from error


_CODE = Path(__file__).resolve().parents[2]
#: The checkout. For an installed package it is the current folder, because nobody looks for results in site-packages.
HOME = _CODE if (_CODE / 'pyproject.toml').exists() else Path.cwd()
RUNS, DATA = HOME / 'runs', HOME / 'data'
