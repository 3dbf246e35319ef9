"""Detectors small enough to train in a test, and the images they see."""

import contextlib
import copy
import json
from pathlib import Path
from typing import Callable, List, Optional, Tuple

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from reference import Settings
from torch import Tensor, nn

from o2f import OneToFewHead

init_default_scope('mmdet')  # as MMDetection's configs do, so that names are looked up among its modules

METAS = [dict(img_shape=(64, 96), scale_factor=(0.5, 0.25))] * 2
TEST_CFG = dict(score_thr=0.05, nms_pre=50, max_per_img=20, min_bbox_size=0, nms=dict(type='nms', iou_threshold=0.6))

#: Alpha 0.25 and gamma 2 of a focal loss on p.
FOCAL = dict(positive_weight=0.25, positive_gamma=2.0, negative_weight=0.75, gamma=2.0)
#: POTO's settings of a head, as experiments/variants/poto.py has them.
POTO = dict(
    score_factor='none',
    selection=dict(type='HungarianSelection'),
    degrees=dict(type='ConstantDegrees', t=1.0),
    loss_cls=dict(type='OneToFewLoss', **FOCAL),
    box_weight='uniform',
)


def head_config(num_classes: int = 3, strides=(8, 16, 32), **changes) -> dict:
    """A OneToFewHead of 8 channels."""
    return dict(
        dict(
            type='OneToFewHead',
            num_classes=num_classes,
            in_channels=8,
            feat_channels=8,
            stacked_convs=1,
            strides=list(strides),
            centerness_convs=1,
            centerness_channels=4,
            norm_cfg=dict(type='GN', num_groups=2),
        ),
        **changes,
    )


def fcos_head_config() -> dict:
    """MMDetection's own head, as the paper's baseline has it, as small."""
    config = head_config()
    for name in ('centerness_convs', 'centerness_channels'):
        del config[name]
    ranges = ((-1, 64), (64, 128), (128, 1e8))
    return dict(config, type='FCOSHead', regress_ranges=ranges, norm_on_bbox=True, centerness_on_reg=True)


def make_head(num_classes: int = 3, strides=(8, 16, 32), **changes) -> OneToFewHead:
    return MODELS.build(head_config(num_classes, strides, **changes))


def head_of(batch, settings: Settings) -> OneToFewHead:
    """The head that the reference's settings describe, for a batch of ``assignment_cases``."""
    return make_head(
        batch.cls_logits.shape[-1],
        batch.strides,
        selection=dict(
            type='OneToFewSelection',
            k=settings.k,
            alpha=settings.alpha,
            metric=settings.metric,
            k_includes_certain=settings.k_includes_certain,
        ),
        degrees=dict(type='LinearDegrees', t_max=settings.t, t_min=settings.t),
        loss_cls=dict(
            type='OneToFewLoss',
            ambiguous_weight=settings.ambiguous_weight,
            negative_weight=settings.negative_weight,
            gamma=settings.gamma,
        ),
        box_weight=settings.box_weight,
    )


def detector_config(kind: str = 'TwoReadingsFCOS', head: Optional[dict] = None, **test_cfg) -> ConfigDict:
    """A ResNet-18 of width 4 with FPN on strides 8, 16 and 32."""
    return ConfigDict(
        type=kind,
        data_preprocessor=dict(
            type='DetDataPreprocessor', mean=[120.0] * 3, std=[60.0] * 3, bgr_to_rgb=True, pad_size_divisor=32
        ),
        backbone=dict(
            type='ResNet',
            depth=18,
            base_channels=4,
            stem_channels=4,
            out_indices=(1, 2, 3),
            norm_eval=True,
            norm_cfg=dict(type='BN'),
        ),
        neck=dict(type='FPN', in_channels=[8, 16, 32], out_channels=8, num_outs=3),
        bbox_head=head or head_config(),
        test_cfg=dict(TEST_CFG, **test_cfg),
    )


# What is in two images of 64 x 96, by name.
BOXES = dict(
    all=[[[10, 10, 50, 40], [30, 5, 90, 60]], [[0, 0, 96, 64]]],
    one_empty=[[], [[10, 10, 50, 40]]],
    all_empty=[[], []],
    without_area=[[[10, 10, 10, 40], [50, 40, 10, 10]], [[7, 7, 7, 7]]],
    between_points=[[[5, 5, 7, 7]], [[21, 13, 23, 15]]],
    outside=[[[-90, -90, -10, -10]], [[200, 200, 300, 300]]],
)


def truth_of(name: str) -> list:
    return [
        InstanceData(
            bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), labels=torch.arange(len(boxes)) % 3
        )
        for boxes in BOXES[name]
    ]


def make_detector(seed: int = 0, **arguments) -> nn.Module:
    """A detector with random weights, large enough for scores all over 0 to 1."""
    torch.manual_seed(seed)
    model = MODELS.build(detector_config(**arguments))
    with torch.no_grad():
        for name, convolution in model.bbox_head.named_modules():
            if isinstance(convolution, nn.Conv2d) and name in ('conv_cls', 'conv_reg', 'conv_centerness'):
                convolution.weight.normal_(0, 0.5)
                convolution.bias.fill_(2 if name == 'conv_reg' else -1)
    return model.eval()


def make_images(number: int, size: Tuple[int, int] = (64, 96), seed: int = 0) -> List[dict]:
    """What a pipeline would give: uint8 images and data samples with one to three random boxes; the network's input is
    half the original's size."""
    rng = np.random.default_rng(seed)
    height, width = size
    images = []
    for image_id in range(number):
        corner = rng.uniform((0, 0), (width * 0.6, height * 0.6), (image_id % 3 + 1, 2))
        boxes = np.hstack((corner, corner + rng.uniform(8, 38, corner.shape))).clip(0, (width, height) * 2)
        sample = DetDataSample(
            metainfo=dict(img_id=image_id, img_shape=size, ori_shape=(2 * height, 2 * width), scale_factor=(0.5, 0.5))
        )
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor(boxes, dtype=torch.float32), labels=torch.tensor(rng.integers(0, 3, len(boxes)))
        )
        pixels = rng.integers(0, 256, (3, height, width), dtype=np.uint8)
        images.append(dict(inputs=torch.from_numpy(pixels), data_samples=sample))
    return images


def collate(images: List[dict]) -> dict:
    return dict(inputs=[image['inputs'] for image in images], data_samples=[image['data_samples'] for image in images])


def random_maps(seed: int = 0, batch: int = 2, spread: float = 1.0) -> Tuple[Tensor, ...]:
    """FPN outputs of 8 channels on strides 8, 16 and 32 of a 64 x 96 image."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(batch, 8, 64 // s, 96 // s, generator=generator) * spread for s in (8, 16, 32))


def random_outputs(seed=0):
    """Outputs of a head with three classes on two images of 64 x 96; distances up to three strides, some 0."""
    generator = torch.Generator().manual_seed(seed)
    shapes = ((8, 12), (4, 6), (2, 3))

    def maps(channels):
        return [torch.randn(2, channels, *shape, generator=generator) * 2 for shape in shapes]

    return maps(3), [map_.clamp(min=0) * stride for map_, stride in zip(maps(4), (8, 16, 32))], maps(1)


def assert_same_detections(found: InstanceData, expected: list, scale=(1.0, 1.0)) -> None:
    assert found.scores.tolist() == pytest.approx([score for score, _, _ in expected], rel=1e-5)
    assert found.labels.tolist() == [label for _, label, _ in expected]
    boxes = torch.tensor([box for _, _, box in expected]).reshape(-1, 4) * torch.tensor([*scale, *scale])
    torch.testing.assert_close(found.bboxes, boxes, rtol=1e-5, atol=1e-4)


def write_annotations(path: Path, images: List[dict], names=('cat', 'dog', 'hen')) -> str:
    """The images' boxes in COCO's format, in pixels of the original; category ids 1, 2, ... in the order of names."""
    annotations = []
    for image in images:
        sample = image['data_samples']
        for box, label in zip(sample.gt_instances.bboxes.double() * 2, sample.gt_instances.labels.tolist()):
            x1, y1, x2, y2 = box.tolist()
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=sample.img_id,
                    category_id=label + 1,
                    iscrowd=0,
                    bbox=[x1, y1, x2 - x1, y2 - y1],
                    area=(x2 - x1) * (y2 - y1),
                )
            )
    records = [
        dict(
            id=image['data_samples'].img_id,
            height=image['data_samples'].ori_shape[0],
            width=image['data_samples'].ori_shape[1],
        )
        for image in images
    ]
    categories = [dict(id=index + 1, name=name) for index, name in enumerate(names)]
    path.write_text(json.dumps(dict(images=records, annotations=annotations, categories=categories)))
    return str(path)


class TinyDataset:
    """Four images kept in memory, as fresh for each reader as a file would be."""

    metainfo = dict(classes=('cat', 'dog', 'hen'))

    def __init__(self) -> None:
        self.images = make_images(4)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict:
        return copy.deepcopy(self.images[index])


class Stopped(Exception):
    """What ends a run early in :func:`train`."""


class Recorder(Hook):
    """Notes (epoch, something of the head) at every iteration, and stops the run before an epoch if it is told to."""

    priority = 'VERY_LOW'

    def __init__(self, note: Callable, stop_before: Optional[int]) -> None:
        self.note = note
        self.stop_before = stop_before
        self.seen = []

    def before_train_epoch(self, runner: Runner) -> None:
        if runner.epoch == self.stop_before:
            raise Stopped

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        self.seen.append((runner.epoch, self.note(runner.model.bbox_head)))


def train(
    folder: Path,
    stop_before: Optional[int] = None,
    resume: bool = False,
    head: Optional[dict] = None,
    note: Callable = lambda head: head.degrees.t,
) -> Tuple[List[tuple], dict]:
    """Train a tiny detector for three epochs of two iterations, validated by both readings after each, with all that
    a checkpoint of a real run holds. Gives (epoch, what ``note`` says of the head, by default T) of every iteration and
    the weights at the end."""
    recorder = Recorder(note, stop_before)
    loader = dict(
        dataset=TinyDataset(),
        batch_size=2,
        num_workers=0,
        collate_fn=dict(type='pseudo_collate'),
        sampler=dict(type='DefaultSampler', shuffle=False),
    )
    runner = Runner(
        model=detector_config(head=head),
        work_dir=str(folder),
        experiment_name=f'{folder.name}_{resume}',
        train_dataloader=loader,
        val_dataloader=loader,
        train_cfg=dict(by_epoch=True, max_epochs=3, val_interval=1),
        val_cfg=dict(),
        val_evaluator=dict(
            type='TwoReadingsMetric', ann_file=write_annotations(folder.parent / 'truth.json', TinyDataset().images)
        ),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9)),
        param_scheduler=[
            dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=3),
            dict(type='MultiStepLR', milestones=[2], by_epoch=True),
        ],
        default_hooks=dict(
            checkpoint=dict(type='CheckpointHook', interval=1, save_best='without_nms/AP', rule='greater')
        ),
        custom_hooks=[dict(type='EpochHook'), recorder],
        randomness=dict(seed=0),
        default_scope='mmdet',
        log_level='ERROR',
        resume=resume,
    )
    with contextlib.suppress(Stopped):
        runner.train()
    return recorder.seen, {name: tensor.clone() for name, tensor in runner.model.state_dict().items()}
