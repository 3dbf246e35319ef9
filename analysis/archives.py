"""Reads files of arrays (.npz) that anyone may have made: nothing in them is run, and none fills the memory."""

import zipfile
from pathlib import Path
from typing import Dict

import numpy as np

#: Bytes that the arrays of a file may take in memory; those of a run on COCO's 5000 images are some ten million.
LARGEST = 2**30


def read_arrays(path: Path) -> Dict[str, np.ndarray]:
    """The arrays of a file by name; arrays of Python objects, which would be unpickled, are refused.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, is something else, or is larger than ``LARGEST``.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > LARGEST:
            raise ValueError(f'it unfolds to {size / 2**30:.1f} GiB')
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise
    except Exception as error:  # zipfile and NumPy raise almost anything on damaged files
        reason = ' '.join(str(error).split())[:200] or type(error).__name__  # some quote all of the file
        raise ValueError(f'cannot be read ({reason})') from error
