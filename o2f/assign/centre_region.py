"""The centre region Omega of section 3.2.

On every FPN level, Omega_j is the intersection of instance j's box with a square around the box's centre. The square's
half-side is ``radius`` strides. At radius 1.5, Omega_j holds at most 3 x 3 points of a level. Index arithmetic finds
these few points, and each is then checked. No points x instances matrix is ever built.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Optional, Sequence, Tuple, Union

import torch
from torch import Tensor

#: Half-side of Omega's square in strides. None: Omega is the whole box. 'image': Omega is the whole image.
Radius = Union[None, float, str]


@dataclass(frozen=True)
class AnchorGrid:
    """The anchor points of an image: level after level, row after row.

    Attributes:
        shapes (tuple[tuple[int, int]]): (height, width) of each level's map, in cells.
        strides (tuple[int]): stride of each level, in pixels.
    """

    shapes: Tuple[Tuple[int, int], ...]
    strides: Tuple[int, ...]

    @property
    def num_points(self) -> int:
        """N, the number of points of one image over all levels."""
        return sum(height * width for height, width in self.shapes)

    @property
    def offsets(self) -> Tuple[int, ...]:
        """Index of each level's first point among the N points."""
        sizes = [height * width for height, width in self.shapes]
        return tuple(sum(sizes[:level]) for level in range(len(sizes)))


@lru_cache(maxsize=64)
def _level_table(grid: AnchorGrid, device: torch.device) -> Tensor:
    """(4, levels, 1) int64 on ``device``: stride, height, width and first point of each level.

    The result is cached, so a batch of a known shape copies nothing to the device."""
    heights, widths = zip(*grid.shapes)
    return torch.tensor([grid.strides, heights, widths, grid.offsets], device=device).unsqueeze(-1)


def candidate_points(
    boxes: Tensor, grid: AnchorGrid, radius: Radius, centres: Optional[Tensor] = None
) -> Tuple[Tensor, Tensor]:
    """List the anchor points that can lie in the centre region of each instance.

    A point is in Omega if it is *strictly* inside both the box and the square. Points lie at (index + 0.5) x stride.

    Args:
        boxes (Tensor): (G, 4), x1 y1 x2 y2 in pixels. A degenerate box has no point inside.
        grid (AnchorGrid): the anchor points.
        radius (float | str, optional): half-side of the square in strides. The released code uses 1.5. With None, Omega
            is the whole box and every point is a candidate. With 'image', every point is in Omega.
        centres (Tensor, optional): (G, 2), x y of the square's centre in pixels. The default is the box's centre.

    Returns:
        tuple[Tensor, Tensor]: ``index`` (G, M) int64, indices into the N points of an image in ascending order, and
            ``inside`` (G, M) bool, whether the point exists and lies in Omega. M is levels x ceil(2 radius)^2, or N if
            ``radius`` is no number. Where ``inside`` is False, the index is valid but meaningless.
    """
    if radius == 'image':
        index, _ = _all_points(boxes, grid)
        return index, torch.ones_like(index, dtype=torch.bool)
    if radius is None:
        return _all_points(boxes, grid)
    assert not isinstance(radius, str)  # the selections know no other
    stride, height, width, first = _level_table(grid, boxes.device)
    per_axis = math.ceil(2 * radius)
    x1, y1, x2, y2 = boxes[:, None, None].unbind(-1)  # each (G, 1, 1), to meet (levels, per_axis)
    x, y = ((x1 + x2) / 2, (y1 + y2) / 2) if centres is None else centres[:, None, None].unbind(-1)
    column, column_in = _inside_1d(x1, x2, x, stride, width, radius, per_axis)
    row, row_in = _inside_1d(y1, y2, y, stride, height, radius, per_axis)
    # (G, levels, rows, columns) -> (G, M)
    index = (first + row * width).unsqueeze(-1) + column.unsqueeze(-2)
    inside = row_in.unsqueeze(-1) & column_in.unsqueeze(-2)
    return index.flatten(1), inside.flatten(1)


def num_candidates(grid: AnchorGrid, radius: Radius) -> int:
    """M, the number of candidates that [`candidate_points`][] lists for each instance."""
    if radius is None or isinstance(radius, str):
        return grid.num_points
    return len(grid.shapes) * math.ceil(2 * radius) ** 2


def _inside_1d(
    low: Tensor, high: Tensor, middle: Tensor, stride: Tensor, cells: Tensor, radius: float, per_axis: int
) -> Tuple[Tensor, Tensor]:
    """Find the cells of one axis whose point lies strictly between ``low`` and ``high``, and within ``radius`` strides
    of ``middle``.

    Returns:
        tuple[Tensor, Tensor]: (G, levels, per_axis) cell indices, clamped into the map, and whether each one counts.
    """
    start = torch.floor(middle / stride - radius - 0.5).long() + 1
    cell = start + torch.arange(per_axis, device=low.device)
    point = (cell + 0.5) * stride
    reach = radius * stride
    inside = (point > low) & (point < high) & (point > middle - reach) & (point < middle + reach)
    inside &= (cell >= 0) & (cell < cells)
    return torch.minimum(cell.clamp(min=0), cells - 1), inside


def _all_points(boxes: Tensor, grid: AnchorGrid) -> Tuple[Tensor, Tensor]:
    """All N points for every box: (G, N) indices, and whether each point is strictly inside the box."""
    points = points_of(grid, boxes.device)
    inside = ((points > boxes[:, None, :2]) & (points < boxes[:, None, 2:])).all(dim=-1)
    return torch.arange(len(points), device=boxes.device).expand_as(inside), inside


def points_of(grid: AnchorGrid, device: torch.device) -> Tensor:
    """x and y of every anchor point in pixels, (N, 2) float32."""
    return _points(grid, device)


@lru_cache(maxsize=8)
def _points(grid: AnchorGrid, device: torch.device) -> Tensor:
    levels = []
    for (height, width), stride in zip(grid.shapes, grid.strides):
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij')
        levels.append((torch.stack((x, y), dim=-1).reshape(-1, 2) + 0.5) * stride)
    return torch.cat(levels).to(device)


def grid_of(maps: Sequence[Tensor], strides: Sequence[int]) -> AnchorGrid:
    """The grid of a head's output maps, one (B, C, H, W) map per level."""
    return AnchorGrid(tuple((map_.size(-2), map_.size(-1)) for map_ in maps), tuple(strides))
