"""The stored configs of runs, which are mmengine config files with nothing but values: ``key = value``.

A run's ``config.py`` is whole, or it inherits as mmengine's configs do: ``_base_`` names the base config of its table
(``tables/<table>.py``), and the rest is the difference from it. Published runs inherit. Nearly all of their settings
are those of their table, so the folder of results stays small.

The files are parsed and never run.
"""

import ast
import copy
import pprint
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict, Tuple

CONFIG = 'config.py'
_BASE, _DELETE = '_base_', '_delete_'  # mmengine's words


def config_text(config: Dict[str, Any]) -> str:
    """A config as an mmengine config file in Python."""
    return ''.join(f'{key} = {pprint.pformat(value, width=110, sort_dicts=False)}\n' for key, value in config.items())


def read_config(path: Path) -> Dict[str, Any]:
    """The whole config of a ``config.py``. It equals what mmengine's ``Config.fromfile`` reads.

    Raises:
        ValueError: the file or its base is missing or has anything but values; the message is one line.
    """
    config = _read(path)
    base = config.pop(_BASE, None)
    if base is None:
        return copy.deepcopy(config)
    if not isinstance(base, str):
        raise ValueError(f'is no config of a run ({_BASE} must be the path of one file)')
    inherited = _read(path.parent / base)
    if _BASE in inherited:  # a base is whole, so files that name each other cannot be followed forever
        raise ValueError(f'is no config of a run (its base {base} has a base)')
    return copy.deepcopy(_merged(inherited, config))


def inheriting_text(config: Dict[str, Any], base: Dict[str, Any], base_path: str) -> str:
    """The text of a ``config.py`` that inherits from a base. If the base has a key that the config lacks, the text is
    the whole config, because mmengine cannot take a key away.

    Args:
        config (dict): the whole config.
        base (dict): the whole base.
        base_path (str): path of the base, relative to the folder of the ``config.py``.
    """
    if base.keys() - config.keys():
        return config_text(config)
    return config_text({_BASE: base_path, **_difference(config, base)})


def _read(path: Path) -> Dict[str, Any]:
    try:
        lines = re.split(r'\n(?=\w)', path.read_text(encoding='utf-8'))
        return dict(setting for line in lines for setting in _assignments(line))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f'is no config of a run ({error})') from error


@lru_cache(maxsize=4096)  # runs share nearly all lines of their configs, and parsing is slower than reading
def _assignments(text: str) -> Tuple[Tuple[str, Any], ...]:
    """The settings of a part of a config. All callers get the same values."""
    content = {}
    for line in ast.parse(text).body:
        if not (isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name)):
            raise ValueError('is more than assignments')
        content[line.targets[0].id] = ast.literal_eval(line.value)
    return tuple(content.items())


def _merged(base: Dict[str, Any], changes: Dict[str, Any]) -> Dict[str, Any]:
    """``base`` with ``changes``, as mmengine merges them: mappings key by key, other values as a whole."""
    merged = dict(base)
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict) and not value.get(_DELETE):
            merged[key] = _merged(base[key], value)
        elif isinstance(value, dict):
            merged[key] = {name: item for name, item in value.items() if name != _DELETE}
        else:
            merged[key] = value
    return merged


def _difference(config: Dict[str, Any], base: Dict[str, Any]) -> Dict[str, Any]:
    """The changes that make ``config`` of ``base``, which has no key that the config lacks."""
    changes = {}
    for key, value in config.items():
        if key in base and repr(value) == repr(base[key]):  # 1, 1.0 and True are equal, but are different settings
            continue
        met = base.get(key)
        if not isinstance(value, dict) or key not in base:
            changes[key] = value
        elif isinstance(met, dict) and met.keys() <= value.keys():
            changes[key] = _difference(value, met)
        else:
            changes[key] = {_DELETE: True, **value}
    return changes
