"""ImageNet weights: brings the files that backbones start from into torch's cache before any training begins."""

import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, Optional
from urllib.parse import urlparse

from experiments.store.errors import UserError

TIMEOUT_S = 30.0  # longest silence of a server


def ensure_weights(configs: Iterable[dict], progress: Callable[[str, int, int], None], in_process: Callable) -> None:
    """Download the weights that the configs name by a URL, unless they are in torch's cache.

    Each file is downloaded once for all runs. mmengine would download it in each run, but only after the run has begun,
    and its error does not say where the file belongs.

    Args:
        configs (iterable[dict]): resolved configs.
        progress (callable): called with (file being downloaded, files done, files in total).
        in_process (callable): ``in_process(function, *args)`` runs a function in a process that may import torch.

    Raises:
        UserError: files cannot be downloaded; the message names each file and where to put it.
    """
    missing = {url: path for config in configs for url, path in weight_files(config).items() if not path.exists()}
    failed: Dict[str, str] = {}
    for url, path in missing.items():
        name = f'weights {path.name}'
        progress(name, 0, 1)
        try:
            in_process(_download, url, str(path), lambda done, total, name=name: progress(name, done, total))
        except OSError as error:
            failed[url] = str(error)
    if failed:
        files = ' and '.join(f'{url} at {missing[url]}' for url in failed)
        reasons = '; '.join(dict.fromkeys(failed.values()))
        raise UserError(f'cannot download weights ({reasons}): fetch them on another machine and put {files}')


def weight_files(config: dict) -> Dict[str, Path]:
    """The weights that a config names by a URL or as ``torchvision://NAME``: URL -> its file in torch's cache."""
    urls = [url for checkpoint in _checkpoints(config.get('model')) if (url := _url_of(checkpoint))]
    return {url: _cache_folder() / Path(urlparse(url).path).name for url in urls}


def _checkpoints(value: Any) -> Iterator[str]:
    """Every ``init_cfg.checkpoint`` in a model's config."""
    if isinstance(value, dict):
        start = value.get('init_cfg')
        if isinstance(start, dict) and isinstance(start.get('checkpoint'), str):
            yield start['checkpoint']
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _checkpoints(item)


def _url_of(checkpoint: str) -> Optional[str]:
    """The URL of a checkpoint's name; None for a file, or for a name that mmengine resolves itself."""
    scheme, _, name = checkpoint.partition('://')
    if scheme == 'torchvision':
        return _torchvision_urls().get(name)
    return checkpoint if scheme in ('http', 'https') else None


@lru_cache(maxsize=None)
def _torchvision_urls() -> Dict[str, str]:
    """mmengine's list of URLs. It lacks names such as ``resnet50.imagenet1k_v2``, which torchvision resolves."""
    import mmengine

    return json.loads((Path(mmengine.__file__).parent / 'hub' / 'torchvision_0.12.json').read_text())


def _cache_folder() -> Path:
    """``torch.hub.get_dir()/checkpoints``, without importing torch."""
    cache = os.getenv('XDG_CACHE_HOME', '~/.cache')
    return Path(os.getenv('TORCH_HOME', os.path.join(cache, 'torch'))).expanduser() / 'hub' / 'checkpoints'


def _download(url: str, path: str, report: Callable[[int, int], None]) -> None:
    """Download a file into torch's cache, whole or not at all. A digest in its name is checked."""
    import http.client
    import socket

    from torch.hub import HASH_REGEX, download_url_to_file

    digest = HASH_REGEX.search(Path(path).name)
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_S)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        download_url_to_file(url, path, digest and digest.group(1), progress=False)
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        # urllib's errors hold an open connection, which cannot be pickled.
        raise OSError(str(error).removeprefix('<urlopen error ').removesuffix('>')) from None
    finally:
        socket.setdefaulttimeout(before)
    report(1, 1)
