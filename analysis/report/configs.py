"""What sets the configs of runs apart: each is 9 kB at the desk, and runs of one profile share nearly all of it."""

import ast
import re
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict, Iterable, List, Sequence, Tuple

Settings = Dict[str, str]  # dotted key -> value as Python writes it

#: What stands for the value of a key that a config lacks.
ABSENT = '(not set)'
_SEED = 'randomness.seed'


def read_config(path: Path) -> Settings:
    """The settings of a ``config.py``, which is assignments of plain values; it is read, never run.

    Raises:
        ValueError: it is something else.
    """
    try:
        lines = re.split(r'\n(?=\w)', path.read_text(encoding='utf-8'))
        return dict(setting for line in lines for setting in _assignments(line))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f'is no config of a run ({error})') from error


def shared(configs: Sequence[Settings]) -> Settings:
    """The settings that most of the configs have, each key by itself."""
    counts: Dict[str, Counter] = {}
    for config in configs:
        for key, value in config.items():
            counts.setdefault(key, Counter())[value] += 1
    return {
        key: values.most_common(1)[0][0] for key, values in counts.items() if 2 * sum(values.values()) > len(configs)
    }


def difference(config: Settings, base: Settings) -> List[Tuple[str, str]]:
    """Where a config differs from the shared settings: key and value."""
    keys = [key for key in {**base, **config} if config.get(key) != base.get(key)]
    return [(key, config.get(key, ABSENT)) for key in keys]


def keepers(configs: Dict[str, Settings]) -> Dict[str, str]:
    """For each run the first one whose config is the same but for the seed, so that it is shown once.

    Args:
        configs (dict): settings by run id; the empty ones are left out.
    """
    first: Dict[frozenset, str] = {}
    return {
        run: first.setdefault(frozenset((key, value) for key, value in config.items() if key != _SEED), run)
        for run, config in configs.items()
        if config
    }


@lru_cache(maxsize=4096)  # runs have nearly all of their lines in common, and parsing takes longer than reading
def _assignments(text: str) -> Tuple[Tuple[str, str], ...]:
    """The settings of a part of a config."""
    content = {}
    for line in ast.parse(text).body:
        if not (isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name)):
            raise ValueError('is more than assignments')
        content[line.targets[0].id] = ast.literal_eval(line.value)
    return tuple(_flat(content, ''))


def _flat(value: Any, key: str) -> List[Tuple[str, str]]:
    """Mappings, and lists of mappings, are taken apart; all else is a value."""
    if isinstance(value, dict) and value:
        parts: Iterable[Tuple[Any, Any]] = value.items()
    elif isinstance(value, (list, tuple)) and any(isinstance(each, dict) for each in value):
        parts = enumerate(value)
    else:
        return [(key, repr(value))]
    return [found for name, part in parts for found in _flat(part, f'{key}.{name}' if key else str(name))]
