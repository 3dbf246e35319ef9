"""A cell's config: the profile, then the variants that the cell uses, in order.

A variant (``experiments/variants/<name>.py``) is a piece of mmengine config with the paper's settings: another method,
backbone, schedule or dataset. It is merged as mmengine merges a config into its base, with one thing more: a mapping
with ``_keep_ = [keys]`` takes the place of the one it meets, except for those keys. So a variant can swap the head and
leave the sizes to the profile. What only one profile needs, such as fewer channels, stands under ``variants`` in that
profile and is merged right after the variant of that name.
"""

import copy
from functools import lru_cache
from pathlib import Path
from typing import Any, List, Sequence, Tuple

from mmengine.config import Config

from experiments.errors import UserError
from experiments.subset import split_profile

PROFILES = Path(__file__).parent / 'profiles'
VARIANTS = Path(__file__).parent / 'variants'


def profile_names() -> List[str]:
    """Names of all profiles, sorted."""
    return sorted(path.stem for path in PROFILES.glob('*.py'))


def variant_names() -> List[str]:
    """Names of all variants, sorted."""
    return sorted(path.stem for path in VARIANTS.glob('*.py'))


def compose(profile: str, use: Sequence[str], source: str) -> Config:
    """The config of a profile with variants.

    Args:
        profile (str): name of a profile.
        use (sequence[str]): names of variants, in the order they are merged.
        source (str): who asks, for messages.

    Returns:
        Config: a new config, the caller's to change; ``subset`` is in it where the profile's name has a share.

    Raises:
        UserError: there is no such profile or variant.
    """
    profile, share = split_profile(profile)
    if profile not in profile_names():
        raise UserError(f'no profile {profile!r}; known profiles: {", ".join(profile_names())}')
    for name in use:
        if name not in variant_names():
            raise UserError(f'{source}: no variant {name!r}; known variants: {", ".join(variant_names())}')
    config = copy.deepcopy(_composed(profile, tuple(use)))
    if share is not None:
        config.subset = share
    return config


@lru_cache(maxsize=None)
def _composed(profile: str, use: Tuple[str, ...]) -> Config:
    config = copy.deepcopy(_load(PROFILES / f'{profile}.py'))
    special = config.pop('variants', {})
    for name in use:
        for piece in (_load(VARIANTS / f'{name}.py'), special.get(name, {})):
            config.merge_from_dict(_resolve_keep(copy.deepcopy(dict(piece)), config))
    return config


@lru_cache(maxsize=None)
def _load(path: Path) -> Config:
    return Config.fromfile(path, import_custom_modules=False)  # they would import torch


def _resolve_keep(piece: dict, base: Any) -> dict:
    """``piece`` with each ``_keep_`` replaced by mmengine's ``_delete_`` and the values that are kept."""
    for key, value in piece.items():
        if isinstance(value, dict):
            met = base.get(key, {}) if isinstance(base, (dict, Config)) else {}
            kept = value.pop('_keep_', None)
            if kept is not None:
                value.update({'_delete_': True, **{name: met[name] for name in kept if name not in value}})
            _resolve_keep(value, met)
    return piece
