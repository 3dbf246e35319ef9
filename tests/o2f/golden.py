"""The numbers of the method, written down: what heads compute on fixed inputs, and how it is compared with the file.

``golden.npz`` holds, for each case in double and in single precision, the losses, the gradient of every parameter, and
the detections without and with NMS. A gradient is held by three numbers: its norm, and its products with two fixed
vectors. Heads are those of the paper profile with few channels, so that a changed constant in a config or a variant
shows as well as one in the code. Weights and inputs come from NumPy's ``RandomState``, whose streams never change.

To write the file anew, after a change of numerics that is meant::

    python tests/o2f/make_golden.py
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Tuple

import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from tiny_condinst import ellipses
from torch import Tensor, nn

from experiments.spec.config import compose
from o2f.models import postprocess

FILE = Path(__file__).with_name('golden.npz')
SIZE = (192, 256)
CHANNELS, CLASSES = 8, 3
STRIDES = (8, 16, 32, 64, 128)
SMALL_HEAD = dict(
    num_classes=CLASSES,
    in_channels=CHANNELS,
    feat_channels=CHANNELS,
    centerness_channels=4,
    norm_cfg=dict(type='GN', num_groups=2),
)
SMALL_MASKS = dict(
    num_classes=CLASSES,
    semantic_channels=6,
    mask_feature_head=dict(in_channels=CHANNELS, feat_channels=6, num_stacked_convs=2),
)

#: Relative errors that are allowed, and the error allowed of a gradient relative to the largest gradient of its case.
#: With the processor's oldest and newest instructions, errors were at most a tenth of these in single precision, and a
#: thousandth in double.
TOLERANCES = dict(
    float64=dict(losses=1e-10, gradients=1e-10, floor=1e-13, scores=1e-10, boxes=1e-8),
    float32=dict(losses=3e-6, gradients=3e-4, floor=1e-5, scores=1e-5, boxes=1e-3),
)


@dataclass(frozen=True)
class Case:
    """A head of the paper profile and what it is trained on.

    Attributes:
        use (tuple[str]): its variants.
        k (int, optional): K, if it is not the variant's own.
        epoch (int): the epoch of 12, counted from 0.
        counts (tuple[int, int]): the number of instances in each of the two images.
    """

    use: Tuple[str, ...] = ()
    k: int = 0
    epoch: int = 0
    counts: Tuple[int, int] = (7, 12)

    @property
    def name(self) -> str:
        return f'{"+".join(self.use) or "o2f"} k={self.k or "own"} epoch={self.epoch} instances={self.counts}'


_COUNTS = ((0, 60), (1, 30), (7, 15), (60, 3), (0, 0), (30, 30))
_OURS = [
    Case((), k, epoch, _COUNTS[(3 * i + j) % len(_COUNTS)])
    for i, k in enumerate((1, 4, 7, 13))
    for j, epoch in enumerate((0, 5, 11))
]
_POTO = ('poto', '3dmf')
CASES = [
    *_OURS,
    Case((), 7, 5, (60, 45)),
    *[Case(('poto',), counts=counts) for counts in ((0, 60), (7, 12))],
    *[Case((*_POTO, aux), counts=counts) for aux in ('aux-atss', 'aux-topk') for counts in ((0, 60), (7, 12))],
    Case((*_POTO, 'aux-fcos'), counts=(5, 40)),
    *[Case(('hybrid-epoch',), epoch=epoch, counts=(5, 40)) for epoch in (0, 11)],
    Case(('crowdhuman',), epoch=5, counts=(60, 20)),
    *[
        Case(('condinst',), k, epoch, counts)
        for k, epoch, counts in ((7, 0, (0, 20)), (7, 11, (5, 9)), (13, 5, (3, 4)))
    ],
]


def settings(case: Case) -> Config:
    """The model of a case: the paper profile's with few channels."""
    config = compose('paper', case.use, 'golden.py')
    config.model.bbox_head.update(SMALL_HEAD)
    if 'mask_head' in config.model:
        config.merge_from_dict(dict(model=dict(mask_head=SMALL_MASKS)))
    if case.k:
        config.model.bbox_head.selection.k = case.k
    return config.model


def compute(
    case: Case, dtype: torch.dtype, model: Config, device: torch.device = torch.device('cpu')
) -> Dict[str, np.ndarray]:
    """The numbers of a case: name -> array, as they are in the file.

    Args:
        case (Case): the case.
        dtype (dtype): double or single precision.
        model (Config): its model, from :func:`settings`; a test may have changed it.
        device (device): where to compute. The file was written on a CPU.
    """
    init_default_scope('mmdet')
    random = np.random.RandomState(len(case.name) + 1000 * sum(case.counts) + case.epoch)
    head = MODELS.build(dict(model.bbox_head, test_cfg=model.test_cfg))
    masks = MODELS.build(dict(model.mask_head, test_cfg=model.test_cfg)) if 'mask_head' in model else None
    parts = nn.ModuleDict(dict(head=head, **({'masks': masks} if masks else {}))).to(dtype)
    _fill(parts, random)
    parts.to(device)
    head.set_epoch(case.epoch, 12)
    x = [
        torch.from_numpy(random.randn(2, CHANNELS, SIZE[0] // s, SIZE[1] // s).astype(np.float32)).to(device, dtype)
        for s in STRIDES
    ]
    truth = [_instances(random, count, dtype, head.num_classes, masks is not None) for count in case.counts]
    truth = [of_image.to(device) for of_image in truth]
    parts.train()
    losses = _losses(head, masks, x, truth)
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    names = sorted(losses)
    gradients = {name: parameter.grad for name, parameter in parts.named_parameters()}
    found = dict(
        losses=np.array([losses[name].item() for name in names]),
        loss_names=np.array(names),
        gradients=np.array([_projections(name, gradients[name]) for name in sorted(gradients)]),
        gradient_names=np.array(sorted(gradients)),
    )
    return {**found, **_detections(head.eval(), x, model.test_cfg)}


def _fill(module: nn.Module, random: np.random.RandomState) -> None:
    """Weights that give scores all over 0 to 1 and boxes of a few strides."""
    spread = dict(conv_cls=0.3, conv_reg=0.15, conv_centerness=0.5, controller=0.3)
    with torch.no_grad():
        for name, parameter in sorted(module.named_parameters()):
            values = np.asarray(random.randn(*parameter.shape), np.float32)
            of = name.split('.')[-2]
            if parameter.dim() > 1:
                values *= np.float32(spread.get(of, 0.2))
            elif of in ('gn', 'bn', 'norm') and name.endswith('weight'):
                values = 1 + np.float32(0.1) * values
            elif name.endswith('scale'):
                values = values * 0 + np.float32(1.1)
            else:
                values = np.float32(0.1) * values + np.float32(dict(conv_reg=3, conv_cls=-3).get(of, 0))
            parameter.copy_(torch.from_numpy(np.asarray(values, np.float32)))


def _instances(random, count: int, dtype: torch.dtype, classes: int, with_masks: bool) -> InstanceData:
    """Boxes of 6 to 150 pixels, half of them beside the one before, with the masks of ellipses."""
    height, width = SIZE
    side = np.exp(random.uniform(np.log(6), np.log(150), (count, 2)))
    corner = random.uniform(0, 1, (count, 2)) * (np.array([width, height]) - side).clip(1)
    for one in range(1, count, 2):
        corner[one] = corner[one - 1] + 5 * random.randn(2)
    boxes = np.hstack((corner, corner + side)).clip(0, (width, height, width, height)).astype(np.float32)
    found = InstanceData(
        bboxes=torch.from_numpy(boxes).to(dtype), labels=torch.from_numpy(random.randint(0, classes, count))
    )
    if with_masks:
        found.masks = ellipses(found.bboxes, SIZE)
    return found


def _losses(
    head: nn.Module, masks: Optional[nn.Module], x: List[Tensor], truth: List[InstanceData]
) -> Dict[str, Tensor]:
    losses = head.loss_by_feat(*head(x), truth, [{}] * len(truth))
    if masks is not None:
        metas = dict(img_shape=SIZE, batch_input_shape=SIZE)
        samples = [DetDataSample(gt_instances=of_image, metainfo=metas) for of_image in truth]
        losses.update(masks.loss(x, samples, positive_infos=head.get_positive_infos()))
    return losses


def _projections(name: str, gradient: Tensor) -> List[float]:
    """The norm of a gradient, and its products with two vectors of ones and minus ones."""
    flat = gradient.double().flatten().cpu().numpy()
    signs = np.random.RandomState(sum(map(ord, name)) % 2**31).randint(0, 2, (2, flat.size)) * 2 - 1
    return [float(np.linalg.norm(flat)), *(signs @ flat).tolist()]


@torch.no_grad()
def _detections(head: nn.Module, x: List[Tensor], test_cfg: Config) -> Dict[str, np.ndarray]:
    """The best 20 detections of the first image without and with NMS."""
    metas = [dict(img_shape=SIZE, scale_factor=(1.0, 1.0))]
    [candidates] = head.predict_by_feat(*head([map_[:1] for map_ in x]), batch_img_metas=metas, with_nms=False)
    found = {'candidates': np.array([len(candidates)])}
    for name, kept in postprocess.with_and_without_nms(candidates, test_cfg.nms, 20).items():
        for field in ('bboxes', 'scores', 'labels'):
            found[f'{name}.{field}'] = kept[field].cpu().numpy()
    return found


def differences(found: Dict[str, np.ndarray], expected: Dict[str, np.ndarray], precision: str) -> List[str]:
    """What of a case is not as it was written down, a line each."""
    allowed = TOLERANCES[precision]
    wrong = []
    for name in sorted({*found, *expected}):
        if name not in found or name not in expected or found[name].shape != expected[name].shape:
            wrong.append(f'{name}: another number of values')
            continue
        new, old = found[name], expected[name]
        if name.endswith('names') or name.endswith('labels') or name == 'candidates':
            equal = new == old
        elif name == 'gradients':
            norms = old[:, :1]
            equal = np.abs(new - old) <= allowed['gradients'] * norms + allowed['floor'] * norms.max()
        elif name == 'losses':
            equal = np.isclose(new, old, rtol=allowed['losses'], atol=0)
        else:
            equal = np.isclose(new, old, rtol=0, atol=allowed['boxes' if name.endswith('bboxes') else 'scores'])
        if not equal.all():
            wrong.append(f'{name}: {np.count_nonzero(~equal)} of {equal.size} differ')
    return wrong


def read() -> Dict[str, Dict[str, np.ndarray]]:
    """'<case>/<precision>' -> the numbers written down."""
    found: Dict[str, Dict[str, np.ndarray]] = {}
    with np.load(FILE) as file:
        for key in file.files:
            case, precision, name = key.split('/')
            found.setdefault(f'{case}/{precision}', {})[name] = file[key]
    return found


def write() -> None:
    """Compute every case and write the file."""
    arrays = {
        f'{case.name}/{precision}/{name}': values
        for case in CASES
        for precision in TOLERANCES
        for name, values in compute(case, getattr(torch, precision), settings(case)).items()
    }
    np.savez_compressed(FILE, **arrays)
