"""3D Max Filtering (3DMF) of DeFCN, a baseline of the paper (section 4.3, Fig. 4)."""

from typing import List, Sequence

import torch
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.functional import interpolate


@MODELS.register_module()
class MaxFiltering3D(BaseModule):
    """DeFCN's 3D Max Filtering: a score factor that lets one point of an object stand out.

    It is computed from maxima over space and over neighbouring levels.

    Args:
        channels (int): channels of the regression tower's maps.
        num_groups (int): groups of the GroupNorm.
        kernel_size (int): side of the window in points, an odd number.
        levels (int): levels in the window, including the level itself, an odd number.

    Raises:
        ValueError: ``kernel_size`` or ``levels`` is not odd.
    """

    def __init__(self, channels: int, num_groups: int = 32, kernel_size: int = 3, levels: int = 3) -> None:
        if not (kernel_size % 2 == levels % 2 == 1):
            raise ValueError(f'max_filtering: kernel_size and levels must be odd, not {kernel_size!r} and {levels!r}')
        super().__init__(init_cfg=dict(type='Normal', layer='Conv2d', std=0.01))
        self.reach = levels // 2
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        # The 3D maximum is a maximum over the levels of the window, followed by max pooling in the plane.
        self.pool = nn.MaxPool2d(kernel_size, stride=1, padding=kernel_size // 2)
        self.norm = nn.GroupNorm(num_groups, channels)
        self.conv_filter = nn.Conv2d(channels, 1, 3, padding=1)

    def forward(self, maps: Sequence[Tensor]) -> List[Tensor]:
        """Compute the filter logits of each level.

        Args:
            maps (sequence[Tensor]): maps of the regression tower, (B, channels, H, W) per level.

        Returns:
            list[Tensor]: logits, (B, 1, H, W) per level.
        """
        features = [self.conv(map_) for map_ in maps]
        return [
            self.conv_filter(torch.relu(self.norm(self._maxima(features, level) + map_)))
            for level, map_ in enumerate(maps)
        ]

    def _maxima(self, features: Sequence[Tensor], level: int) -> Tensor:
        """The maximum over the window around each point, (B, channels, H, W). Other levels are resized to this one."""
        size = features[level].shape[-2:]
        window = features[max(level - self.reach, 0) : level + self.reach + 1]
        same = [
            feature if feature.shape[-2:] == size else interpolate(feature, size, mode='bilinear') for feature in window
        ]
        return self.pool(torch.stack(same).amax(dim=0))
