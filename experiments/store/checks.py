"""Checks on the content of a stored JSON file; each complaint is a ValueError that names the key."""

import json
import math
from pathlib import Path
from typing import Any, Dict, Optional, Tuple, get_args

_WORDS = {
    str: 'text',
    int: 'a whole number',
    float: 'a number with a decimal point',
    bool: 'true or false',
    dict: 'a mapping',
    list: 'a list',
    Optional[str]: 'text or null',
    Optional[bool]: 'true, false or null',
    Optional[int]: 'a whole number or null',
}


def read(path: Path, schema: int, keys: Dict[str, Any]) -> dict:
    """The content of a file: a mapping of that ``schema`` that has all ``keys`` (key -> kind of its value).

    Raises:
        ValueError: it cannot be read or is something else.
    """
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except OSError as error:
        raise ValueError(f'cannot be read ({error.strerror})') from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f'is not JSON ({error})') from error
    has(content, {'schema': int}, 'the file')
    same(content, schema=schema)  # before all other keys, which another schema need not have
    return has(content, keys, 'the file')


def has(content: Any, keys: Dict[str, Any], where: str) -> dict:
    """``content``, if it is a mapping that has all ``keys``, each with a value of its kind; else a ValueError."""
    if not isinstance(content, dict):
        raise ValueError(f'{where} must be a mapping, not {short(content)}')
    for key, kind in keys.items():
        if key not in content:
            raise ValueError(f'key {key} is missing in {where}')
        if not isinstance(content[key], get_args(kind) or kind):
            raise ValueError(f'key {key} in {where} must be {_WORDS[kind]}, not {short(content[key])}')
    return content


def same(content: dict, **expected: Any) -> None:
    """A ValueError unless ``content`` has the ``expected`` values."""
    for key, value in expected.items():
        if content[key] != value:
            raise ValueError(f'{key} is {short(content[key])}, but {value!r} belongs here')


def texts(values: Any, where: str, empty: bool = False) -> Tuple[str, ...]:
    """``values``, if it is a list of texts, with something in it unless it may be ``empty``; else a ValueError."""
    if not isinstance(values, list) or not (values or empty) or not all(isinstance(value, str) for value in values):
        raise ValueError(f'{where} must be a list of texts, not {short(values)}')
    return tuple(values)


def number_or_null(value: Any, where: str) -> Optional[float]:
    """``value``, if it is a finite number or None; else a ValueError."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < math.inf
    if not number and value is not None:
        raise ValueError(f'{where} must be a number or null, not {short(value)}')
    return value


def called(key: str) -> str:
    """A key that a file chose itself, as a message shows it: whatever it is, on one line and not long."""
    return key if key.isprintable() and len(key) <= 50 else short(key)


def short(value: Any) -> str:
    """``value`` as a message shows it."""
    return f'{value!r:.50}'
