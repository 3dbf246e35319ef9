"""The detectors of Table 5 at full size, with random weights, and images to give them."""

from typing import Any, List, Sequence, Tuple

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from torch import Tensor, nn

import o2f  # isort: skip  # noqa: F401  (answers for mmcv's compiled operations, so it comes before MMDetection)
from mmdet.registry import MODELS  # isort: skip
from mmdet.structures import DetDataSample  # isort: skip

from experiments.cells import find_run
from experiments.grid import load_table

SIZE = (800, 1344)  # height and width of a batch: 800 x 1333 padded to a multiple of 32
DEVICE = torch.device('cuda' if torch.cuda.is_available() else 'cpu')


def config_of(method: str) -> Config:
    """The config of a row of Table 5 at full scale, 1x, that asks for no weights and no data."""
    config = Config(find_run(load_table('table5'), [method, '1x'], 'paper', {})[0].config)
    config.model.backbone.init_cfg = None
    MMLogger.get_current_instance().setLevel('ERROR')  # it would tell how every parameter began
    init_default_scope(config.default_scope)
    return config


def build(config: Config) -> nn.Module:
    """Its detector on the device, the same weights every time."""
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    model.init_weights()
    return model.to(DEVICE, memory_format=torch.channels_last)


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


def with_candidates(model: nn.Module, batch: dict, wanted: int, score: float) -> None:
    """Shift the bias of a detector's scores so that ``wanted`` of them are above ``score`` on the batch's one image.

    With random weights nothing is above a threshold; a trained detector leaves its decoding and its NMS something.
    """
    head = model.bbox_head
    with torch.no_grad():
        low, high = -20.0, 20.0
        for _ in range(24):
            middle = (low + high) / 2
            head.conv_cls.bias.fill_(middle)
            logits, _, factors = head(model.extract_feat(batch['inputs']))
            found = sum(_above(*level, score) for level in zip(logits, factors))
            low, high = (middle, high) if found < wanted else (low, middle)


def _above(logits: Tensor, factor: Tensor, score: float) -> int:
    return int((logits.sigmoid() * factor.sigmoid() > score).sum())


def metas(samples: Sequence[DetDataSample]) -> List[Any]:
    """What a head wants to know of each image."""
    return [sample.metainfo for sample in samples]
