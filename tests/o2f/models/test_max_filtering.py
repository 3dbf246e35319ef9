"""DeFCN's 3D max filtering against a three-dimensional max pooling over stacked levels."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, group_norm, interpolate

from o2f.models.max_filtering import MaxFiltering3D

SIZES = dict(
    powers_of_two=((16, 16), (8, 8), (4, 4), (2, 2), (1, 1)),
    odd=((25, 13), (13, 7), (7, 4), (4, 2), (2, 1)),
    desk=((12, 12), (6, 6), (3, 3)),
    two=((5, 9), (3, 5)),
    single=((7, 5),),
    equal=((4, 4), (4, 4), (4, 4)),
)


def make(seed: int = 0, **settings) -> MaxFiltering3D:
    """Eight channels in two groups, and weights that are large enough to matter."""
    torch.manual_seed(seed)
    module = MaxFiltering3D(8, 2, **settings).double()
    for parameter in module.parameters():
        nn.init.normal_(parameter, 0.1, 0.5)
    return module


def random_maps(sizes, batch: int = 2) -> list:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(batch, 8, *size, generator=generator).double().requires_grad_() for size in sizes]


def slow(module: MaxFiltering3D, maps: list, kernel: int = 3, levels: int = 3) -> list:
    """Level by level: all levels resized to it and stacked; MaxPool3d's window leaves out those beyond reach."""
    convolved = [conv2d(map_, module.conv.weight, module.conv.bias, padding=1) for map_ in maps]
    pool = nn.MaxPool3d((levels, kernel, kernel), stride=1, padding=(levels // 2, kernel // 2, kernel // 2))
    filters = []
    for level, map_ in enumerate(maps):
        resized = [interpolate(other, size=map_.shape[2:], mode='bilinear', align_corners=False) for other in convolved]
        resized[level] = convolved[level]
        maxima = pool(torch.stack(resized, dim=2))[:, :, level]
        activated = torch.relu(group_norm(maxima + map_, 2, module.norm.weight, module.norm.bias))
        filters.append(conv2d(activated, module.conv_filter.weight, module.conv_filter.bias, padding=1))
    return filters


@pytest.mark.parametrize(('kernel', 'levels'), [(3, 3), (5, 3), (3, 1), (1, 5), (3, 5)])
@pytest.mark.parametrize('sizes', SIZES.values(), ids=SIZES)
def test_equals_max_pooling_over_stacked_levels(sizes, kernel, levels):
    """Values and gradients, by its inputs and by its parameters, on levels of all kinds of sizes."""
    module = make(kernel_size=kernel, levels=levels)
    maps, others = random_maps(sizes), random_maps(sizes)
    found, expected = module(maps), slow(module, others, kernel, levels)
    assert [map_.shape for map_ in found] == [(2, 1, *size) for size in sizes]
    for map_, other in zip(found, expected):
        torch.testing.assert_close(map_, other)
    # Squares, so that no gradient cancels.
    gradients = torch.autograd.grad(sum(map_.square().sum() for map_ in found), [*maps, *module.parameters()])
    slowly = torch.autograd.grad(sum(map_.square().sum() for map_ in expected), [*others, *module.parameters()])
    for gradient, other in zip(gradients, slowly):
        torch.testing.assert_close(gradient, other)


@pytest.mark.parametrize('sizes', SIZES.values(), ids=SIZES)
def test_gradients_reach_every_parameter(sizes):
    """Of both convolutions and the norm, and every input map."""
    module, maps = make(), random_maps(sizes)
    sum(map_.square().sum() for map_ in module(maps)).backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.any(), name
    assert all(map_.grad.any() for map_ in maps)


def test_the_window_is_three_levels():
    """A level sees its neighbours, and no further."""
    module, maps = make(), random_maps(((16, 16), (13, 13), (9, 9), (6, 6)))
    for level, other in itertools.product(range(4), repeat=2):
        (gradient,) = torch.autograd.grad(module(maps)[level].square().sum(), maps[other], allow_unused=True)
        assert (gradient is not None and bool(gradient.any())) is (abs(level - other) <= 1)


def test_the_window_is_three_points():
    """What one input point can change: 3 x 3 by the first convolution, 5 x 5 by the maximum, and by the last
    convolution 7 x 7, once the norm's statistics are held fixed."""
    module = make(levels=1)
    module.norm = nn.Identity()
    map_ = torch.randn(1, 8, 15, 15, generator=torch.Generator().manual_seed(0)).double()
    changed = map_.clone()
    changed[:, :, 7, 7] += 100.0
    difference = (module([map_])[0] != module([changed])[0])[0, 0].nonzero()
    assert difference.min(dim=0).values.tolist() == [4, 4] and difference.max(dim=0).values.tolist() == [10, 10]


def test_initial_weights():
    """Normal with deviation 0.01 and no bias, as in DeFCN; the norm is the identity's."""
    torch.manual_seed(0)
    module = MaxFiltering3D(64)
    module.init_weights()
    for convolution in (module.conv, module.conv_filter):
        assert convolution.weight.std().item() == pytest.approx(0.01, rel=0.1) and not convolution.bias.any()
    assert (module.norm.weight == 1).all() and not module.norm.bias.any() and module.norm.num_groups == 32


@pytest.mark.parametrize('settings', [dict(levels=2), dict(kernel_size=4), dict(levels=0), dict(kernel_size=2.5)])
def test_bad_arguments_are_named(settings):
    with pytest.raises(ValueError, match='max_filtering: kernel_size and levels must be odd'):
        MaxFiltering3D(32, **settings)
