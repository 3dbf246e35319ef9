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
    """Git commit, package versions, device, host and start time of the training process.

    ``cpu`` distinguishes processors of one name. Processors with the same text round sums in the same way.
    """
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
        cpu=f'{_cpu_model()}, {torch.backends.cpu.get_cpu_capability()}',
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
    return _cpu_info().get('model name') or platform.processor() or platform.machine()


def _cpu_model() -> str:
    """Vendor, family, model and stepping, such as 'AuthenticAMD 25 1 1'; the architecture if those are unknown."""
    info = _cpu_info()
    keys = ('vendor_id', 'cpu family', 'model', 'stepping')
    return ' '.join(info[key] for key in keys if key in info) or platform.machine()


def _cpu_info() -> Dict[str, str]:
    """What Linux reports about the first processor."""
    try:
        lines = Path('/proc/cpuinfo').read_text().split('\n\n')[0].splitlines()
    except OSError:
        return {}
    pairs = (line.partition(':') for line in lines)
    return {key.strip(): value.strip() for key, _, value in pairs}
