"""A small backbone trained to classify object crops. At desk scale it replaces the paper's ImageNet weights."""

import json
from pathlib import Path
from typing import Callable, Iterator, Optional, Sequence, Tuple, Union

import cv2
import numpy as np
import torch
from mmengine.logging import MMLogger
from mmengine.model import BaseModule
from torch import Tensor, nn

import o2f  # isort: skip  # noqa: F401  (provides mmcv's compiled operations, so it precedes MMDetection)
from mmdet.models.backbones import ResNet, SwinTransformer  # isort: skip

from experiments.data.objects import read_objects
from experiments.data.synthetic.scenes import draw_scene
from experiments.spec.synthetic import BackboneSpec, CropSpec, SwinSpec
from experiments.store.errors import UserError

FILE = 'backbone.pth'
Spec = Union[BackboneSpec, SwinSpec]


def train_backbone(spec: Spec, folder: Path, data: Path, progress: Optional[Callable[[int, int], None]] = None) -> None:
    """Write ``backbone.pth``, with the parameter names of MMDetection's backbone, and ``accuracy.json`` to ``folder``.

    Args:
        spec (BackboneSpec | SwinSpec): how to train.
        folder (Path): an existing folder.
        data (Path): the data folder, from which a dataset of one's own is read.
        progress (callable, optional): called with (batches done, batches in total).

    Raises:
        OSError: a file cannot be written.
        UserError: a dataset cannot be read, is not the one that the spec names, or has no objects.
    """
    MMLogger.get_instance('backbone', log_level='ERROR')  # silences the warning that there are no weights yet
    torch.manual_seed(spec.seed)
    (crops, labels), held_out = _crops(spec, 'train', data), _crops(spec, 'val', data)
    backbone, channels, prefix = _build(spec)
    backbone.init_weights()
    model = _Classifier(backbone, channels, int(labels.max()) + 1).to(memory_format=torch.channels_last)
    _fit(model, crops, labels, spec, progress)
    accuracy = _accuracy(model, *held_out)
    torch.save({prefix + name: weight for name, weight in backbone.state_dict().items()}, folder / FILE)
    (folder / 'accuracy.json').write_text(json.dumps({'val_crops': accuracy}))


def _build(spec: Spec) -> Tuple[BaseModule, int, str]:
    """The backbone, the channels of its last feature map, and the prefix of its weights' names in the file."""
    if isinstance(spec, BackboneSpec):
        return ResNet(depth=spec.depth, base_channels=spec.base_channels, out_indices=(3,)), 8 * spec.base_channels, ''
    swin = SwinTransformer(
        embed_dims=spec.embed_dims,
        depths=spec.depths,
        num_heads=spec.num_heads,
        window_size=spec.window_size,
        out_indices=(3,),
    )
    return swin, 8 * spec.embed_dims, 'backbone.'  # MMDetection's Swin loads only names as in a detector's checkpoint


class _Classifier(nn.Module):
    """Crops (n, 3, crop, crop) to class logits (n, classes)."""

    def __init__(self, backbone: nn.Module, channels: int, classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.linear = nn.Linear(channels, classes)

    def forward(self, crops: Tensor) -> Tensor:
        return self.linear(self.backbone(crops)[-1].mean(dim=(2, 3)))


def _fit(
    model: nn.Module,
    crops: Tensor,
    labels: Tensor,
    spec: Spec,
    progress: Optional[Callable[[int, int], None]],
) -> None:
    """Train with AdamW and a one-cycle learning rate. Crops are flipped at random, like the paper's training images."""
    batches = max(1, len(crops) // spec.batch)
    total = spec.epochs * batches
    optimizer = torch.optim.AdamW(model.parameters(), lr=spec.lr, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, spec.lr, total_steps=total)
    model.train()
    for step in range(total):
        if step % batches == 0:
            order = torch.randperm(len(crops))
        chosen = order[step % batches * spec.batch :][: spec.batch]
        x = _normalise(crops[chosen])
        x = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(-1), x)
        loss = torch.nn.functional.cross_entropy(model(x), labels[chosen], label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if progress:
            progress(step + 1, total)


def _accuracy(model: nn.Module, crops: Tensor, labels: Tensor) -> float:
    """Classification accuracy on the crops, 0 to 1."""
    model.eval()
    with torch.no_grad():
        right = sum(
            (model(_normalise(part)).argmax(1) == truth).sum().item()
            for part, truth in zip(crops.split(256), labels.split(256))
        )
    return right / len(crops)


def _normalise(crops: Tensor) -> Tensor:
    """(n, crop, crop, 3) uint8 BGR to the detectors' input: float RGB, normalised by ImageNet's mean and deviation."""
    mean, std = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
    return ((crops.flip(-1).float() - mean) / std).permute(0, 3, 1, 2)


def _crops(spec: Spec, split: str, data: Path) -> Tuple[Tensor, Tensor]:
    """Square crops around every object: (n, crop, crop, 3) uint8 and (n,) int64 class indices from 0.

    Raises:
        UserError: there is no object, or a dataset cannot be read.
    """
    crops, labels = [], []
    for image, label, (x, y, width, height) in _objects(spec, split, data):
        side = spec.context * max(width, height)
        scale = spec.crop / side
        corner = (x + width / 2 - side / 2, y + height / 2 - side / 2)
        shift = np.array([[scale, 0, -corner[0] * scale], [0, scale, -corner[1] * scale]], np.float32)
        size = (spec.crop, spec.crop)
        crops.append(cv2.warpAffine(image, shift, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT))
        labels.append(label)
    if not crops:
        source = data / getattr(spec.scenes, split) if isinstance(spec.scenes, CropSpec) else f'{split} scenes'
        raise UserError(f'{source}: no object of 2 pixels or more to pre-train the backbone on: add some')
    return torch.from_numpy(np.stack(crops)), torch.tensor(labels)


def _objects(spec: Spec, split: str, data: Path) -> Iterator[Tuple[np.ndarray, int, Sequence[float]]]:
    """The image (H, W, 3) uint8 BGR, the class index and the box (x, y, width, height) of every object."""
    if isinstance(spec.scenes, CropSpec):
        yield from read_objects(spec.scenes, split, data)
        return
    for index in range(getattr(spec.scenes, split)):
        scene = draw_scene(spec.scenes, split, index)
        for category, _, box, _ in scene.instances:
            yield scene.image, category - 1, box
