"""Image files from any source: found by extension, and read completely or reported as broken."""

import contextlib
import io
import warnings
from pathlib import Path
from typing import Iterator, List, Union

import mmcv
import numpy as np
from PIL import Image

from o2f.errors import InputError

#: Extensions of image files, in lower or upper case.
ENDINGS = ('.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')


def find_images(folder: Path, leave_out: Path) -> List[Path]:
    """Find the image files in a folder and its subfolders.

    Args:
        folder (Path): the folder.
        leave_out (Path): a folder in which nothing is looked for.

    Returns:
        list[Path]: the files, sorted by their paths relative to the folder.
    """
    inside = leave_out.resolve()
    found = (path for path in folder.rglob('*') if path.suffix.lower() in ENDINGS and path.is_file())
    return sorted(
        (path for path in found if inside not in path.resolve().parents),
        key=lambda path: path.relative_to(folder).as_posix(),
    )


def read_image(path: Path) -> np.ndarray:
    """Read an image as MMDetection's ``LoadImageFromFile`` does, rotated according to its EXIF data.

    Args:
        path (Path): the file.

    Returns:
        ndarray: (H, W, 3) uint8, channels blue, green, red.

    Raises:
        InputError: the file cannot be read, is damaged or truncated, or has more than 179 million pixels, Pillow's
            limit for decompression bombs.
    """
    with named(path):
        content = path.read_bytes()
        # OpenCV alone would not do: it silently fills missing parts with grey, and decodes up to 2^30 pixels.
        with Image.open(io.BytesIO(content)) as image:
            image.load()
        pixels = mmcv.imfrombytes(content, flag='color', backend='cv2')
    if pixels is None:
        raise InputError(f'{path} cannot be read: OpenCV does not know this kind of image')
    return pixels


@contextlib.contextmanager
def named(path: Union[str, Path]) -> Iterator[None]:
    """Turn any error in reading the image ``path`` into one line with its name.

    Raises:
        InputError: any exception of the block.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', Image.DecompressionBombWarning)  # issued for half as many pixels
            yield
    except OSError as error:
        # Pillow names an image that it cannot identify by the address of a buffer.
        reason = 'no image, or a damaged one' if isinstance(error, Image.UnidentifiedImageError) else error
        raise InputError(f'{path} cannot be read: {getattr(error, "strerror", None) or reason}') from error
    except Image.DecompressionBombError as error:
        raise InputError(f'{path} is not read: it would unfold to too many pixels (a decompression bomb?)') from error
    except Exception as error:  # decoders can raise anything on damaged files
        raise InputError(f'{path} cannot be read: {" ".join(str(error).split()) or type(error).__name__}') from error
