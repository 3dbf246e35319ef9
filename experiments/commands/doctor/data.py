"""Checks the files that the runs will open: annotations, a sample of images, weights."""

import hashlib
import re
import urllib.request
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Optional, Sequence, Set, Tuple
from urllib.parse import urlparse

from experiments.commands.doctor.checks import FAILS, NOTE, OK, WARNING, Check
from experiments.commands.estimate.counts import PUBLISHED
from experiments.data.annotations import Content, datasets
from experiments.data.weights import weight_files
from experiments.spec.paths import data_paths, generated
from experiments.store.errors import UserError

#: Number of images of each annotation file that are decoded.
SAMPLE = 64
_ANSWER_S = 5.0  # time limit for a server of weights


def data(configs: Sequence[dict], folder: Path) -> Iterator[Check]:
    """Check generated data, or the annotations and images that must exist; each once.

    Args:
        configs (sequence[dict]): resolved configs.
        folder (Path): the data folder.
    """
    seen: Set[Any] = set()
    for config in configs:
        if config.get('generate'):
            yield from _generated(config, folder / 'desk', seen)
            continue
        drop = config.get('degenerate_boxes', 'error') == 'drop'
        for annotations, images, check in datasets(config, data_paths(config, folder)):
            if (annotations, images) not in seen:
                seen.add((annotations, images))
                yield from _annotated(annotations, images, check, drop)


def _generated(config: dict, root: Path, seen: set) -> Iterator[Check]:
    from experiments.data.synthetic.cache import damage

    for name, spec in generated(config).values():
        if name in seen:
            continue
        seen.add(name)
        if not (root / name).exists():
            yield Check(OK, 'generated data', f'{root / name} is made by the first run that needs it')
            continue
        trouble = damage(root / name, spec)
        says = f'{root / name} is whole' if trouble is None else f'{root / name}: {trouble}; it is made again'
        yield Check(OK if trouble is None else NOTE, 'generated data', says)


def _annotated(annotations: Path, images: Path, check, drop: bool) -> Iterator[Check]:
    name = annotations.name
    try:
        content = check(annotations, images, allow_degenerate=drop)
    except UserError as error:
        yield Check(FAILS, name, f'{error}{_where_from(annotations)}')
        return
    yield counted(annotations, content)
    yield Check(OK, name, f'sha256 {_sha256(annotations)}')
    yield decoded(name, content.images)
    sizes = annotations.with_name(f'id_hw_{"train" if "train" in name else "val"}.json')
    if annotations.suffix == '.odgt' and not sizes.exists():
        yield Check(NOTE, name, f'{sizes.name} is not there: the first run opens every image once and writes it')


def _where_from(annotations: Path) -> str:
    if annotations.exists():
        return ''
    source = 'www.crowdhuman.org' if annotations.suffix == '.odgt' else 'cocodataset.org'
    return f' (from {source}; folders: docs/reproducing.md)'


def counted(annotations: Path, content: Content) -> Check:
    """Compare the images and instances of a file with the published numbers, if its name has any."""
    images, instances = len(content.images), content.instances
    text = f'{images} images, {instances} instances'
    known = PUBLISHED.get(annotations.name)
    if known is None:
        return Check(OK, annotations.name, text)
    published = f'{known.images} images' + ('' if known.instances is None else f', {known.instances} instances')
    if images != known.images or known.instances not in (None, instances):
        return Check(WARNING, annotations.name, f'{text}, but {published} are published: results will be of other data')
    return Check(OK, annotations.name, f'{text}, as published')


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def decoded(name: str, images: Sequence[Tuple[Path, Optional[Tuple[float, float]]]]) -> Check:
    """Decode images spread evenly over an annotation file, and compare their sizes with the file's."""
    import cv2

    step = max(len(images) / SAMPLE, 1)
    sample = [images[int(index * step)] for index in range(min(SAMPLE, len(images)))]
    wrong: List[str] = []
    for path, size in sample:
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        if picture is None:
            wrong.append(f'{path} is no image, or is damaged')
        elif size is not None and picture.shape[1::-1] != tuple(size):
            wrong.append(f'{path} has {picture.shape[1]} x {picture.shape[0]} pixels, not {size[0]} x {size[1]}')
    if wrong:
        more = f' (and {len(wrong) - 1} more of {len(sample)} looked at)' if len(wrong) > 1 else ''
        return Check(FAILS, name, f'{wrong[0]}{more}: fetch it again')
    return Check(OK, name, f'{len(images)} images are there; {len(sample)} of them were decoded')


def weights(configs: Iterable[dict]) -> Iterator[Check]:
    """Check the weights that backbones start from, in torch's cache."""
    files: Dict[str, Path] = {url: path for config in configs for url, path in weight_files(config).items()}
    for url, path in files.items():
        yield _cached(path) if path.exists() else _to_fetch(url, path)


def _cached(path: Path) -> Check:
    wanted = re.search(r'-([0-9a-f]{8,})\.', path.name)
    if wanted and not _sha256(path).startswith(wanted[1]):
        return Check(FAILS, 'weights', f'{path} is damaged, its sha256 is not {wanted[1]}...: delete it')
    return Check(OK, 'weights', f'{path}' + (' with the digest in its name' if wanted else ''))


def _to_fetch(url: str, path: Path) -> Check:
    if _answers(f'{urlparse(url).scheme}://{urlparse(url).netloc}'):
        return Check(OK, 'weights', f'{path.name} is downloaded by the first run ({url})')
    return Check(
        FAILS,
        'weights',
        f'{path.name} is missing and its server does not answer: fetch {url} on another machine and put it at {path}',
    )


@lru_cache(maxsize=None)
def _answers(server: str) -> bool:
    try:
        urllib.request.urlopen(urllib.request.Request(server, method='HEAD'), timeout=_ANSWER_S).close()
    except urllib.error.HTTPError:
        return True  # the server answers, even if only with an error
    except (OSError, ValueError):
        return False
    return True
