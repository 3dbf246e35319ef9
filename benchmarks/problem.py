"""A head's predictions and the instances of a batch, at random, in the size of a real training step."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Tuple

import torch
from torch import Tensor

from o2f.assign.centre_region import AnchorGrid, points_of
from o2f.assign.matching_score import Instances

STRIDES = (8, 16, 32, 64, 128)


@dataclass(frozen=True)
class Problem:
    """What the targets of one batch are made from.

    Attributes:
        cls_logits (Tensor): (B, N, C).
        centerness_logits (Tensor): (B, N).
        boxes (Tensor): (B, N, 4), predicted boxes, x1 y1 x2 y2 in pixels.
        instances (Instances): the G instances of the batch, equally many in each image.
        grid (Grid): the N anchor points.
    """

    cls_logits: Tensor
    centerness_logits: Tensor
    boxes: Tensor
    instances: Instances
    grid: AnchorGrid

    @property
    def arguments(self) -> Tuple:
        """What a selection is called with."""
        return self.cls_logits, self.centerness_logits, self.boxes, self.instances, self.grid

    def to(self, device: str) -> 'Problem':
        """The same on another device."""
        moved = Instances(*(getattr(self.instances, name).to(device) for name in ('boxes', 'labels', 'image')))
        tensors = self.cls_logits.to(device), self.centerness_logits.to(device), self.boxes.to(device)
        return Problem(*tensors, moved, self.grid)

    def with_gradients(self) -> 'Problem':
        """The same with logits that ask for a gradient."""
        cls_logits, centerness_logits = self.cls_logits.detach().clone(), self.centerness_logits.detach().clone()
        return dataclasses.replace(
            self, cls_logits=cls_logits.requires_grad_(), centerness_logits=centerness_logits.requires_grad_()
        )

    def with_logits(self, dtype: torch.dtype) -> 'Problem':
        """The same with logits in another precision, as a head under autocast gives them."""
        return dataclasses.replace(
            self, cls_logits=self.cls_logits.to(dtype), centerness_logits=self.centerness_logits.to(dtype)
        )


def problem(
    per_image: int, images: int = 2, size: Tuple[int, int] = (800, 1333), classes: int = 80, seed: int = 0
) -> Problem:
    """``per_image`` instances in each of ``images`` images of ``size`` (height, width) in pixels."""
    generator = torch.Generator().manual_seed(seed)
    grid = AnchorGrid(tuple((math.ceil(size[0] / stride), math.ceil(size[1] / stride)) for stride in STRIDES), STRIDES)
    points = points_of(grid, torch.device('cpu'))
    stride = torch.cat([torch.full((h * w, 1), float(s)) for (h, w), s in zip(grid.shapes, grid.strides)])
    distances = torch.rand(images, grid.num_points, 4, generator=generator) * 4 * stride
    # Class scores of a detector that has begun to learn: most near 0.01, some far above.
    logits = torch.randn(images, grid.num_points, classes, generator=generator).mul_(1.5).sub_(4.0)
    centerness = torch.randn(images, grid.num_points, generator=generator)
    boxes = torch.cat((points - distances[..., :2], points + distances[..., 2:]), dim=-1)
    return Problem(logits, centerness, boxes, _instances(per_image * images, images, size, classes, generator), grid)


def _instances(count: int, images: int, size: Tuple[int, int], classes: int, generator: torch.Generator) -> Instances:
    """Boxes with sides from 16 to 400 pixels, as many for each factor between, with their middle in the image."""
    middle = torch.rand(count, 2, generator=generator) * torch.tensor([size[1], size[0]])
    half = torch.exp(torch.rand(count, 2, generator=generator) * math.log(25.0)) * 8
    labels = torch.randint(classes, (count,), generator=generator)
    image = torch.arange(images).repeat_interleave(count // images)
    return Instances(torch.cat((middle - half, middle + half), dim=1), labels, image)
