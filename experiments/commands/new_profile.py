"""``run.py new-profile``: writes a profile for a dataset of one's own after looking at it.

Depth, channels, optimiser and schedules are the desk profile's. Images are as small as the objects allow: too small is
what ``run.py geometry`` calls so. Nothing is trained.
"""

import argparse
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Tuple

import numpy as np

from experiments.commands.geometry import COCO, Setting, section, silent, too_small
from experiments.data.annotations import sha256
from experiments.data.geometry import Geometry, Image, Levels, Ranges, measure, read_images
from experiments.spec.config import add_profile, check_profile_name
from experiments.store.errors import UserError
from experiments.store.files import make_folder, write_whole
from o2f.errors import InputError
from o2f.io.coco_file import read_coco
from o2f.io.coco_masks import refusal_of_masks, unusable_masks
from o2f.io.dataset_check import Report, Source, compare, inspect

#: Where the annotations of the two splits are looked for, and their images.
_NAMES = {'train': ('train',), 'val': ('val', 'valid', 'validation', 'test')}
_FILES = (
    '{}.json',
    'annotations/{}.json',
    'annotations/instances_{}.json',
    'annotations/instances_{}2017.json',
    '{}/_annotations.coco.json',
    '{}/annotations.json',
)
_FOLDERS = ('{}', '{}2017', 'images/{}', 'images', 'JPEGImages')
#: Long sides of images that are tried, in pixels.
_SIZES = (64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896, 1024, 1333)
_STRIDES = (4, 8, 16, 32)  # the desk profile's
#: Upper bounds of FCOS's first range that are tried, in pixels. Photographs of objects of one size need fine steps.
_FIRST_RANGES = (16, 18, 20, 22, 24, 28, 32, 40, 48, 64)
_MIDDLE = 24  # the desk profile's, with which sizes are tried
_GEOMETRY_IMAGES = 300
#: Objects that a backbone sees in its pre-training, each as often as it is shown; the desk profile's is twice that.
_CROPS = 60_000
_IN_MEMORY = 2**30  # bytes of images that are kept as samples


@dataclass(frozen=True)
class Split:
    """The training or the validation data: paths relative to the folder of the dataset, and what was found."""

    annotations: Path
    images: Path
    report: Report


def new_profile(args: argparse.Namespace) -> int:
    """Write the profile, and print the geometry of the objects and the commands that come next.

    Returns:
        int: 0.

    Raises:
        UserError: there is no such dataset, it would be trained on wrongly, or the file cannot be written.
    """
    out: Path = args.out
    if out.suffix != '.py':
        raise UserError(f'--out {out}: a profile is a Python file, such as {out.stem or "my_data"}.py')
    check_profile_name(out)
    if out.exists():
        raise UserError(f'--out {out} is there already: delete it, or choose another name')
    splits = {name: _look(args.data, name) for name in _NAMES}
    for finding in compare(splits['train'].report, splits['val'].report):
        print(f'{finding.file}: {finding.says}', file=sys.stderr)
    classes = [name for name, number in splits['train'].report.objects.items() if number]
    if lacking := [name for name in classes if name not in splits['val'].report.objects]:
        path = args.data / splits['val'].annotations
        raise UserError(f'{path} has no category {lacking[0]!r}, which is trained on: add it to its categories')
    dataset = dict(
        type='CocoDataset',
        data_root=str(args.data),
        ann_file=str(splits['train'].annotations),
        data_prefix=dict(img=f'{splits["train"].images}/'),
        metainfo=dict(classes=tuple(classes)),
        filter_cfg=dict(filter_empty_gt=True),
    )
    size, levels, found = _fit(dataset, splits['train'].report)
    text = _text(args.data, splits, tuple(classes), size, levels.ranges)
    make_folder(out.parent)
    write_whole(out, text)
    add_profile(out)  # it can be read
    print(section(Setting(dataset, (size, size), levels), found))
    print(f'{out} is written. Next:')
    for command in ('doctor table5', 'table5'):
        words = 'python', 'experiments/run.py', *command.split(), '--profile', str(out), '--data', str(args.data)
        print(f'  {shlex.join(words)}')
    return 0


def _look(data: Path, name: str) -> Split:
    """Find and look at the data of a split, and print what is worth knowing.

    Raises:
        UserError: they are not there, or something is refused.
    """
    tried = [file.format(split) for split in _NAMES[name] for file in _FILES]
    annotations = next((Path(file) for file in tried if (data / file).is_file()), None)
    if annotations is None:
        raise UserError(
            f"{data} has no annotations to {'train' if name == 'train' else 'validate'} on in COCO's format: "
            f'none of {", ".join(tried[:4])}, ... is there (other formats: docs/own-data.md)'
        )
    try:
        first = read_coco(data / annotations).require().images[:1]
    except InputError as error:
        raise UserError(str(error)) from error
    folders = [Path(folder.format(split)) for split in (*_NAMES[name], annotations.stem) for folder in _FOLDERS]
    folders = [annotations.parent, *folders, Path('.')]
    names = [entry.get('file_name', '') for entry in first]
    images = next((folder for folder in folders if names and (data / folder / names[0]).is_file()), None)
    if images is None:
        raise UserError(f'{data / annotations} names the image {names}, which is in none of the folders of {data}')
    report = inspect(Source(data / annotations, data / images, training=name == 'train'))
    try:
        report.require()
    except InputError as error:
        raise UserError(str(error)) from error
    for finding in report.findings:
        print(f'{finding.file}: {finding.says}', file=sys.stderr)
    return Split(annotations, images, report)


def _fit(dataset: dict, report: Report) -> Tuple[int, Levels, Geometry]:
    """The smallest images in which the objects are not too small, FCOS's ranges that spread them over the levels most
    like COCO's and keep them large enough, and the geometry with them."""
    longest = int(np.median(report.shapes.max(axis=1)))
    sizes = [size for size in _SIZES if size < longest] + [longest]
    for size in sizes:
        images = _images(dataset, size)
        levels = Levels(_STRIDES, _ranges(_MIDDLE), divisor=8)
        if too_small(measure(images, levels), levels) is None:
            break
    fits = [Levels(_STRIDES, _ranges(first), divisor=8) for first in _FIRST_RANGES]
    measured = [(measure(images, levels), levels) for levels in fits]
    found, levels = min(measured, key=lambda pair: (too_small(*pair) is not None, _unlike_coco(pair[0])))
    return size, levels, found


def _images(dataset: dict, size: int) -> List[Image]:
    with silent():
        images = list(read_images(dataset, (size, size)))
    return images[:: max(len(images) // _GEOMETRY_IMAGES, 1)]


def _ranges(first: int) -> Ranges:
    return ((-1, first), (first, 2 * first), (2 * first, 4 * first), (4 * first, 1e8))


def _unlike_coco(found: Geometry) -> float:
    """How much the shares of objects on the levels differ from COCO's."""
    return sum(abs(here - there) for here, there in zip(found.levels, COCO.levels))


def _text(data: Path, splits: Dict[str, Split], classes: Tuple[str, ...], size: int, ranges: Ranges) -> str:
    train, val = (splits[name].report for name in ('train', 'val'))
    images, objects = len(train.files), sum(train.objects.values())
    batch = max(2, min(12, round(images / 100)))
    steps = 12 * max(images // batch, 1)
    kept = (2 * images + len(val.files)) * 3 * size**2 < _IN_MEMORY
    masked = all(_has_masks(data / split.annotations) for split in splits.values())
    return _TEMPLATE.format(
        title=f'{images} images with {objects} objects to train on, {len(val.files)} to validate on',
        classes=classes,
        crops='\n'.join(
            f'        {key}={value!r},'
            for name, split in splits.items()
            for key, value in {
                name: split.annotations.as_posix(),
                f'{name}_images': split.images.as_posix(),
                f'{name}_sha256': sha256(data / split.annotations),
            }.items()
        ),
        epochs=max(3, min(60, round(_CROPS / objects))),
        crop_batch=min(128, max(8, objects // 4)),
        size=size,
        smaller=round(0.8 * size),
        batch=batch,
        val_batch=min(50, len(val.files)),
        rate=round(0.004 * (batch / 12) ** 0.5, 5),
        warm_up=min(100, max(steps // 10, 1)),
        early=100 if len(val.files) > 200 else None,
        workers='num_workers=0, persistent_workers=False' if kept else 'num_workers=2, persistent_workers=True',
        train_file=splits['train'].annotations.as_posix(),
        train_images=splits['train'].images.as_posix() + '/',
        val_file=splits['val'].annotations.as_posix(),
        val_images=splits['val'].images.as_posix() + '/',
        ranges=repr(ranges).replace('100000000.0', '1e8'),
        masks=f'dict(model=dict(mask_head=dict(num_classes={len(classes)})))' if masked else 'None',
        masks_o2m='dict(model=dict(bbox_head=dict(regress_ranges=ranges)))' if masked else 'None',
    )


def _has_masks(path: Path) -> bool:
    """Whether each object has a mask that Table 9 can use. Says why not, if some have one."""
    file = read_coco(path)
    says = refusal_of_masks(file, unusable_masks(file, file.annotations), training=True)
    if says is None and not all('width' in image and 'height' in image for image in file.images):
        says = f'{path}: images without width and height, which the metric of masks needs: add them'
    if says and any(entry.get('segmentation') for entry in file.annotations):
        print(f'Table 9 is left out: {says}', file=sys.stderr)
    return says is None


_TEMPLATE = '''"""{title}. Written by run.py new-profile; --data names its folder."""

base = 'desk'  # the detector of 18 layers and its optimiser; everything below replaces a part of it

data_root = '${{DATA}}/'
classes = {classes!r}

# The backbone is pre-trained on the objects of the training images. To start from ImageNet instead, write
# generate = dict(_delete_=True) and the model of o2f/configs with checkpoint='torchvision://resnet50'.
generate = dict(
    _delete_=True,
    crops=dict(
{crops}
        classes=classes,
    ),
    backbone=dict(depth=18, base_channels=16, crop=40, epochs={epochs}, batch={crop_batch}, lr=0.004),
)
ranges = {ranges}  # FCOS's, by the geometry of the objects
model = dict(bbox_head=dict(num_classes=len(classes)))

# The longest side of an image is {size} pixels.
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=({size}, {size}), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=({size}, {size}), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
metainfo = dict(classes=classes)
train_dataloader = dict(
    batch_size={batch},
    {workers},
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        ann_file='{train_file}',
        data_prefix=dict(img='{train_images}'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size={val_batch},
    {workers},
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        ann_file='{val_file}',
        data_prefix=dict(img='{val_images}'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
epoch_images = {early}  # as many are evaluated after each epoch but the last; None: all
val_evaluator = dict(ann_file=data_root + '{val_file}')
test_evaluator = val_evaluator

optim_wrapper = dict(optimizer=dict(lr={rate}))
param_scheduler = {{'0': dict(end={warm_up})}}  # the warm-up, in iterations

# What the rows of the tables need besides. None: they cannot be had with these data.
variants = {{
    'fcos': dict(model=dict(bbox_head=dict(regress_ranges=ranges))),
    'aux-fcos': dict(model=dict(bbox_head=dict(auxiliary=dict(regress_ranges=ranges)))),
    'hybrid-epoch': dict(model=dict(bbox_head=dict(selection=dict(one_to_many=dict(regress_ranges=ranges))))),
    'dual-fcos': dict(model=dict(bbox_head=dict(second=dict(selection=dict(regress_ranges=ranges))))),
    'fcos+stride-8': dict(model=dict(bbox_head=dict(regress_ranges=((-1, ranges[1][1]), *ranges[2:])))),
    '3x': dict(
        train_dataloader=dict(
            dataset=dict(
                pipeline=[
                    *train_pipeline[:2],
                    dict(type='RandomResize', scale=[({size}, {smaller}), ({size}, {size})], keep_ratio=True),
                    *train_pipeline[3:],
                ]
            )
        )
    ),
    'every-epoch': dict(epoch_images=None),
    'crowdhuman': None,
    'crowdhuman-defcn': None,
    'condinst': {masks},
    'condinst-o2m': {masks_o2m},
}}
'''
