"""Where a result comes from: code, versions, machine."""

import platform
import subprocess
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Dict, Optional

_PACKAGES = (
    'torch',
    'torchvision',
    'mmdet',
    'mmengine',
    'mmcv',
    'mmcv-lite',
    'numpy',
    'pycocotools',
    'faster-coco-eval',
    'opencv-python-headless',
    'opencv-python',
)


def provenance() -> Dict[str, Any]:
    """Git commit, package versions, device, host and start time of the process that trains."""
    import torch

    commit = _git('rev-parse', '--short=12', 'HEAD')
    return dict(
        commit=commit,
        dirty=bool(_git('status', '--porcelain', '--untracked-files=no')) if commit else None,
        python=platform.python_version(),
        versions={name: found for name in _PACKAGES if (found := _version(name))},
        device=torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f'{_cpu_name()}, {torch.get_num_threads()} thread(s)',
        host=platform.node(),
        started=datetime.now(timezone.utc).isoformat(timespec='seconds'),
    )


def _git(*command: str) -> Optional[str]:
    try:
        done = subprocess.run(('git', *command), cwd=Path(__file__).parent, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(package: str) -> Optional[str]:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu_name() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')), platform.machine())
