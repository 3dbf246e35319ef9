"""``run.py geometry``: prints object sizes in cells of the feature maps beside COCO's, and whether the strides fit."""

import argparse
import contextlib
import io
import os
import sys
from typing import Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from experiments.commands.plans import read_plans
from experiments.data.geometry import Geometry, Levels, measure, read_images
from experiments.data.prepare import prepare
from experiments.spec.config import Run, compose
from experiments.spec.paths import data_paths, substitute_paths
from experiments.store.errors import UserError

#: The geometry that the paper's settings were made for: 160 images of COCO 2017, 80 of each split, on its FPN levels.
COCO = Geometry(
    images=160,
    objects=1503,
    candidates=27.04,
    fewer={4: 0.017, 7: 0.043, 13: 0.123},
    anchors={3: 2.99, 5: 4.95, 7: 6.87, 9: 8.75, 11: 10.58, 13: 12.35},
    positives=9.17,
    cells=(3.22, 6.62, 10.23),
    second_centerness=0.919,
    levels=(0.450, 0.246, 0.186, 0.097, 0.021),
    overlap_30=0.053,
    overlap_50=0.009,
)
# Bounds beyond which objects differ too much from COCO's for label assignment.
_FEW_CANDIDATES = 18.0
_MANY_WITHOUT_7 = 0.10
_FEW_CELLS, _MANY_CELLS = 4.0, 13.0  # COCO's median is 6.6
_ONE_LEVEL = 0.9


class Setting(NamedTuple):
    """Data and levels, which several cells may share. Equal settings are measured once."""

    dataset: dict
    scale: Tuple[int, int]
    levels: Levels


def geometry(args: argparse.Namespace) -> int:
    """Print a table for each dataset and model of the tables' cells.

    Returns:
        int: 0.

    Raises:
        UserError: data are missing or broken, or the sizes of a model do not fit together.
    """
    settings: List[Setting] = []
    args.tables = args.tables or ['table1']  # its cells use the profile unchanged
    for run in (run for plan in read_plans(args) for run in plan.runs().values()):
        setting = setting_of(run, data_paths(run.config, args.data))
        if setting not in settings:
            _prepare(run.config, args)
            settings.append(setting)
            print(section(setting, _measure(setting)), flush=True)
    return 0


def setting_of(run: Run, paths: Dict[str, str]) -> Setting:
    """The training data of a run at its test size, and the levels of its model.

    Raises:
        UserError: the test images are not resized to one size, or the numbers of ranges and strides differ.
    """
    config = substitute_paths(run.config, paths)
    sizes = [step['scale'] for step in config['val_dataloader']['dataset']['pipeline'] if step['type'] == 'Resize']
    if len(sizes) != 1 or not isinstance(sizes[0], (list, tuple)):
        raise UserError('geometry needs one Resize with a scale (width, height) in val_dataloader.dataset.pipeline')
    head = config['model']['bbox_head']
    ranges = tuple((float(low), float(high)) for low, high in _ranges(run))
    if len(ranges) != len(head['strides']):
        raise UserError(f'the model has {len(head["strides"])} strides, but FCOS {len(ranges)} regress_ranges')
    levels = Levels(
        tuple(head['strides']),
        ranges,
        divisor=config['model']['data_preprocessor']['pad_size_divisor'],
    )
    dataset = {key: value for key, value in config['train_dataloader']['dataset'].items() if key != 'pipeline'}
    return Setting(dataset, tuple(sizes[0]), levels)


def _ranges(run: Run) -> Sequence[Sequence[float]]:
    """FCOS's size ranges: those of the run, or else those of FCOS in the run's profile."""
    head = run.config['model']['bbox_head']
    selection = head.get('selection') or {}
    for part in (head, head.get('auxiliary') or {}, selection.get('one_to_many') or {}):
        if 'regress_ranges' in part:
            return part['regress_ranges']
    return compose(run.profile, ['fcos'], 'geometry').model.bbox_head.regress_ranges


def _prepare(config: dict, args: argparse.Namespace) -> None:
    from experiments.commands.view import open_view

    with open_view({}) as view:
        prepare([config], args.data, view.progress, lambda function, *rest: function(*rest), backbone=False)


def _measure(setting: Setting) -> Geometry:
    try:
        with silent():
            return measure(read_images(setting.dataset, setting.scale), setting.levels)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f'the training data cannot be measured: {error}') from error


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Silence standard output at the file descriptor. MMDetection's messages there bypass Python's redirection."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def section(setting: Setting, found: Geometry) -> str:
    """The table as Markdown, with a title above, and below it a sentence for each setting that does not fit."""
    strides = ', '.join(map(str, setting.levels.strides))
    name = setting.dataset.get('data_root') or setting.dataset['ann_file']
    title = f'{name}: {found.objects} objects on {found.images} images, strides {strides}'
    lines = [title, '', '| | here | COCO |', '| --- | --- | --- |']
    lines += [f'| {row} | {shown(found)} | {shown(COCO)} |' for row, shown in _ROWS.items()]
    return '\n'.join([*lines, '', *advice(found, setting.levels), ''])


_ROWS: Dict[str, Callable[[Geometry], str]] = {
    'candidates in Ω per object': lambda found: f'{found.candidates:.1f}',
    'objects with fewer than 4 / 7 / 13 of them': lambda found: _percent(found.fewer.values(), 1),
    'anchors an object gets at most for K = 3 / 5 / 7 / 9 / 11 / 13': lambda found: _numbers(found.anchors.values()),
    "FCOS's positives per object": lambda found: f'{found.positives:.1f}',
    'cells per object side on its FCOS level, 10 / 50 / 90 %': lambda found: _numbers(found.cells),
    'centerness of the second best point over the best, median': lambda found: f'{found.second_centerness:.2f}',
    'objects on each FCOS level': lambda found: _percent(found.levels, 0),
    'objects that overlap one of their class, IoU > 0.3 / 0.5': lambda found: _percent(
        (found.overlap_30, found.overlap_50), 1
    ),
}


def _numbers(values: Iterable[float]) -> str:
    return ' / '.join(f'{value:.1f}' for value in values)


def _percent(shares: Iterable[float], digits: int) -> str:
    return ' / '.join(f'{100 * share:.{digits}f}' for share in shares) + ' %'


def advice(found: Geometry, levels: Levels) -> List[str]:
    """Sentences about strides and ranges that do not fit the objects, or one sentence that they fit.

    Args:
        found (Geometry): the measured geometry.
        levels (Levels): the levels with which it was measured.
    """
    sentences = [
        sentence for sentence in (too_small(found, levels), _large(found), _one_level(found, levels)) if sentence
    ]
    return sentences or ['The strides fit the objects: an assignment has about as much to choose from as on COCO.']


def too_small(found: Geometry, levels: Levels) -> Optional[str]:
    """A sentence if the objects are too small for the strides, else None."""
    few = [
        (found.candidates < _FEW_CANDIDATES, f'{found.candidates:.1f} candidates (COCO {COCO.candidates:.0f})'),
        (found.cells[1] < _FEW_CELLS, f'{found.cells[1]:.1f} cells per side (COCO {COCO.cells[1]:.1f})'),
        (found.fewer[7] > _MANY_WITHOUT_7, f'fewer than 7 candidates for {100 * found.fewer[7]:.0f} % of them'),
    ]
    reasons = [words for applies, words in few if applies]
    if not reasons:
        return None
    return (
        f'The objects are too small for the strides: {", ".join(reasons)}. A level of stride '
        f'{levels.strides[0] // 2 or 1}, or larger images, would help.'
    )


def _large(found: Geometry) -> Optional[str]:
    if found.cells[1] <= _MANY_CELLS:
        return None
    return (
        f'The objects are large for the strides: {found.cells[1]:.1f} cells per side (COCO {COCO.cells[1]:.1f}). '
        'Smaller images would cost less, and larger strides would see more of an object.'
    )


def _one_level(found: Geometry, levels: Levels) -> Optional[str]:
    share = max(found.levels)
    if share <= _ONE_LEVEL:
        return None
    stride = levels.strides[found.levels.index(share)]
    return (
        f"{100 * share:.0f} % of the objects fall on one of FCOS's levels, that of stride {stride}: what a method does "
        'between levels has little to do. Other regress_ranges would spread them.'
    )
