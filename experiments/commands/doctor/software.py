"""Checks Python, the packages and the libraries that they load."""

import ctypes.util
import importlib
import sys
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Dict, Iterator, List, Optional

from experiments.commands.doctor.checks import FAILS, NOTE, OK, WARNING, Check

#: The file with versions that are known to work together.
CONSTRAINTS = Path(__file__).resolve().parents[3] / 'constraints.txt'
#: The packages that a run imports. Of a tuple, one is enough.
NEEDED = (
    'torch',
    'torchvision',
    'mmdet',
    'mmengine',
    ('mmcv', 'mmcv-lite'),
    'numpy',
    ('opencv-python-headless', 'opencv-python'),
    'pycocotools',
    'faster-coco-eval',
    'scipy',
    'PyYAML',
    'rich',
)
_SET_UP = 'run ./setup.sh again'


def software() -> Iterator[Check]:
    """All of this module's checks."""
    yield python(sys.version_info[:3])
    yield from packages(CONSTRAINTS)
    yield from imports()
    yield libgl()


def python(found: tuple) -> Check:
    """Python 3.10 to 3.13."""
    text = '.'.join(map(str, found))
    if (3, 10) <= found < (3, 14):
        return Check(OK, 'Python', text)
    return Check(FAILS, 'Python', f'{text}: make the environment with 3.10 to 3.13 (./setup.sh python3.12)')


def packages(constraints: Path) -> Iterator[Check]:
    """Compare the packages with the versions known to work: a line for each that a run needs, one for all others."""
    known = known_versions(constraints)
    for needed in NEEDED:
        names = (needed,) if isinstance(needed, str) else needed
        found = {name: have for name in names if (have := _version(name))}
        if not found:
            yield Check(FAILS, names[0], f'not installed: {_SET_UP}')
        for name, have in found.items():
            want = known.get(_plain(name))
            state, also = (OK, '') if want in (have, None) else (NOTE, f'; {want} is known to work')
            if have.split('+')[0] == want:  # a local build, such as 2.15.0+cu130
                state, also = OK, ''
            yield Check(state, name, have + also)
    yield _others(known, constraints)


def _others(known: Dict[str, str], constraints: Path) -> Check:
    if not known:
        return Check(NOTE, 'other packages', f'not compared: there is no {constraints}')
    have = {name: found for name in sorted(known) if (found := _version(name))}
    other = [f'{name} {found} ({known[name]})' for name, found in have.items() if found.split('+')[0] != known[name]]
    if other:
        more = f' and {len(other) - 8} more' if len(other) > 8 else ''
        return Check(NOTE, 'other packages', f'other than in {constraints.name}: {", ".join(other[:8])}{more}')
    return Check(OK, 'other packages', f'as in {constraints.name}, as far as they are installed')


def known_versions(constraints: Path) -> Dict[str, str]:
    """Package -> version, from the lines that apply to this Python and system; empty if there is no file."""
    from packaging.requirements import InvalidRequirement, Requirement

    known: Dict[str, str] = {}
    try:
        lines = constraints.read_text(encoding='utf-8').splitlines()
    except OSError:
        return known
    for line in lines:
        try:
            wanted = Requirement(line.partition('#')[0].strip())
        except InvalidRequirement:
            continue
        exact: List[str] = [spec.version for spec in wanted.specifier if spec.operator == '==']
        if exact and (wanted.marker is None or wanted.marker.evaluate()):
            known[_plain(wanted.name)] = exact[0]
    return known


def imports() -> Iterator[Check]:
    """Check that the packages load, and which package provides mmcv's compiled operations."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        for name in ('cv2', 'torch', 'o2f', 'mmdet.models'):
            try:
                importlib.import_module(name)
            except Exception as error:  # a broken library may raise anything
                yield Check(FAILS, f'import {name}', _cure(str(error).splitlines()[0] if str(error) else repr(error)))
                return
    from o2f.compat.mmcv_ops import provide_mmcv_ops

    if provide_mmcv_ops():
        yield Check(OK, "mmcv's operations", 'torchvision stands in for nms and sigmoid_focal_loss; no other is needed')
    else:
        yield Check(OK, "mmcv's operations", 'compiled')


def _cure(trouble: str) -> str:
    if 'libGL' in trouble:
        return (
            f'{trouble}: opencv-python needs libGL (Debian: apt-get install libgl1); opencv-python-headless does not '
            '(pip uninstall opencv-python, then pip install --force-reinstall opencv-python-headless)'
        )
    return f'{trouble}: {_SET_UP}'


def libgl() -> Check:
    """Check libGL, which OpenCV needs unless it is the headless build."""
    if ctypes.util.find_library('GL'):
        return Check(OK, 'libGL', 'found')
    if _version('opencv-python'):
        return Check(WARNING, 'libGL', 'missing, and opencv-python may ask for it: use opencv-python-headless')
    return Check(OK, 'libGL', 'missing, and not needed by opencv-python-headless')


def _version(package: str) -> Optional[str]:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _plain(name: str) -> str:
    return name.lower().replace('_', '-').replace('.', '-')
