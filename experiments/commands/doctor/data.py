"""Checks the files that the runs will open: annotations, a sample of images, weights."""

import re
import urllib.request
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Iterable, Iterator, Sequence, Set
from urllib.parse import urlparse

from experiments.commands.doctor.checks import FAILS, NOTE, OK, WARNING, Check
from experiments.commands.estimate.counts import PUBLISHED
from experiments.data.annotations import sha256
from experiments.data.weights import weight_files
from experiments.spec.paths import data_paths, generated, makes_data, substitute_paths

if TYPE_CHECKING:
    from o2f.io.dataset_check import Report

_ANSWER_S = 5.0  # time limit for a server of weights


def data(configs: Sequence[dict], folder: Path) -> Iterator[Check]:
    """Check generated data, or the annotations and images that must exist; each once.

    Args:
        configs (sequence[dict]): resolved configs.
        folder (Path): the data folder.
    """
    import o2f  # noqa: F401  (before MMDetection)
    from o2f.io.dataset_check import inspect_once

    seen: Set[Any] = set()
    existing = []
    for config in configs:
        yield from _generated(config, folder / 'desk', seen)
        if not makes_data(config):
            existing.append(substitute_paths(config, data_paths(config, folder)))
    for report in inspect_once(existing):
        yield from _looked_at(report)


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


def _looked_at(report: 'Report') -> Iterator[Check]:
    """A report on a dataset as checks. Only what is refused makes a run fail."""
    from o2f.io.dataset_check import REFUSED, sizes_file

    annotations = report.source.annotations
    name = annotations.name
    for finding in report.findings:
        if finding.kind == REFUSED:
            yield Check(FAILS, name, f'{finding.says}{_where_from(annotations)}')
        else:
            yield Check(NOTE, name, finding.says)
    if not report.files:
        return
    yield counted(annotations, len(report.files), report.instances)
    yield Check(OK, name, f'sha256 {sha256(annotations)}')
    if not report.of(REFUSED):
        yield Check(OK, name, f'{len(report.files)} images are there; {report.decoded} of them were decoded')
    if annotations.suffix == '.odgt' and not sizes_file(annotations).exists():
        missing = sizes_file(annotations).name
        yield Check(NOTE, name, f'{missing} is not there: the first run opens every image once and writes it')


def _where_from(annotations: Path) -> str:
    if annotations.exists():
        return ''
    if annotations.name not in PUBLISHED:
        return ' (--data names another folder)'
    source = 'www.crowdhuman.org' if annotations.suffix == '.odgt' else 'cocodataset.org'
    return f' (from {source}; --data names another folder; folders: docs/reproducing.md)'


def counted(annotations: Path, images: int, instances: int) -> Check:
    """Compare the images and instances of a file with the published numbers, if its name has any."""
    text = f'{images} images, {instances} instances'
    known = PUBLISHED.get(annotations.name)
    if known is None:
        return Check(OK, annotations.name, text)
    published = f'{known.images} images' + ('' if known.instances is None else f', {known.instances} instances')
    if images != known.images or known.instances not in (None, instances):
        return Check(WARNING, annotations.name, f'{text}, but {published} are published: results will be of other data')
    return Check(OK, annotations.name, f'{text}, as published')


def weights(configs: Iterable[dict]) -> Iterator[Check]:
    """Check the weights that backbones start from, in torch's cache."""
    files: Dict[str, Path] = {url: path for config in configs for url, path in weight_files(config).items()}
    for url, path in files.items():
        yield _cached(path) if path.exists() else _to_fetch(url, path)


def _cached(path: Path) -> Check:
    wanted = re.search(r'-([0-9a-f]{8,})\.', path.name)
    if wanted and not sha256(path).startswith(wanted[1]):
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
