"""A checkpoint's weights for a cell's model; o2f's errors become those of the command line."""

from pathlib import Path
from typing import Dict

from mmengine.model import BaseModel
from torch import Tensor

from experiments.errors import UserError
from o2f import checkpoints
from o2f.errors import InputError


def read_weights(path: Path) -> Dict[str, Tensor]:
    """The weights of :func:`o2f.checkpoints.read_checkpoint`.

    Raises:
        UserError: the file cannot be read, or is not safe to read.
    """
    try:
        return checkpoints.read_checkpoint(path).weights
    except InputError as error:
        raise UserError(str(error)) from error


def load_strictly(model: BaseModel, weights: Dict[str, Tensor], path: Path) -> None:
    """:func:`o2f.checkpoints.load_strictly`.

    Raises:
        UserError: the weights do not fit the model.
    """
    try:
        checkpoints.load_strictly(model, weights, path)
    except InputError as error:
        raise UserError(str(error)) from error
