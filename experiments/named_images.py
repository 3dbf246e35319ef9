"""Images that cannot be read while a run trains or is evaluated, named in one line."""

from typing import Any, Optional

from mmcv.transforms import LoadImageFromFile
from mmdet.registry import TRANSFORMS
from mmengine.config import Config

from experiments.errors import UserError
from o2f.errors import InputError
from o2f.images import named


@TRANSFORMS.register_module()
class LoadNamedImage(LoadImageFromFile):
    """MMDetection's ``LoadImageFromFile``, which leaves it to decoders to say what is wrong with which file."""

    def transform(self, results: dict) -> Optional[dict]:
        """Read the image ``results['img_path']``.

        Raises:
            UserError: it is missing, no image, or unfolds to more pixels than OpenCV takes (2^30).
        """
        try:
            with named(results['img_path']):
                return self._load(results)
        except InputError as error:
            raise UserError(str(error)) from error

    def _load(self, results: dict) -> Optional[dict]:
        try:
            return super().transform(results)
        except AssertionError as error:  # what OpenCV does not know is None
            raise OSError('no image, or a damaged one') from error


def name_images(config: Config) -> None:
    """Let the pipelines of all loaders name the images that they cannot read."""
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if config.get(name):
            _replace(config[name])


def _replace(part: Any) -> None:
    if isinstance(part, dict):
        if part.get('type') == LoadImageFromFile.__name__:
            part['type'] = LoadNamedImage.__name__
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            _replace(inner)


def of_worker(error: UserError) -> UserError:
    """The error as it was raised, where a process of a loader has put its traceback before it."""
    lines = str(error).splitlines()
    if not lines or not lines[0].startswith('Caught '):
        return error
    return UserError(lines[-1].partition(f'{UserError.__name__}: ')[2])
