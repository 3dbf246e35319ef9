"""Checks on the content of a YAML file; every complaint names the file and the key."""

from pathlib import Path
from typing import AbstractSet, Any, NoReturn, Optional

import yaml

from experiments.store.errors import UserError

#: Values that a file may stand for, with each alias (``*name``) counted as all that it repeats.
MOST_VALUES = 100_000


def read_yaml(path: Path) -> Any:
    """The content of a YAML file of plain values.

    Raises:
        OSError: the file cannot be read.
        UserError: it is not such YAML; the message names the file and the line.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8'))
        if _count(content, {}) > MOST_VALUES:  # nested aliases multiply, and a message that shows them would never end
            raise ValueError(f'it stands for more than {MOST_VALUES} values')
        return content
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:  # ValueError: no UTF-8, or no such date
        place = getattr(error, 'problem_mark', None)
        where = f', line {place.line + 1}' if place else ''
        reason = ' '.join(str(getattr(error, 'problem', None) or error).split())
        raise UserError(f'{path}{where}: not valid YAML: {reason}') from error


def _count(value: Any, known: dict) -> float:
    """How many values there are in ``value``, repeated ones each time; infinitely many if it holds itself."""
    if not isinstance(value, (dict, list)):
        return 1
    if id(value) not in known:
        known[id(value)] = float('inf')
        items = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_count(item, known) for item in items)
    return known[id(value)]


class YamlFile:
    """What a reader of one YAML file checks its content with.

    Args:
        path (Path): the file, for messages.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def mapping(
        self, value: Any, where: str, known: Optional[AbstractSet] = None, required: AbstractSet = frozenset()
    ) -> dict:
        """``value``, if it maps texts, with no other keys than ``known`` (None: any) and all of ``required``.

        Raises:
            UserError: it is not.
        """
        if not isinstance(value, dict):
            self.fail(where, f'must be a mapping, not {value!r}')
        for key in value:
            if not isinstance(key, str):
                self.fail(where, f'key {key!r} must be text')
            if known is not None and key not in known:
                self.fail(where, f'unknown key {key!r}; known keys: {", ".join(sorted(known))}')
        for key in sorted(required - set(value)):
            self.fail(where, f'key {key!r} is missing')
        return value

    def list(self, value: Any, where: str, empty: bool = False) -> list:
        """``value``, if it is a list, with something in it unless it may be ``empty``.

        Raises:
            UserError: it is not.
        """
        if not isinstance(value, list) or not (value or empty):
            self.fail(where, f'must be a list{"" if empty else " with something in it"}, not {value!r}')
        return value

    def texts(self, value: Any, where: str) -> tuple:
        """``value`` as a tuple, if it is a list of texts, which may be empty.

        Raises:
            UserError: it is not.
        """
        if not all(isinstance(text, str) for text in self.list(value, where, empty=True)):
            self.fail(where, f'must be a list of texts, not {value!r}')
        return tuple(value)

    def fail(self, where: str, what: str) -> NoReturn:
        """Complain about the key ``where``."""
        line = ' '.join(f'{self.path}: {where}: {what}'.split())
        raise UserError(line if len(line) < 500 else f'{line[:500]}...')
