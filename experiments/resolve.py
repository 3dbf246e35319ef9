"""From a profile, a cell's overrides and a seed to a complete mmengine config and the name of the run it makes.

A run is named after what it computes: a hash over the resolved training config, the seed and the data. Where files lie,
how many workers read them, how many processes train and who launches them are left out of it, so equal cells of any
table share one training.
"""

import difflib
import hashlib
import json
import pprint
from dataclasses import dataclass
from typing import Any, Sequence

from experiments.compose import compose
from experiments.errors import UserError
from experiments.grid import Overrides
from experiments.places import generated

# Neither where things lie nor how they are shown changes what is computed. The test loop is not run in training.
_NOT_COMPUTED = {
    'auto_scale_lr',
    'custom_imports',
    'default_hooks',
    'default_scope',
    'env_cfg',
    'find_unused_parameters',
    'launcher',
    'load_from',
    'log_level',
    'log_processor',
    'resume',
    'test_cfg',
    'test_dataloader',
    'test_evaluator',
    'vis_backends',
    'visualizer',
    'work_dir',
}
_NOT_COMPUTED_BY_LOADERS = {'num_workers', 'persistent_workers', 'prefetch_factor', 'pin_memory', 'backend_args'}


@dataclass(frozen=True)
class Run:
    """One distinct training.

    Attributes:
        id (str): 12 hex digits of the hash over what it computes.
        profile (str): the profile it was resolved from.
        seed (int): its random seed.
        config (dict): the whole mmengine config, with ``${...}`` where a folder of this machine belongs.
    """

    id: str
    profile: str
    seed: int
    config: dict

    @property
    def config_text(self) -> str:
        """The config as an mmengine config file in Python."""
        return ''.join(
            f'{key} = {pprint.pformat(value, width=110, sort_dicts=False)}\n' for key, value in self.config.items()
        )


def resolve(profile: str, use: Sequence[str], overrides: Overrides, seed: int, source: str) -> Run:
    """Resolve one cell.

    Args:
        profile (str): name of a profile.
        use (sequence[str]): names of variants, see :mod:`experiments.compose`.
        overrides (dict): dotted keys of the config and their values.
        seed (int): the random seed.
        source (str): where the overrides come from, for messages.

    Returns:
        Run: the training that fills the cell.

    Raises:
        UserError: there is no such profile or variant, a key is not in the config, or a value is of another kind than
            the one it replaces.
    """
    config = compose(profile, use, source)
    plain = config.to_dict()
    for key, value in overrides.items():
        _check_override(plain, key, value, profile, source)
    config.merge_from_dict(dict(overrides))
    config.randomness = dict(seed=seed)
    content = config.to_dict()
    return Run(_digest(content), profile, seed, content)


def _check_override(config: dict, key: str, value: Any, profile: str, source: str) -> None:
    node: Any = config
    for depth, part in enumerate(key.split('.')):
        if isinstance(node, (list, tuple)) and part.isdigit() and int(part) < len(node):
            node = node[int(part)]
        elif isinstance(node, dict) and part in node:
            node = node[part]
        else:
            known = (
                list(node)
                if isinstance(node, dict)
                else [str(i) for i in range(len(node))]
                if isinstance(node, (list, tuple))
                else []
            )
            near = difflib.get_close_matches(part, known, 3, 0.5) or known[:8]
            where = '.'.join(key.split('.')[:depth]) or 'the config'
            hint = f'; {where} has {", ".join(near)}' if near else ''
            raise UserError(f'{source}: unknown key {key!r} in profile {profile}{hint}')
    if _kind(value) != _kind(node) and None not in (node, value):
        raise UserError(
            f'{source}: {key}: {value!r} is {_kind(value)}, but profile {profile} has {_kind(node)} there '
            f'({_short(node)})'
        )


def _kind(value: Any) -> str:
    kinds = (
        (bool, 'true or false'),
        ((int, float), 'a number'),
        (str, 'text'),
        (dict, 'a mapping'),
        ((list, tuple), 'a list'),
    )
    return next((name for types, name in kinds if isinstance(value, types)), 'nothing')


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f'{text[:57]}...'


def _digest(config: dict) -> str:
    computed = {key: _computed(value) for key, value in config.items() if key not in _NOT_COMPUTED}
    # The folder names stand for the data with all of their settings and versions, defaults included.
    computed['generate'] = {name: folder for name, (folder, _) in generated(config).items()}
    text = json.dumps(computed, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _computed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _computed(item) for key, item in value.items() if key not in _NOT_COMPUTED_BY_LOADERS}
    if isinstance(value, (list, tuple)):
        return [_computed(item) for item in value]
    # 1 and 1.0 are the same setting, whichever a YAML file wrote.
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value
