"""Configs from any source: read as data, never run, and checked for names that would run code when built.

A config of mmengine is a Python file, and ``Config.fromfile`` runs it. The config in a checkpoint is such a file too,
but it was written by a machine and holds only values. [`parse_config`][] accepts exactly that: ``name = value`` with
literals, ``dict(key=value)`` and the floats nan and inf.

Values can still run code when a model is built from them. A registry imports what a dotted ``type`` names, mmcv
evaluates the ``type`` of an NMS as Python, and some classes of MMDetection evaluate settings or read further files.
[`check_names`][] accepts only classes that do none of this.
"""

import ast
import math
from typing import Any, Dict, Iterator

import mmdet.datasets.transforms  # noqa: F401  (registers them)
import mmdet.models  # noqa: F401
from mmdet.registry import MODELS, TASK_UTILS, TRANSFORMS

from o2f.errors import InputError

#: The modules whose classes such a config may name.
_MODULES = (
    'o2f.',
    'torch.nn.modules.',
    'mmcv.cnn.bricks.',
    'mmcv.transforms.',
    'mmengine.utils.dl_utils.parrots_wrapper',  # SyncBN
    'mmdet.datasets.transforms.formatting',
    'mmdet.datasets.transforms.loading',
    'mmdet.datasets.transforms.transforms',
    'mmdet.models.backbones.',
    'mmdet.models.data_preprocessors.',
    'mmdet.models.dense_heads.condinst_head',
    'mmdet.models.dense_heads.fcos_head',
    'mmdet.models.detectors.condinst',
    'mmdet.models.detectors.fcos',
    'mmdet.models.layers.',
    'mmdet.models.losses.',
    'mmdet.models.necks.',
    'mmdet.models.task_modules.assigners.',
    'mmdet.models.task_modules.coders.',
    'mmdet.models.task_modules.prior_generators.',
    'mmdet.models.task_modules.samplers.',
)
_NMS = ('nms', 'soft_nms')
_SCOPES = ('mmdet', 'mmengine')
_NUMBERS = dict(inf=math.inf, nan=math.nan)
_TRUST = 'if you trust its maker, give the config itself with --config, which runs it'


def parse_config(text: str, source: str) -> Dict[str, Any]:
    """Read the settings from the text of a config.

    Args:
        text (str): Python, as mmengine writes it into checkpoints.
        source (str): the source of the text, for messages.

    Returns:
        dict: the settings by name.

    Raises:
        InputError: the text is not Python, or holds more than values. Nothing of it is run.
    """
    try:
        settings = {}
        for statement in ast.parse(text).body:
            if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
                raise _NotPlain(statement)
            [name] = statement.targets
            if not isinstance(name, ast.Name):
                raise _NotPlain(statement)
            settings[name.id] = _value(statement.value)
        return settings
    except _NotPlain as error:
        [node] = error.args
        raise InputError(f'{source} does more than set values in line {node.lineno}: {_TRUST}') from None
    except SyntaxError as error:
        raise InputError(f'{source} is no config (line {error.lineno}: {error.msg}): give one with --config') from None
    except (ValueError, TypeError, RecursionError, MemoryError) as error:
        raise InputError(f'{source} is no config ({error}): give one with --config') from None


class _NotPlain(Exception):
    """A node of Python that is not a plain value."""


def _value(node: ast.AST) -> Any:
    if isinstance(node, ast.Call) and getattr(node.func, 'id', None) == 'dict':
        return _mapping(node)
    if isinstance(node, ast.Dict):
        keys = [key for key in node.keys if key is not None]  # the key None means ** of another dict
        if len(keys) == len(node.values):
            return {_value(key): _value(value) for key, value in zip(keys, node.values)}
    if isinstance(node, (ast.List, ast.Tuple)):
        items = [_value(item) for item in node.elts]
        return items if isinstance(node, ast.List) else tuple(items)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand)
    if isinstance(node, ast.Name) and node.id in _NUMBERS:
        return _NUMBERS[node.id]
    if isinstance(node, ast.Constant):
        return node.value
    raise _NotPlain(node)


def _mapping(node: ast.Call) -> dict:
    """``dict(key=value)``, or as yapf writes keys that are no names, ``dict({'a.b': value}, key=value)`` and
    ``dict(**{'a.b': value})``."""
    found: Dict[Any, Any] = {}
    given = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg is None)]
    if len(node.args) > 1 or not all(isinstance(value, ast.Dict) for value in given):
        raise _NotPlain(node)
    for value in given:
        found.update(_value(value))
    found.update({keyword.arg: _value(keyword.value) for keyword in node.keywords if keyword.arg is not None})
    return found


def check_names(settings: Any, source: str) -> None:
    """Check the names of the classes that a config would build.

    Args:
        settings (dict): the settings, for example from [`parse_config`][].
        source (str): the source of the settings, for messages.

    Raises:
        InputError: a ``type`` or a scope is not on the list of safe ones.
    """
    for node, of_nms in _mappings(settings):
        scope = node.get('_scope_')
        if scope is not None and scope not in _SCOPES:
            raise InputError(f'{source} names the scope {_short(scope)}, which could run anything: {_TRUST}')
        name = node.get('type')
        if name is not None and not (name in _NMS if of_nms else _is_safe(name)):
            raise InputError(
                f'{source} names {_short(name)}, which is none of the modules that o2f builds unseen: {_TRUST}'
            )


def _mappings(value: Any, of_nms: bool = False) -> Iterator[tuple]:
    """Yield all mappings in ``value``, and whether each one holds the settings of an NMS."""
    if isinstance(value, dict):
        yield value, of_nms
        for key, item in value.items():
            yield from _mappings(item, key == 'nms')
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _mappings(item)


def _is_safe(name: Any) -> bool:
    if not isinstance(name, str):
        return False
    bare = name.removeprefix('mmdet.')
    for registry in (MODELS, TASK_UTILS, TRANSFORMS):
        while registry is not None:
            found = registry.module_dict.get(bare)
            if found is not None:
                return f'{found.__module__}.'.startswith(_MODULES)
            registry = registry.parent
    return False


def _short(value: Any) -> str:
    return f'{value!r:.60}'
