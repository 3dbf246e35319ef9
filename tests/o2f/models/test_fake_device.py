"""Targets and losses of a whole batch make no host wait: shown on tensors without values, on a GPU that is not there.

Under ``FakeTensorMode`` every operation gives shapes and a device, but no values. An operation whose shape or result
depends on values, such as ``nonzero`` or ``item``, raises an error there. On a GPU it would make the host wait.
"""

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeTensorMode

from experiments.spec.config import compose
from experiments.spec.table_file import load_table
from o2f.assign.centre_region import _level_table, _points
from o2f.assign.one_to_many import _range_table

#: Ours as in Table 5, with Table 1's degrees, and Hybrid-Epoch, whose targets are FCOS's at first.
VARIANTS = {
    'ours': ((), {}, 0),
    'paper': ((), {'selection.k_includes_certain': False, 'box_weight': 'uniform'}, 5),
    'constant degrees': ((), {'degrees': dict(type='ConstantDegrees', t=0.2)}, 0),
    'add': ((), {'selection.metric': 'add'}, 0),
    'crowd': (('crowdhuman',), {}, 0),
    'hybrid-epoch, one-to-many': (('hybrid-epoch',), {}, 0),
    'hybrid-epoch, one-to-one': (('hybrid-epoch',), {}, 11),
}


@pytest.fixture(autouse=True)
def no_tables_are_kept():
    """Tables of a device are kept for later batches; those made here have no values."""
    caches = _level_table, _points, _range_table
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


def losses_of(use, settings, epoch, device, dtype=torch.float32, count=30):
    """The losses of the paper's head on two images of 800 x 1344, with ``count`` instances each."""
    init_default_scope('mmdet')
    model = compose('paper', use, 'test').model
    for key, value in settings.items():
        *parents, last = key.split('.')
        part = model.bbox_head
        for name in parents:
            part = part[name]
        part[last] = value
    with torch.device(device):
        head = MODELS.build(dict(model.bbox_head, test_cfg=model.test_cfg))
        x = [torch.randn(2, 256, -(-800 // stride), -(-1344 // stride)) for stride in model.bbox_head.strides]
        truth = [InstanceData(bboxes=torch.rand(count, 4), labels=torch.zeros(count).long()) for _ in range(2)]
    head.set_epoch(epoch, 12)
    with torch.autocast(device, dtype, enabled=dtype != torch.float32):
        losses = head.loss_by_feat(*head(x), truth, [{}] * 2)
    return head, losses


@pytest.mark.parametrize('count', [0, 30])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize('variant', VARIANTS)
def test_forward_targets_and_losses_on_a_gpu(variant, dtype, count):
    """All of it stays on the GPU; losses are in single precision under autocast too."""
    with FakeTensorMode():
        _, losses = losses_of(*VARIANTS[variant], 'cuda', dtype, count)
    assert {loss.device.type for loss in losses.values()} == {'cuda'}
    assert {loss.dtype for name, loss in losses.items() if 'loss' in name} == {torch.float32}


@pytest.mark.parametrize('variant', VARIANTS)
def test_backward_needs_no_values_either(variant):
    """PyTorch's engine asks a GPU for its context, so this part runs on tensors of the CPU without values."""
    with FakeTensorMode():
        head, losses = losses_of(*VARIANTS[variant], 'cpu')
        sum(loss for name, loss in losses.items() if 'loss' in name).backward()
    assert all(parameter.grad is not None for parameter in head.parameters())


@pytest.mark.parametrize('use', [('poto',), ('poto', '3dmf', 'aux-atss')], ids='+'.join)
def test_what_does_wait_is_found(use):
    """Hungarian matching runs on the host, so POTO's targets do wait."""
    with FakeTensorMode(), pytest.raises(DynamicOutputShapeException):
        losses_of(use, {}, 0, 'cuda')


def test_the_variants_are_the_rows_of_the_paper():
    used = {cell.use for name in ('table1', 'table2', 'table3', 'table4', 'table5') for cell in load_table(name).cells}
    assert {variant[0] for variant in VARIANTS.values()} - {('crowdhuman',)} <= used
