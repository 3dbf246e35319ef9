"""Released checkpoints load: their names and shapes are written here by hand, from what the authors published."""

import copy
from typing import Dict, List, Tuple

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from o2f.io.checkpoints import convert_released

Shapes = Dict[str, Tuple[int, ...]]
COUNTER = ('num_batches_tracked', ())


def norm(name: str, channels: int, statistics: bool) -> Shapes:
    shapes = {f'{name}.weight': (channels,), f'{name}.bias': (channels,)}
    if statistics:
        shapes.update({f'{name}.running_mean': (channels,), f'{name}.running_var': (channels,)})
        shapes[f'{name}.num_batches_tracked'] = ()
    return shapes


def conv(name: str, before: int, after: int, size: int, bias: bool = True) -> Shapes:
    return {f'{name}.weight': (after, before, size, size), **({f'{name}.bias': (after,)} if bias else {})}


def resnet(blocks: List[int]) -> Shapes:
    """torchvision's ResNet with bottlenecks, without its classifier."""
    shapes = {**conv('backbone.conv1', 3, 64, 7, bias=False), **norm('backbone.bn1', 64, True)}
    before = 64
    for stage, number in enumerate(blocks):
        width = 64 * 2**stage
        for block in range(number):
            name = f'backbone.layer{stage + 1}.{block}'
            for index, (first, last, size) in enumerate(((before, width, 1), (width, width, 3), (width, 4 * width, 1))):
                shapes.update(conv(f'{name}.conv{index + 1}', first, last, size, bias=False))
                shapes.update(norm(f'{name}.bn{index + 1}', last, True))
            if block == 0:
                shapes.update(conv(f'{name}.downsample.0', before, 4 * width, 1, bias=False))
                shapes.update(norm(f'{name}.downsample.1', 4 * width, True))
            before = 4 * width
    return shapes


def fpn() -> Shapes:
    shapes = {}
    for index, channels in enumerate((512, 1024, 2048)):
        shapes.update(conv(f'neck.lateral_convs.{index}.conv', channels, 256, 1))
    for index in range(5):
        shapes.update(conv(f'neck.fpn_convs.{index}.conv', 256, 256, 3))
    return shapes


def head(centerness: str) -> Shapes:
    shapes = {f'bbox_head.scales.{level}.scale': () for level in range(5)}
    layers = [(f'{tower}.{index}', 256, 256) for tower in ('cls_convs', 'reg_convs') for index in range(4)]
    layers += [(f'centerness_convs.{index}', 256 if index == 0 else 64, 64) for index in range(3)]
    for name, before, after in layers:
        shapes.update(conv(f'bbox_head.{name}.conv', before, after, 3))
        shapes.update(norm(f'bbox_head.{name}.gn', after, False))
    for name, before, after in (('conv_cls', 256, 80), ('conv_reg', 256, 4), (centerness, 64, 1)):
        shapes.update(conv(f'bbox_head.{name}', before, after, 3))
    return shapes


def mask_branch() -> Shapes:
    """What CondInst adds; all of it is under ``bbox_head``."""
    shapes = conv('bbox_head.controller', 256, 169, 3)
    layers = [(f'refine.{level}', 0, 256) for level in range(3)] + [
        (f'mask_tower.{index}', 0, 128) for index in range(4)
    ]
    layers += [('seg_head', 0, 256), ('seg_head', 3, 128)]
    for name, index, before in layers:
        shapes.update(conv(f'bbox_head.{name}.{index}', before, 128, 3, bias=False))
        shapes.update(norm(f'bbox_head.{name}.{index + 1}', 128, True))
    shapes.update(conv('bbox_head.mask_tower.4', 128, 8, 1))
    shapes.update(conv('bbox_head.seg_out', 128, 80, 1))
    shapes['bbox_head.sizes_of_interest'] = (5,)
    return shapes


def fcos_type(blocks: List[int]) -> Shapes:
    return {**resnet(blocks), **fpn(), **head('conv_centerness')}


def condinst_type() -> Shapes:
    return {**resnet([3, 4, 6, 3]), **fpn(), **head('conv_quality'), **mask_branch()}


def filled(shapes: Shapes) -> Dict[str, Tensor]:
    """A state dict with another number in each tensor."""
    state = {
        name: torch.full(shape, index) if name.endswith(COUNTER[0]) else torch.full(shape, index + 0.5)
        for index, (name, shape) in enumerate(shapes.items())
    }
    if 'bbox_head.sizes_of_interest' in state:
        state['bbox_head.sizes_of_interest'] = torch.tensor([64.0, 128.0, 256.0, 512.0, 1024.0])
    return state


def built(settings: dict) -> nn.Module:
    init_default_scope('mmdet')
    settings = copy.deepcopy(settings)
    settings.backbone.init_cfg = None
    return MODELS.build(settings)


@pytest.fixture(scope='module')
def condinst(config) -> nn.Module:
    """The paper's CondInst: the package's config with the settings of experiments/variants/condinst.py, by hand."""
    features = dict(in_channels=256, feat_channels=128, start_level=0, end_level=2, out_channels=8, mask_stride=8)
    changes = dict(
        type='TwoReadingsCondInst',
        bbox_head=dict(type='OneToFewCondInstHead'),
        mask_head=dict(
            type='SemanticCondInstMaskHead',
            num_classes=80,
            mask_feature_head=dict(features, num_stacked_convs=4, norm_cfg=dict(type='BN')),
            loss_mask=dict(type='DiceLoss'),
        ),
    )
    settings = Config(copy.deepcopy(config.to_dict()))
    settings.merge_from_dict(dict(model=changes))
    return built(settings.model)


@pytest.mark.parametrize(('depth', 'blocks'), [(50, [3, 4, 6, 3]), (101, [3, 4, 23, 3])])
def test_fcos_type_checkpoints_load_unchanged(config, depth, blocks):
    """ResNet-50 and 101: nothing is left over on either side, and every value is where its name says."""
    settings = copy.deepcopy(config.model)
    settings.backbone.depth = depth
    model, released = built(settings), filled(fcos_type(blocks))
    model.load_state_dict(convert_released(released), strict=True)
    state = model.state_dict()
    assert state.keys() == released.keys()
    assert all(torch.equal(state[name], value) for name, value in released.items())


def test_condinst_checkpoints_load_under_their_new_names(condinst):
    """Nothing is left over on either side, and each number arrives once."""
    released = filled(condinst_type())
    condinst.load_state_dict(convert_released(released), strict=True)
    loaded = sorted(value.flatten()[0].item() for value in condinst.state_dict().values())
    del released['bbox_head.sizes_of_interest']
    assert loaded == sorted(value.flatten()[0].item() for value in released.values())


@pytest.mark.parametrize(
    ('name', 'module'),
    [
        ('controller.weight', lambda model: model.bbox_head.controller.weight),
        ('conv_quality.weight', lambda model: model.bbox_head.conv_centerness.weight),
        ('centerness_convs.2.gn.bias', lambda model: model.bbox_head.centerness_convs[2].gn.bias),
        ('refine.0.0.weight', lambda model: branch(model).convs_all_levels[0].conv0.conv.weight),
        ('refine.2.0.weight', lambda model: branch(model).convs_all_levels[2].conv2.conv.weight),
        ('refine.2.1.running_var', lambda model: branch(model).convs_all_levels[2].conv2.bn.running_var),
        ('mask_tower.0.0.weight', lambda model: branch(model).conv_branch[0].conv.weight),
        ('mask_tower.3.1.running_mean', lambda model: branch(model).conv_branch[3].bn.running_mean),
        ('mask_tower.4.weight', lambda model: branch(model).conv_pred.weight),
        ('mask_tower.4.bias', lambda model: branch(model).conv_pred.bias),
        ('seg_head.0.weight', lambda model: model.mask_head.semantic_convs[0].conv.weight),
        ('seg_head.1.weight', lambda model: model.mask_head.semantic_convs[0].bn.weight),
        ('seg_head.3.weight', lambda model: model.mask_head.semantic_convs[1].conv.weight),
        ('seg_head.4.num_batches_tracked', lambda model: model.mask_head.semantic_convs[1].bn.num_batches_tracked),
        ('seg_out.bias', lambda model: model.mask_head.semantic_pred.bias),
    ],
)
def test_where_condinst_weights_land(condinst, name, module):
    """The value of a released name is in the module that does what it did there."""
    released = filled(condinst_type())
    condinst.load_state_dict(convert_released(released), strict=True)
    assert torch.equal(module(condinst), released[f'bbox_head.{name}'])


def branch(model: nn.Module) -> nn.Module:
    return model.mask_head.mask_feature_head


def test_the_given_state_dict_stays():
    released = filled(condinst_type())
    before = dict(released)
    converted = convert_released(released)
    assert released.keys() == before.keys() and all(released[name] is before[name] for name in before)
    assert convert_released(converted) == converted  # what is converted already passes through


def test_other_sizes_of_interest_are_refused():
    released = filled(condinst_type())
    released['bbox_head.sizes_of_interest'][4] = 2048
    with pytest.raises(ValueError, match='sizes_of_interest is .*2048.* not 8 strides'):
        convert_released(released)
