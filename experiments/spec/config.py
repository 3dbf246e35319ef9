"""From a profile, variants, overrides and a seed to a complete mmengine config and the id of its run.

A variant (``experiments/variants/<name>.py``) is a piece of mmengine config with the paper's settings: another method,
backbone, schedule or dataset. It is merged as mmengine merges a config into its base, with one addition: a mapping with
``_keep_ = [keys]`` replaces the mapping of the base, except for those keys. So a variant can swap the head and leave
the sizes to the profile. Settings that only one profile needs, such as fewer channels, stand under ``variants`` in that
profile. They are merged right after the variant of that name. Those under ``a+b`` are merged last, if both variants are
used.

A profile may also be a file of the user's own (:func:`add_profile`). Its ``base`` names a profile of the suite, into
which it is merged as a variant is. A variant that it sets to None cannot be had with its data.

A run is identified by what it computes. Its id is a hash over the resolved training config, the seed and the data. The
hash leaves out paths, the number of loader workers and of processes, and the launcher. So equal cells of any table
share one training. Some settings count only where they are not the suite's own, such as weights to begin with.
"""

import copy
import difflib
import hashlib
import json
import math
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

from mmengine.config import Config

from experiments.spec.paths import generated
from experiments.spec.schema import PROFILES, Overrides
from experiments.spec.subset import split_profile
from experiments.store.configs import config_text
from experiments.store.errors import NoData, UserError

# Paths and displays do not change what is computed. Training does not run the test loop.
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
    'max_workers',
    'resume',
    'test_cfg',
    'test_dataloader',
    'test_evaluator',
    'vis_backends',
    'visualizer',
    'work_dir',
}
_NOT_COMPUTED_BY_LOADERS = {'num_workers', 'persistent_workers', 'prefetch_factor', 'pin_memory', 'backend_args'}
# Default hooks that only show, save or check, and the types of those that compute.
_HOOKS_ASIDE = {'timer', 'logger', 'checkpoint', 'visualization', 'dataset_check', 'settings_check', 'loss_check'}
_HOOKS = {'param_scheduler': 'ParamSchedulerHook', 'sampler_seed': 'DistSamplerSeedHook'}
#: Helper variables of the config files. Nothing reads them in a finished config.
HELPERS = {'backend_args', 'classes', 'data_root', 'dataset_type', 'test_pipeline', 'train_pipeline'}
#: Settings that must be whole numbers, and the least that each may be.
_COUNTS = {
    'train_dataloader.batch_size': 1,
    'train_dataloader.num_workers': 0,
    'val_dataloader.batch_size': 1,
    'val_dataloader.num_workers': 0,
    'train_cfg.max_epochs': 1,
    'auto_scale_lr.base_batch_size': 1,
    'epoch_images': 1,  # or None: all
}
#: What every profile has.
_OF_A_PROFILE = ('model', 'train_dataloader', 'val_dataloader', 'val_evaluator', 'optim_wrapper', 'train_cfg')
#: Settings that must be mappings.
_MAPPINGS = (
    *_OF_A_PROFILE,
    'train_dataloader.dataset',
    'val_dataloader.dataset',
    'optim_wrapper.optimizer',
    'default_hooks',
)


@dataclass(frozen=True)
class Run:
    """One distinct training.

    Attributes:
        id (str): 12 hex digits of the hash over what it computes.
        profile (str): the profile it was resolved from.
        seed (int): its random seed.
        config (dict): the whole mmengine config, with ``${...}`` for folders of the machine.
    """

    id: str
    profile: str
    seed: int
    config: dict

    @property
    def config_text(self) -> str:
        """The config as an mmengine config file in Python."""
        return config_text(self.config)


def resolve(profile: str, use: Sequence[str], overrides: Overrides, seed: int, source: str) -> Run:
    """Resolve one cell.

    Args:
        profile (str): name of a profile.
        use (sequence[str]): names of variants, see :mod:`experiments.spec.config`.
        overrides (dict): dotted keys of the config and their values.
        seed (int): the random seed.
        source (str): where the overrides come from, for error messages.

    Returns:
        Run: the training that fills the cell.

    Raises:
        UserError: there is no such profile or variant, a key is not in the config, a value is of another type than the
            one it replaces, or the config cannot be one of a training, such as with a batch of 0.
    """
    config = compose(profile, use, source)
    plain = config.to_dict()
    config.merge_from_dict(
        {key: _like(value, _overridden(plain, key, value, profile, source)) for key, value in overrides.items()}
    )
    config.randomness = dict(seed=seed)
    content = config.to_dict()
    _check(content, source)
    _note_workers(content, plain)
    return Run(run_id(content), profile, seed, content)


def _check(content: dict, source: str) -> None:
    """Check what is read before a training begins, and would otherwise fail without its name."""
    for key in _MAPPINGS:
        if not isinstance(_at(content, key), dict):
            raise UserError(f'{source}: {key} must be a mapping, not {_at(content, key)!r:.80}')
    if not isinstance(content.get('auto_scale_lr') or {}, dict):
        raise UserError(f'{source}: auto_scale_lr must be a mapping, not {content["auto_scale_lr"]!r:.80}')
    for key, least in _COUNTS.items():
        value = _at(content, key, least)
        if key == 'epoch_images' and value is None:
            continue
        if type(value) is not int or value < least:
            raise UserError(f'{source}: {key}: {value!r} must be a whole number, {least} or more')
    for key in ('val_interval', 'val_begin'):
        if content['train_cfg'].get(key, 1) != 1:
            raise UserError(f'{source}: train_cfg.{key} must be 1: results have the metrics of every epoch')
    loop = str(content['train_cfg'].get('type') or '').rpartition('.')[2]
    if loop == 'IterBasedTrainLoop' or not content['train_cfg'].get('by_epoch', True):
        raise UserError(f'{source}: train_cfg counts iterations, and degrees and results go by epochs: set max_epochs')
    for key, value in _scalars(content):
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f'{source}: {key}: infinite numbers and NaN cannot be settings')


def _at(config: dict, key: str, default: Any = None) -> Any:
    """The value at a dotted key, or the default where a part of the key is missing, or above it is None."""
    *above, last = key.split('.')
    for part in above:
        config = config.get(part) or {}
    return config.get(last, default)


def _scalars(value: Any, key: str = '') -> Iterator[Tuple[str, Any]]:
    """The values of a config that contain no others, by their dotted keys."""
    inside = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else None
    )
    if inside is None:
        yield key, value
    for part, item in inside or ():
        yield from _scalars(item, f'{key}.{part}' if key else str(part))


def _overridden(config: dict, key: str, value: Any, profile: str, source: str) -> Any:
    """The value of the config that ``value`` replaces. Both must be of the same type."""
    node: Any = config
    if key.split('.')[0] in HELPERS:
        raise UserError(f'{source}: {key}: nothing reads it: set it below train_dataloader, val_dataloader and so on')
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
    return node


def _like(value: Any, replaced: Any) -> Any:
    """``value`` with tuples where ``replaced`` has them. YAML has no tuples, and transforms tell them from lists."""
    if isinstance(value, dict) and isinstance(replaced, dict):
        return {key: _like(item, replaced.get(key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)) and isinstance(replaced, (list, tuple)):
        last = len(replaced) - 1
        items = [_like(item, replaced[min(place, last)]) if replaced else item for place, item in enumerate(value)]
        return type(replaced)(items)
    return value


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


def run_id(config: dict) -> str:
    """The id of the run that a whole config describes: 12 hex digits of the hash over what it computes."""
    computed = {key: _computed(value) for key, value in config.items() if key not in _NOT_COMPUTED}
    computed |= _of_ones_own(config)
    # The folder names identify the data with all of their settings and versions, defaults included.
    computed['generate'] = {name: folder for name, (folder, _) in generated(config).items()}
    text = json.dumps(computed, sort_keys=True, default=str, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _of_ones_own(config: dict) -> dict:
    """What counts of the settings that count only where they are not the suite's own."""
    scaling, batch = config.get('auto_scale_lr') or {}, config['train_dataloader']['batch_size']
    factor = batch / scaling.get('base_batch_size', batch) if scaling.get('enable') else 1
    hooks = {
        name: hook
        for name, hook in (config.get('default_hooks') or {}).items()
        if name not in _HOOKS_ASIDE and (hook or {}).get('type') != _HOOKS.get(name)
    }
    found = dict(load_from=config.get('load_from'), rate_factor=factor if factor != 1 else None, default_hooks=hooks)
    return {key: _computed(value) for key, value in found.items() if value}


def _note_workers(config: dict, before: dict) -> None:
    """Note where images are loaded by processes and were not, or the reverse: then augmentations are drawn otherwise.

    Processes seed each sample. The training process is seeded for each epoch.
    """
    now, then = (each['train_dataloader'].get('num_workers', 0) > 0 for each in (config, before))
    if now != then:
        config['augmentation_seed'] = 'sample' if now else 'epoch'


def _computed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _computed(item) for key, item in value.items() if key not in _NOT_COMPUTED_BY_LOADERS}
    if isinstance(value, (list, tuple)):
        return [_computed(item) for item in value]
    # 1 and 1.0 are the same setting, whichever the YAML file has.
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


VARIANTS = Path(__file__).parents[1] / 'variants'


#: Files of the user's own by the name of their profile.
_OWN: Dict[str, Path] = {}


def profile_names() -> List[str]:
    """Names of all profiles, sorted."""
    return sorted([*(path.stem for path in PROFILES.glob('*.py')), *_OWN])


def add_profile(path: Path) -> str:
    """Make a file outside of the suite a profile. It is Python, and is run.

    Args:
        path (Path): the file. Its name without .py is the profile's name.

    Returns:
        str: the name.

    Raises:
        UserError: the file is missing or no config, or its name is taken or none for a folder.
    """
    name = path.stem
    if not path.is_file():
        raise UserError(f'--profile {path}: there is no such file; run.py new-profile writes one')
    check_profile_name(path)
    _OWN[name] = path.resolve()
    _profile(_OWN[name])
    return name


def check_profile_name(path: Path) -> None:
    """Check that a file may be a profile by its name.

    Raises:
        UserError: it is taken, or none for a folder.
    """
    if not re.fullmatch(r'[A-Za-z0-9][A-Za-z0-9_]*', path.stem):
        raise UserError(f'{path}: name the file with letters, digits and _ alone, such as my_data.py')
    if (PROFILES / f'{path.stem}.py').exists():
        raise UserError(f"{path}: the suite's own profile has this name: rename the file")


def own_file(name: str) -> Optional[Path]:
    """The file of a profile that :func:`add_profile` added; None for the suite's own."""
    return _OWN.get(split_profile(name)[0])


def profile_text(name: str) -> str:
    """The whole content of a profile that :func:`add_profile` added, with its base merged into it."""
    return config_text(_profile(_OWN[split_profile(name)[0]]).to_dict())


def variant_names() -> List[str]:
    """Names of all variants, sorted."""
    return sorted(path.stem for path in VARIANTS.glob('*.py'))


def compose(profile: str, use: Sequence[str], source: str) -> Config:
    """The config of a profile with variants.

    Args:
        profile (str): name of a profile.
        use (sequence[str]): names of variants, in the order they are merged.
        source (str): who asks, for error messages.

    Returns:
        Config: a new config that the caller may change. It has ``subset`` if the profile's name has a share.

    Raises:
        UserError: there is no such profile or variant.
    """
    profile, share = split_profile(profile)
    if profile not in profile_names():
        raise UserError(f'no profile {profile!r}; known profiles: {", ".join(profile_names())}')
    for name in use:
        if name not in variant_names():
            raise UserError(f'{source}: no variant {name!r}; known variants: {", ".join(variant_names())}')
    config = copy.deepcopy(_composed(_OWN.get(profile, PROFILES / f'{profile}.py'), tuple(use)))
    if share is not None:
        config.subset = share
    return config


@lru_cache(maxsize=None)
def _composed(path: Path, use: Tuple[str, ...]) -> Config:
    config = copy.deepcopy(_profile(path))
    special = config.pop('variants', {})
    for name in use:
        if special.get(name, {}) is None:
            raise NoData(f'profile {path.stem} has no data for the variant {name}: its variants[{name!r}] is None')
        for piece in (_load(VARIANTS / f'{name}.py'), special.get(name, {})):
            config.merge_from_dict(_resolve_keep(copy.deepcopy(dict(piece)), config))
    for names, piece in special.items():
        if '+' in names and piece is not None and set(names.split('+')) <= set(use):
            config.merge_from_dict(_resolve_keep(copy.deepcopy(dict(piece)), config))
    return config


@lru_cache(maxsize=None)
def _profile(path: Path) -> Config:
    """A profile with its base, if it is one of the user's own."""
    if path.parent == PROFILES:
        return _load(path)
    try:
        own = copy.deepcopy(_load(path))
        base = own.pop('base', None)
        config = Config() if base is None else copy.deepcopy(_load(_base(base)))
        _drop_helpers(own, config)
        config.merge_from_dict(_resolve_keep(own.to_dict(), config))
    except UserError as error:
        raise UserError(f'{path}: {error}') from error
    except (Exception, SystemExit) as error:  # the file is Python: anything may be raised
        raise UserError(' '.join(f'{path} is no profile ({type(error).__name__}: {error})'.split())[:400]) from error
    if lacking := [key for key in _OF_A_PROFILE if key not in config]:
        raise UserError(f"{path} lacks {', '.join(lacking)}: begin with base = 'desk', as run.py new-profile does")
    special = config.get('variants', {})
    if not isinstance(special, dict) or any(not isinstance(piece, (dict, type(None))) for piece in special.values()):
        raise UserError(f'{path}: variants must be dict(...), and each of its values dict(...) or None')
    _check(config.to_dict(), str(path))
    if base is not None:
        _note_workers(config, _load(_base(base)))
    return config


def _drop_helpers(own: Config, base: Config) -> None:
    """Take away what is no setting: paths, classes and functions that the file uses. A config file cannot hold them."""
    for name in list(own):
        for key, value in _scalars(own[name], name):
            if value is not None and type(value) not in (bool, int, float, str):
                if name in (*base, *_OF_A_PROFILE, 'variants'):
                    raise UserError(f'{key} is a {type(value).__name__}: write it as text or as a plain number')
                own.pop(name)
                break


def _base(name: Any) -> Path:
    if not isinstance(name, str) or not (PROFILES / f'{name}.py').is_file():
        known = ', '.join(sorted(path.stem for path in PROFILES.glob('*.py')))
        raise UserError(f'base is {name!r:.80}, which is none of the profiles {known}')
    return PROFILES / f'{name}.py'


@lru_cache(maxsize=None)
def _load(path: Path) -> Config:
    # Custom modules would import torch. Lazy imports of names would hide those of ordinary modules.
    return Config.fromfile(path, import_custom_modules=False, lazy_import=False)


def _resolve_keep(piece: dict, base: Any) -> dict:
    """``piece`` with each ``_keep_`` replaced by mmengine's ``_delete_`` and the kept values."""
    for key, value in piece.items():
        if isinstance(value, dict):
            met = base.get(key, {}) if isinstance(base, (dict, Config)) else {}
            kept = value.pop('_keep_', None)
            if kept is not None:
                value.update({'_delete_': True, **{name: met[name] for name in kept if name not in value}})
            _resolve_keep(value, met)
    return piece
