"""Image files from anyone: found by their endings, and read whole or named as broken."""

import contextlib
import io
import warnings
from pathlib import Path
from typing import Iterator, List, Union

import mmcv
import numpy as np
from PIL import Image

from o2f.errors import InputError

#: Names of image files end in one of these, in any case.
ENDINGS = ('.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')


def find_images(folder: Path, leave_out: Path) -> List[Path]:
    """Image files in a folder and the folders in it, sorted by their names from there; none beneath ``leave_out``."""
    inside = leave_out.resolve()
    found = (path for path in folder.rglob('*') if path.suffix.lower() in ENDINGS and path.is_file())
    return sorted(
        (path for path in found if inside not in path.resolve().parents),
        key=lambda path: path.relative_to(folder).as_posix(),
    )


def read_image(path: Path) -> np.ndarray:
    """Read an image as MMDetection's ``LoadImageFromFile`` does, turned as its EXIF data say.

    Returns:
        ndarray: (H, W, 3) uint8, blue, green, red.

    Raises:
        InputError: the file cannot be read, is damaged or cut short, or would unfold to more pixels than Pillow takes
            for a decompression bomb (179 million).
    """
    with named(path):
        content = path.read_bytes()
        # OpenCV fills what is missing of a file with grey and says nothing, and unfolds up to 2^30 pixels.
        with Image.open(io.BytesIO(content)) as image:
            image.load()
        pixels = mmcv.imfrombytes(content, flag='color', backend='cv2')
    if pixels is None:
        raise InputError(f'{path} cannot be read: OpenCV does not know this kind of image')
    return pixels


@contextlib.contextmanager
def named(path: Union[str, Path]) -> Iterator[None]:
    """Turn what goes wrong in reading the image ``path`` into one line with its name.

    Raises:
        InputError: any exception of the block.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', Image.DecompressionBombWarning)  # of half as many pixels
            yield
    except OSError as error:
        # What Pillow cannot identify it calls by the address of a buffer.
        reason = 'no image, or a damaged one' if isinstance(error, Image.UnidentifiedImageError) else error
        raise InputError(f'{path} cannot be read: {getattr(error, "strerror", None) or reason}') from error
    except Image.DecompressionBombError as error:
        raise InputError(f'{path} is not read: it would unfold to too many pixels (a decompression bomb?)') from error
    except Exception as error:  # decoders raise what they like on damaged files
        raise InputError(f'{path} cannot be read: {" ".join(str(error).split()) or type(error).__name__}') from error
