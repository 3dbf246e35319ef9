"""The detectors of Table 5 at full size, with random weights, and images to give them."""

from typing import Tuple

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from torch import Tensor, nn

import o2f  # isort: skip  # noqa: F401  (answers for mmcv's compiled operations, so it comes before MMDetection)
from mmdet.registry import MODELS  # isort: skip
from mmdet.structures import DetDataSample  # isort: skip

from experiments.spec.plan import find_run
from experiments.spec.table_file import load_table

SIZE = (800, 1344)  # height and width of a batch: 800 x 1333 padded to a multiple of 32
DEVICE = torch.device('cuda' if torch.cuda.is_available() else 'cpu')


def config_of(method: str) -> Config:
    """The config of a row of Table 5 at full scale, 1x, made ready."""
    return ready(Config(find_run(load_table('table5'), [method, '1x'], 'paper', {})[0].config))


def ready(config: Config) -> Config:
    """The same config, which now asks for no weights; MMDetection's classes can be built from it."""
    config.model.backbone.init_cfg = None
    MMLogger.get_current_instance().setLevel('ERROR')  # it would tell how every parameter began
    init_default_scope('mmdet')
    return config


def build(config: Config, memory_format: torch.memory_format = torch.channels_last) -> nn.Module:
    """Its detector on the device, the same weights every time."""
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    model.init_weights()
    return model.to(DEVICE, memory_format=memory_format)


def scenes(count: int, size: Tuple[int, int], instances: int, classes: int = 80) -> dict:
    """A batch as a data loader gives it: ``inputs``, uint8 images, and ``data_samples`` with random boxes."""
    generator = torch.Generator().manual_seed(1)
    inputs = list(torch.randint(0, 256, (count, 3, *size), dtype=torch.uint8, generator=generator))
    samples = []
    for _ in range(count):
        sample = DetDataSample(
            metainfo=dict(img_shape=size, ori_shape=size, pad_shape=size, scale_factor=(1.0, 1.0), img_id=0)
        )
        labels = torch.randint(0, classes, (instances,), generator=generator)
        sample.gt_instances = InstanceData(bboxes=boxes(instances, size, generator), labels=labels)
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long())
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def boxes(count: int, size: Tuple[int, int], generator: torch.Generator) -> Tensor:
    """(count, 4) boxes within an image of ``size`` (height, width), of sides from 16 pixels to its height."""
    height, width = size
    sides = 16 * (height / 16) ** torch.rand(count, 2, generator=generator)
    corner = torch.rand(count, 2, generator=generator) * (torch.tensor([width, height]) - sides).clamp(min=1)
    return torch.cat((corner, corner + sides), dim=1)


@torch.no_grad()
def with_candidates(model: nn.Module, batch: dict, wanted: int, score: float) -> None:
    """Set the bias of a detector's scores so that ``wanted`` of them are above ``score`` on the batch's images.

    With random weights nothing is above a threshold; a trained detector leaves its decoding and its NMS something.
    """
    model.bbox_head.conv_cls.bias.fill_(0)
    logits, _, factors = model.bbox_head(model.extract_feat(batch['inputs']))
    low, high = -20.0, 20.0
    for _ in range(24):
        middle = (low + high) / 2
        found = sum(
            int(((level + middle).sigmoid() * factor.sigmoid() > score).sum()) for level, factor in zip(logits, factors)
        )
        low, high = (middle, high) if found < wanted else (low, middle)
    model.bbox_head.conv_cls.bias.fill_(high)
