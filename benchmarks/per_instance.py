"""The same assignment in the common way: image by image, matrices of points x instances, a loop over instances.

Written after what is known of the released head's rule, and the comparison of ``benchmarks/assignment.py``. Every
matrix has a row for each point and a column for each instance, as in MMDetection's FCOS.
"""

from typing import List, NamedTuple, Tuple

import torch
from torch import Tensor
from torchvision.ops import box_iou

from benchmarks.problem import Problem
from o2f.assign.centre_region import AnchorGrid, points_of


class Assigned(NamedTuple):
    """The anchors of one instance, in ascending order: their index in the batch, whether each is the certain one, and
    its positive degree; all (k,)."""

    anchor: Tensor
    certain: Tensor
    degree: Tensor


class Matrices(NamedTuple):
    """(N, n): joint score, whether the point lies in Omega and its box overlaps the instance, and Eq. 1."""

    p: Tensor
    eligible: Tensor
    score: Tensor


@torch.no_grad()
def assign(
    given: Problem, k: int = 7, alpha: float = 0.8, radius: float = 1.5, t: float = 0.6, dtype=torch.float32
) -> List[Assigned]:
    """The targets of each instance of the batch, as the released code has them.

    ``dtype`` is what scores are computed in. Double precision, rounded to single at the end, settles near ties as
    ``o2f`` does and is used to compare; single precision is what is timed.
    """
    points, reach = points_of(given.grid, given.boxes.device), _reach(given.grid, radius).to(given.boxes.device)
    found: List[Assigned] = []
    for image in range(len(given.boxes)):
        mine = given.instances.image == image
        truth, labels = given.instances.boxes[mine], given.instances.labels[mine]
        maps = (x[image].to(dtype) for x in (given.cls_logits, given.centerness_logits, given.boxes))
        matrices = _matrices(*maps, truth, labels, _in_centre_region(points, reach, truth), alpha)
        found += _assign_image(matrices, k, t, image * len(points))
    return found


def _reach(grid: AnchorGrid, radius: float) -> Tensor:
    """(N, 1): half-side of Omega's square at each point, in pixels."""
    return torch.cat([torch.full((h * w, 1), radius * stride) for (h, w), stride in zip(grid.shapes, grid.strides)])


def _in_centre_region(points: Tensor, reach: Tensor, truth: Tensor) -> Tensor:
    """(N, n) bool: strictly inside the box and the square round its middle."""
    x, y = points[:, :1], points[:, 1:]
    x1, y1, x2, y2 = truth.T.unsqueeze(1)
    middle_x, middle_y = (x1 + x2) / 2, (y1 + y2) / 2
    in_box = (x > x1) & (x < x2) & (y > y1) & (y < y2)
    in_columns = (x > middle_x - reach) & (x < middle_x + reach)
    return in_box & in_columns & (y > middle_y - reach) & (y < middle_y + reach)


def _matrices(
    logits: Tensor, centerness: Tensor, boxes: Tensor, truth: Tensor, labels: Tensor, inside: Tensor, alpha: float
) -> Matrices:
    joint = logits.sigmoid() * centerness.sigmoid().unsqueeze(-1)  # (N, C)
    p = joint[:, labels]
    iou = box_iou(boxes, truth.to(boxes.dtype))
    return Matrices(p, inside & (iou > 0), (p ** (1 - alpha) * iou**alpha * inside).float())


def _assign_image(matrices: Matrices, k: int, t: float, first: int) -> List[Assigned]:
    """The instances of one image, whose points begin at ``first`` in the batch."""
    p, eligible, score = matrices
    wanted = torch.zeros_like(eligible)
    for j in range(p.size(1)):
        number = min(k, int(eligible[:, j].sum()))
        wanted[score[:, j].topk(number).indices, j] = True
    # An anchor that several want goes to the one with the highest score.
    owner = score.where(wanted, -1).argmax(dim=1) if p.size(1) else wanted.new_zeros(len(p), dtype=torch.long)
    found = []
    for j in range(p.size(1)):
        anchor = (wanted[:, j] & (owner == j)).nonzero().squeeze(1)
        certain, degree = _degrees(p[anchor, j], score[anchor, j], t)
        found.append(Assigned(anchor + first, certain, degree))
    return found


def _degrees(p: Tensor, score: Tensor, t: float) -> Tuple[Tensor, Tensor]:
    """Of an instance's (k,) anchors the best is certain; the others' degrees are by Eq. 3."""
    certain = torch.zeros_like(p, dtype=torch.bool)
    if len(p) == 0:
        return certain, p
    certain[score.argmax()] = True
    highest = p.where(~certain, 0).max()
    return certain, torch.where(certain, 1, p / highest.clamp(min=torch.finfo(p.dtype).tiny) * t)
