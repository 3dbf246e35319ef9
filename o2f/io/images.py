"""Image files from any source: found by extension, and read completely or reported as broken."""

import contextlib
import io
import warnings
from pathlib import Path
from typing import Iterator, List, Set, Tuple, Union

import mmcv
import numpy as np
from PIL import ExifTags, Image, ImageOps

from o2f.errors import InputError, one_line

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
    """Find the image files in a folder and its subfolders, linked ones too.

    Files without an extension are images if Pillow knows their first bytes. Hidden files are never looked at.

    Args:
        folder (Path): the folder.
        leave_out (Path): a folder below it in which nothing is looked for.

    Returns:
        tuple[list[Path], list[Path]]: the images and all other files, sorted by their paths relative to the folder.

    Raises:
        InputError: a folder cannot be read.
    """
    known = endings()
    images: List[Path] = []
    others: List[Path] = []
    for path in sorted(_files(folder, leave_out), key=lambda path: path.relative_to(folder).as_posix()):
        is_image = path.suffix.lower() in known or (not path.suffix and _opens(path))
        (images if is_image else others).append(path)
    return images, others


def _files(folder: Path, leave_out: Path) -> Iterator[Path]:
    """All files but hidden ones. Links may lead in circles: each folder is entered once, through a link only if there
    is no other way."""
    folders, seen = [folder], {leave_out.resolve()}
    links: List[Path] = []
    while folders or links:
        here = folders.pop() if folders else links.pop(0)
        if here.resolve() in seen:
            continue
        seen.add(here.resolve())
        try:
            entries = [(path, path.is_dir()) for path in sorted(here.iterdir()) if not path.name.startswith('.')]
        except OSError as error:
            raise InputError(f'{here} cannot be read: {error.strerror}') from error
        for path, is_folder in entries:
            if is_folder:
                (links if path.is_symlink() else folders).append(path)
            elif path.is_file() or path.is_symlink():  # a link to nothing is named when it is read
                yield path


def _opens(path: Path) -> bool:
    try:
        with Image.open(path):
            return True
    except Exception:  # any file may be looked at, and decoders can raise anything
        return False


def read_image(path: Path) -> np.ndarray:
    """Read an image file, see [`decode`][o2f.io.images.decode]. Pillow looks whether it is whole.

    Args:
        path (Path): the file.

    Returns:
        ndarray: (H, W, 3) uint8, channels blue, green, red.

    Raises:
        InputError: the file cannot be read or decoded, is truncated, or has more than 179 million pixels, Pillow's
            limit for decompression bombs.
    """
    with named(path):
        content = path.read_bytes()
        # OpenCV alone would not do: it silently fills missing parts with grey, and decodes up to 2^30 pixels.
        with Image.open(io.BytesIO(content)) as image:
            image.load()
        return decode(content)


def decode(content: bytes) -> np.ndarray:
    """Decode an image as MMDetection's ``LoadImageFromFile`` does, turned according to its EXIF data.

    Check, training and prediction all decode with this. Formats that OpenCV does not know are left to Pillow. A
    training does not look whether files are whole, which would take as long again.

    Args:
        content (bytes): the content of the file.

    Returns:
        ndarray: (H, W, 3) uint8, channels blue, green, red.

    Raises:
        Exception: the image is damaged, or has pixels of 32 bits, whose range is unknown. Use it in
            [`named`][o2f.io.images.named].
    """
    pixels = mmcv.imfrombytes(content, flag='color', backend='cv2')
    if pixels is not None and pixels.ndim == 3:
        return pixels
    with Image.open(io.BytesIO(content)) as image:
        if image.mode.startswith(('I', 'F')):  # convert would clip them to 0 to 255
            raise ValueError(f'its pixels are of mode {image.mode}: scale them to 0 to 255, and save it with 8 bits')
        turned = ImageOps.exif_transpose(image)
        return np.ascontiguousarray(np.asarray(turned.convert('RGB'))[..., ::-1])


def orientation(path: Path) -> int:
    """EXIF's orientation of an image, according to which it is turned or mirrored when it is loaded.

    Args:
        path (Path): the file.

    Returns:
        int: 1 to 8. 1 leaves the image as it is, 2 to 4 keep its width and height, and 5 to 8 swap them.

    Raises:
        InputError: the file cannot be read.
    """
    with named(path), Image.open(path) as image:
        try:
            value = image.getexif().get(ExifTags.Base.Orientation)
        except Exception:  # damaged EXIF data can raise anything, and turn nothing
            return 1
        return value if value in range(1, 9) and image.format != 'AVIF' else 1  # OpenCV turns no AVIF


def size_of(path: Path) -> Tuple[int, int]:
    """Width and height of an image as it is loaded. Only the header is read, unless EXIF data turn the image.

    Args:
        path (Path): the file.

    Raises:
        InputError: the file cannot be read.
    """
    if orientation(path) > 1:  # some formats of Pillow give the turned size, others that of the file
        height, width = read_image(path).shape[:2]
        return width, height
    with named(path), Image.open(path) as image:
        return image.size


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
        raise InputError(f'{path} cannot be read: its pixels are too many (a decompression bomb?)') from error
    except Exception as error:  # decoders can raise anything on damaged files
        raise InputError(f'{path} cannot be read: {one_line(error)}') from error
