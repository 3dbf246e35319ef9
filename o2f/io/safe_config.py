"""Configs from anyone: read as data, never run, and checked for names that would run something when built.

A config of mmengine's is a Python file, and ``Config.fromfile`` runs it. The one that a checkpoint carries is such a
file too, though it was written by a machine and holds nothing but values. :func:`parse_config` takes exactly that:
``name = value`` with literals, ``dict(key=value)`` and ``float``'s nan and inf.

Values alone can still run code once a model is built from them: a registry imports what a dotted ``type`` names, mmcv
evaluates the ``type`` of an NMS as Python, and a few of MMDetection's classes evaluate settings or read further files.
:func:`check_names` lets only classes through that do nothing of the kind.
"""

import ast
import math
from typing import Any, Dict, Iterator

import mmdet.datasets.transforms  # noqa: F401  (registers them)
import mmdet.models  # noqa: F401
from mmdet.registry import MODELS, TASK_UTILS, TRANSFORMS

from o2f.errors import InputError

#: Where classes may come from that a config from elsewhere names.
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
    """The settings of a config's text.

    Args:
        text (str): Python of the kind that mmengine writes into checkpoints.
        source (str): where it is from, for messages.

    Returns:
        dict: its settings by name.

    Raises:
        InputError: it is not Python, or more than values; nothing of it has been run.
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
    """A node of Python that is no value."""


def _value(node: ast.AST) -> Any:
    if isinstance(node, ast.Call) and getattr(node.func, 'id', None) == 'dict' and not node.args:
        keywords = {keyword.arg: _value(keyword.value) for keyword in node.keywords if keyword.arg}
        if len(keywords) == len(node.keywords):
            return keywords
    if isinstance(node, ast.Dict):
        keys = [key for key in node.keys if key is not None]  # None stands for ** of another dict
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


def check_names(settings: Any, source: str) -> None:
    """Check what a config's settings would build.

    Args:
        settings (dict): settings, such as those of :func:`parse_config`.
        source (str): where they are from, for messages.

    Raises:
        InputError: a ``type`` or a scope in them is not among those that run nothing but themselves.
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
    """All mappings in ``value``, each with whether it is the settings of an NMS."""
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
