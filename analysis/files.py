"""Files that appear whole or not at all."""

import os
from contextlib import suppress
from pathlib import Path

from analysis.results import UserError


def write_whole(path: Path, content: bytes) -> None:
    """:func:`write_quietly`, then say so."""
    write_quietly(path, content)
    print(f'wrote {path}')


def write_quietly(path: Path, content: bytes, option: str = '--out') -> None:
    """Write aside and rename, so that the file is there whole or as it was before.

    Raises:
        UserError: it cannot be written; the message names ``option``, which chooses the folder.
    """
    aside = path.with_name(f'.{path.name}.{os.getpid()}')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(aside, 'wb') as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError as error:
        with suppress(OSError):  # it may never have been there
            aside.unlink()
        raise UserError(f'cannot write {path} ({error.strerror}): choose another folder with {option}') from error
