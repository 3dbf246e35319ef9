"""Image files from any source: found by extension, and read completely or reported as broken."""

import contextlib
import io
import warnings
from pathlib import Path
from typing import Iterator, List, Set, Tuple, Union

import mmcv
import numpy as np
from PIL import Image, ImageOps

from o2f.errors import InputError

#: Formats that Pillow lists and that are no pictures: documents, films and data. Reading them may need other programs.
_NO_PICTURES = {'PDF', 'EPS', 'MPEG', 'GRIB', 'HDF5', 'BUFR', 'FITS', 'WMF', 'PALM', 'XVTHUMB', 'GBR', 'CUR'}
#: Formats that are drawn on again in the same format. Other images are drawn as .png.
DRAWN = ('.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')


def endings() -> Set[str]:
    """Extensions of the image files that can be read, in lower case. Plugins of Pillow add theirs, such as .heic."""
    return {ending for ending, kind in Image.registered_extensions().items() if kind in Image.OPEN} - {
        ending for ending, kind in Image.registered_extensions().items() if kind in _NO_PICTURES
    }


def find_images(folder: Path, leave_out: Path) -> Tuple[List[Path], List[Path]]:
    """Find the image files in a folder and its subfolders.

    Files without an extension are images if Pillow knows their first bytes. Hidden files are never looked at.

    Args:
        folder (Path): the folder.
        leave_out (Path): a folder in which nothing is looked for.

    Returns:
        tuple[list[Path], list[Path]]: the images and all other files, sorted by their paths relative to the folder.
    """
    inside, known = leave_out.resolve(), endings()
    files = sorted(
        (path for path in folder.rglob('*') if path.is_file() and inside not in path.resolve().parents),
        key=lambda path: path.relative_to(folder).as_posix(),
    )
    images: List[Path] = []
    others: List[Path] = []
    for path in files:
        if any(part.startswith('.') for part in path.relative_to(folder).parts):
            continue
        is_image = path.suffix.lower() in known or (not path.suffix and _opens(path))
        (images if is_image else others).append(path)
    return images, others


def _opens(path: Path) -> bool:
    try:
        with Image.open(path):
            return True
    except Exception:  # any file may be looked at, and decoders can raise anything
        return False


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
            if pixels is None:  # a format that OpenCV does not know
                turned = ImageOps.exif_transpose(image) or image
                pixels = np.ascontiguousarray(np.asarray(turned.convert('RGB'))[..., ::-1])
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
