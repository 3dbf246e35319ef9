"""What a GPU must show: ``python -m pytest -m gpu``. What can be tried on a CPU is tried there with the same code."""

import pytest
import torch
from golden import CASES, Case, compute, differences, read, settings
from mmdet.registry import MODELS
from tiny_condinst import make_condinst, make_masked_images
from tiny_detectors import collate, head_config, make_detector, make_images, train

from benchmarks.problem import problem
from o2f.assign.degrees import LinearDegrees
from o2f.assign.selection import OneToFewSelection
from o2f.models.loss import OneToFewLoss

#: Largest relative difference of a loss from single precision. float16 has 11 bits, bfloat16 has 8; targets may differ.
MIXED = {torch.float16: 0.05, torch.bfloat16: 0.15}
#: Single precision on a GPU: convolutions sum in other orders than the CPU of the file.
ON_GPU = dict(losses=1e-4, gradients=1e-2, floor=1e-4, scores=1e-4, boxes=1e-2)


def targets_and_loss(given):
    """Sections 3.2 to 3.4 as the head calls them, and the gradient."""
    given = given.with_gradients()
    selected = OneToFewSelection()(*given.arguments)
    number = selected.kept.sum().float().clamp(min=1)
    targets = given.instances.labels, selected, LinearDegrees()(selected), number
    loss = OneToFewLoss()(given.cls_logits, given.centerness_logits, *targets)
    loss.backward()
    return selected, loss.detach(), given.cls_logits.grad, given.centerness_logits.grad


@pytest.mark.gpu
def test_nothing_is_copied_to_the_host(gpu):
    """The profiler sees no copy from the device, and CUDA reports no synchronisation. The first call copies the grid's
    tables to the device once."""
    given = problem(100, images=16).to('cuda')
    targets_and_loss(given)
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]

    def copies(function):
        with torch.profiler.profile(activities=activities) as profile:
            torch.cuda.set_sync_debug_mode('error')
            try:
                function()
            finally:
                torch.cuda.set_sync_debug_mode('default')
            torch.cuda.synchronize()
        return [event.name for event in profile.events() if 'DtoH' in event.name]

    assert copies(lambda: targets_and_loss(given)) == []
    with torch.profiler.profile(activities=activities) as profile:
        given.boxes.cpu()
        torch.cuda.synchronize()
    assert [event.name for event in profile.events() if 'DtoH' in event.name]  # the profiler would see one


@pytest.mark.gpu
@pytest.mark.parametrize('count', [7, 300])
def test_targets_and_loss_are_those_of_the_cpu(gpu, count):
    on_cpu = problem(count, images=2, size=(400, 667))
    expected, found = targets_and_loss(on_cpu), targets_and_loss(on_cpu.to('cuda'))
    assert torch.equal(found[0].anchor.cpu()[expected[0].kept], expected[0].anchor[expected[0].kept])
    assert torch.equal(found[0].certain.cpu(), expected[0].certain)
    for ours, cpus in zip(found[1:], expected[1:]):
        torch.testing.assert_close(ours.cpu(), cpus, rtol=1e-4, atol=1e-5 * cpus.abs().max().item())


@pytest.mark.gpu
@pytest.mark.parametrize('precision', ['float64', 'float32'])
@pytest.mark.parametrize('case', CASES, ids=lambda case: case.name)
def test_every_head_computes_what_is_written_down(gpu, case, precision, monkeypatch):
    """Losses, gradients and detections of the golden file, which a CPU wrote; exactly in double precision."""
    monkeypatch.setattr('torch.backends.cudnn.allow_tf32', False)
    found = compute(case, getattr(torch, precision), settings(case), gpu)
    if precision == 'float32':
        monkeypatch.setitem(differences.__globals__['TOLERANCES'], 'float32', ON_GPU)
    assert differences(found, read()[f'{case.name}/{precision}'], precision) == []


def test_a_case_can_be_computed_on_another_device():
    """The way of the test above, on the device that is always there."""
    case = Case(('condinst',), 7, 11, (5, 9))
    found = compute(case, torch.float64, settings(case), torch.device('cpu'))
    assert differences(found, read()[f'{case.name}/float64'], 'float64') == []


def step(kind: str, device: str, dtype=torch.float32):
    """The losses of a training step under autocast, and whether all gradients are finite after it."""
    make = make_condinst if kind == 'condinst' else make_detector
    arguments = dict(head='one_to_few') if kind == 'condinst' else dict(head=HEADS[kind])
    model = make(**arguments).train().to(device)
    images = make_masked_images(2) if kind == 'condinst' else make_images(2)
    scaler = torch.amp.GradScaler(device, init_scale=256.0, enabled=dtype == torch.float16)
    with torch.autocast(device, dtype, enabled=dtype != torch.float32):
        losses = model(**model.data_preprocessor(collate(images), training=True), mode='loss')
    scaler.scale(sum(loss for name, loss in losses.items() if 'loss' in name)).backward()
    gradients = [parameter.grad / scaler.get_scale() for parameter in model.parameters() if parameter.grad is not None]
    finite = all(gradient.isfinite().all() for gradient in gradients)
    return {name: loss.item() for name, loss in losses.items() if 'loss' in name}, finite


POTO = dict(score_factor='none', selection=dict(type='HungarianSelection'), box_weight='uniform')
HEADS = {
    'o2f': head_config(),
    'poto': head_config(**POTO),
    '3dmf+aux': head_config(
        **{**POTO, 'score_factor': '3dmf', 'auxiliary': dict(type='QualityATSSSelection', topk=9, alpha=0.8)}
    ),
}


def check_mixed(kind, device, dtype):
    (expected, _), (found, finite) = step(kind, device), step(kind, device, dtype)
    assert finite and found.keys() == expected.keys()
    for name, loss in expected.items():
        assert found[name] == pytest.approx(loss, rel=MIXED[dtype], abs=1e-3), name


@pytest.mark.gpu
@pytest.mark.parametrize('dtype', MIXED, ids=str)
@pytest.mark.parametrize('kind', [*HEADS, 'condinst'])
def test_a_step_in_mixed_precision_on_a_gpu(gpu, kind, dtype):
    check_mixed(kind, 'cuda', dtype)


@pytest.mark.parametrize('kind', ['o2f', '3dmf+aux'])
def test_a_step_in_mixed_precision_on_a_cpu(kind):
    check_mixed(kind, 'cpu', torch.bfloat16)


ONE_PROCESS = """
import sys
sys.path.insert(0, {here!r})
import conftest
import torch
from mmdet.utils import reduce_mean
from mmengine.model import MMDistributedDataParallel
from torch import distributed
from tiny_detectors import collate, make_detector, make_images
distributed.init_process_group({backend!r}, init_method='file://{store}', rank=0, world_size=1)
model = make_detector().train().to({device!r})
spread = MMDistributedDataParallel(model, device_ids=[0] if {device!r} == 'cuda' else None)
losses = spread(**model.data_preprocessor(collate(make_images(2)), training=True), mode='loss')
sum(loss for name, loss in losses.items() if 'loss' in name).backward()
assert all(parameter.grad.isfinite().all() for parameter in model.parameters() if parameter.requires_grad)
assert reduce_mean(torch.tensor(3.0, device={device!r})) == 3
print(distributed.get_backend(), losses['loss_cls'].device.type)
distributed.destroy_process_group()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    'backend, device', [('gloo', 'cpu'), pytest.param('nccl', 'cuda', marks=pytest.mark.gpu)], ids=['gloo', 'nccl']
)
def test_a_step_of_one_process_of_a_group(backend, device, run_python, tmp_path, request):
    if device == 'cuda':
        request.getfixturevalue('gpu')
    here = str(request.path.parent)
    said = run_python(ONE_PROCESS.format(here=here, backend=backend, device=device, store=tmp_path / 'store'))
    assert said.split()[-2:] == [backend, device]


@pytest.mark.gpu
def test_a_resumed_run_ends_as_the_whole_one(gpu, tmp_path):
    """On the GPU, where sums may differ in the last bits from run to run."""
    whole = train(tmp_path / 'whole')[1]
    train(tmp_path / 'parts', stop_before=2)
    seen, resumed = train(tmp_path / 'parts', resume=True)
    assert {epoch for epoch, _ in seen} == {2} and {value.device.type for value in whole.values()} == {'cuda'}
    for name, value in whole.items():
        torch.testing.assert_close(resumed[name], value, rtol=1e-3, atol=1e-5)


def test_every_kind_of_head_is_here():
    assert {'o2f', 'poto', '3dmf+aux'} == set(HEADS) and all(MODELS.build(config) for config in HEADS.values())
