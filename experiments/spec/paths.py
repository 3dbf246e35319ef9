"""Paths of a profile's data: the placeholders of its config, ``${DATA}``, ``${SCENES}``, ``${CROWD}``, ..."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, Tuple, Union

from experiments.spec.synthetic import BackboneSpec, CropSpec, CrowdSpec, SceneSpec, SwinSpec, checked, folder_name
from experiments.store.errors import UserError


def generated(config: dict) -> Dict[str, Tuple[str, Any]]:
    """The data that a profile generates, from ``generate`` in its config: placeholder -> (folder name, spec).

    A folder name has a digest of the spec, its version included. So it stands for the data in a run's id.

    Raises:
        UserError: a setting of the spec is unknown.
    """
    wanted = config.get('generate')
    if not wanted:
        return {}
    if not isinstance(wanted, dict):
        raise UserError(f'generate in the profile must be a mapping, not {wanted!r:.80}')
    if unknown := [key for key in wanted if key not in ('scenes', 'crowd', 'crops', 'backbone')]:
        raise UserError(f'generate in the profile: unknown {unknown[0]!r}; there are scenes, crowd, crops and backbone')
    try:
        if not makes_data(config):
            backbone = _backbone(checked('crops', CropSpec, _tuples(wanted['crops'])), **_tuples(wanted['backbone']))
            return dict(BACKBONE=(folder_name('backbone', backbone), backbone))
        scenes = checked('scenes', SceneSpec, _tuples(wanted['scenes']))
        backbone = _backbone(scenes, **_tuples(wanted['backbone']))
        crowd = checked('crowd', CrowdSpec, _tuples(wanted['crowd'])) if 'crowd' in wanted else None
    except (TypeError, KeyError) as error:
        raise UserError(f'generate in the profile: {error}') from error
    made = dict(SCENES=(folder_name('scenes', scenes), scenes), BACKBONE=(folder_name('backbone', backbone), backbone))
    # A run's id may depend only on the data that its config asks for.
    return made if crowd is None else dict(made, CROWD=(folder_name('crowd', crowd), crowd))


def makes_data(config: dict) -> bool:
    """Whether the images are generated. A profile of one's own generates at most its backbone."""
    wanted = config.get('generate') or {}
    return bool(wanted) and 'crops' not in wanted


def _backbone(source: Union[SceneSpec, CropSpec], images: int = 6000, type: str = 'resnet', **settings: Any) -> Any:
    """The spec of a backbone that is pre-trained on the objects of ``images`` images.

    Scenes are drawn for it, so that a detector sees none of them. A twentieth as many measure its accuracy. Of a
    dataset, these are the training images, and its validation images measure the accuracy."""
    kinds = dict(resnet=BackboneSpec, swin=SwinSpec)
    if isinstance(images, bool) or not isinstance(images, int) or images < 1:
        raise TypeError(f'backbone.images: must be a whole number, 1 or more, not {images!r:.80}')
    if type not in kinds:
        raise TypeError(f"backbone.type must be 'resnet' or 'swin', not {type!r}")
    if isinstance(source, CropSpec):
        return checked('backbone', kinds[type], dict(scenes=replace(source, images=images), **settings))
    own = replace(source, seed=source.seed + 1, train=images, val=max(1, images // 20))
    return checked('backbone', kinds[type], dict(scenes=own, **settings))


def data_paths(config: dict, data: Path) -> Dict[str, str]:
    """Folders of this machine for the config's placeholders. They need not exist yet."""
    made = {name: str(data / 'desk' / folder) for name, (folder, _) in generated(config).items()}
    return dict(DATA=str(data), **made)


def substitute_paths(value: Any, folders: Dict[str, str]) -> Any:
    """A config with ``${NAME}`` replaced by ``folders['NAME']`` in every string. Lists and tuples keep their type."""
    if isinstance(value, dict):
        return {key: substitute_paths(item, folders) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(substitute_paths(item, folders) for item in value)
    if isinstance(value, str):
        for name, folder in folders.items():
            value = value.replace('${' + name + '}', folder)
    return value


def _tuples(settings: Any) -> dict:
    if not isinstance(settings, dict):
        raise TypeError(f'{settings!r:.80} must be a mapping')
    return {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
