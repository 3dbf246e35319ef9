"""Generated data on disk: built once, whole or not at all, and checked on every use."""

import hashlib
import json
import os
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Callable

from experiments.spec.synthetic import canonical, folder_name
from experiments.store.files import locked

MANIFEST = 'MANIFEST.json'
Progress = Callable[[int, int], None]


def ensure(
    root: Path | str,
    name: str,
    spec: Any,
    build: Callable[[Any, Path, Progress | None], None],
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr),
) -> Path:
    """The folder under `root` with the output of `build(spec, folder, progress)`. Builds it unless it exists intact.

    Several processes may call this at once: one builds, and others that want the same wait. A folder with a missing or
    altered file is rebuilt, and `say` gets a line about it. Errors of `build` and any OSError are passed on unchanged.
    Then no new folder is in place.
    """
    root, folder = Path(root), folder_name(name, spec)
    target, aside = root / folder, root / f'.{folder}.building'
    root.mkdir(parents=True, exist_ok=True)
    with locked(root / f'.{folder}.lock'):
        if target.exists():
            trouble = damage(target, spec)
            if trouble is None:
                return target
            say(f'{target}: {trouble}; building it again')
        if aside.exists():  # this process holds the lock, so the builder is dead
            shutil.rmtree(aside)
        try:
            aside.mkdir()
            build(spec, aside, progress)
            _seal(aside, spec)
            if target.exists():
                shutil.rmtree(target)
            os.rename(aside, target)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        _sync(root)
    return target


def damage(folder: Path, spec: Any) -> str | None:
    """What is wrong with a built folder, in a few words, or None. Additional files are not damage."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding='utf-8'))
        files, same = manifest['files'], manifest['spec'] == json.loads(canonical(spec))
        if not same or manifest['sha256'] != _total(files):
            return f'{MANIFEST} is altered'
        for path, entry in files.items():
            if (folder / path).stat().st_size != entry['size']:
                return f'{path} has the wrong size'
            if _digest(folder / path) != entry['sha256']:
                return f'{path} is altered'
    except (FileNotFoundError, NotADirectoryError) as error:
        return f'{os.path.relpath(error.filename, folder)} is missing'
    except (ValueError, KeyError, TypeError, AttributeError):
        return f'{MANIFEST} is not readable'
    return None


def _seal(folder: Path, spec: Any) -> None:
    """Write the manifest of all files in `folder`, and flush everything to the disk."""
    paths = sorted(folder.rglob('*'))
    files = {
        path.relative_to(folder).as_posix(): {'size': path.stat().st_size, 'sha256': _digest(path)}
        for path in paths
        if path.is_file()
    }
    content = {'spec': asdict(spec), 'files': files, 'sha256': _total(files)}
    (folder / MANIFEST).write_text(json.dumps(content, indent=1) + '\n', encoding='utf-8')
    for path in [*paths, folder / MANIFEST, folder]:
        _sync(path)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _total(files: dict[str, dict]) -> str:
    lines = (f'{entry["sha256"]} {entry["size"]} {path}\n' for path, entry in sorted(files.items()))
    return hashlib.sha256(''.join(lines).encode()).hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
