"""Writes a capture: one file of NumPy arrays, of which ``meta`` is JSON as bytes; nothing in it is pickled."""

import io
import json
from pathlib import Path
from typing import Any, Dict

import numpy as np

from experiments.errors import UserError
from experiments.files import make_folder, write_whole
from experiments.provenance import provenance

SCHEMA = 1


def write_capture(path: Path, meta: Dict[str, Any], arrays: Dict[str, np.ndarray]) -> None:
    """Write a capture whole or not at all; the same content gives the same bytes.

    Args:
        path (Path): the file, which ends in .npz.
        meta (dict): what is plain; the schema and the provenance are added.
        arrays (dict): arrays by name.

    Raises:
        UserError: it cannot be written.
    """
    origin = provenance()
    kept = {key: origin[key] for key in ('commit', 'dirty', 'versions', 'device')}  # no time and no host
    content = json.dumps(dict(schema=SCHEMA, **meta, provenance=kept), allow_nan=False)
    file = io.BytesIO()
    arrays = dict(meta=_bytes(content.encode()), **arrays)
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # its options are no arrays, but they have names too
    make_folder(path.parent)
    write_whole(path, file.getvalue())


def image_bytes(path: Path) -> np.ndarray:
    """An image's file as it is, (bytes,) uint8.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return _bytes(path.read_bytes())
    except OSError as error:
        raise UserError(f'{path} cannot be read: {error.strerror}') from error


def _bytes(content: bytes) -> np.ndarray:
    return np.frombuffer(content, np.uint8)
