"""torchvision's operations behind mmcv's names give what mmcv's would, and only where mmcv has none of its own."""

import sys

import numpy as np
import pytest
import torch
from mmcv.ops import nms as mmcv_nms
from mmcv.ops import sigmoid_focal_loss

from o2f.compat import mmcv_ops

stand_in_only = pytest.mark.skipif(not mmcv_ops.provide_mmcv_ops(), reason='mmcv has compiled operations here')


def slow_nms(boxes, scores, threshold, offset) -> list:
    """Indices kept, best first, by comparing every pair."""
    kept = []
    for i in sorted(range(len(boxes)), key=lambda index: -scores[index]):
        if all(slow_iou(boxes[i], boxes[j], offset) <= threshold for j in kept):
            kept.append(i)
    return kept


def slow_iou(a, b, offset) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0]) + offset
    height = min(a[3], b[3]) - max(a[1], b[1]) + offset
    overlap = max(width, 0) * max(height, 0)
    areas = ((box[2] - box[0] + offset) * (box[3] - box[1] + offset) for box in (a, b))
    return overlap / (sum(areas) - overlap)


def random_boxes(seed, number=150):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 60, (number, 2))
    boxes = np.hstack((corner, corner + rng.uniform(0.5, 30, (number, 2)))).astype(np.float32)
    boxes[number // 2 :] = boxes[: number // 2] + rng.normal(0, 0.1, (number // 2, 4))  # half of them nearly twice
    return boxes, rng.permutation(number).astype(np.float32) / number


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('threshold', [0.0, 0.3, 0.6, 0.9])
@pytest.mark.parametrize('seed', range(3))
def test_nms_equals_every_pair(seed, threshold, offset):
    """Same boxes in the same order, also through mmcv's own function; offset 1 counts pixels inclusively."""
    boxes, scores = random_boxes(seed)
    expected = slow_nms(boxes.tolist(), scores.tolist(), threshold, offset)
    assert 1 < len(expected) < len(boxes)
    arguments = torch.tensor(boxes), torch.tensor(scores)
    assert mmcv_ops.nms(*arguments, iou_threshold=threshold, offset=offset).tolist() == expected
    detections, kept = mmcv_nms(*arguments, iou_threshold=threshold, offset=offset)
    assert kept.tolist() == expected
    assert torch.equal(detections, torch.hstack((arguments[0][kept], arguments[1][kept, None])))


def test_nms_offset_matters():
    """Boxes that touch overlap by a pixel under offset 1, so the offset cannot be lost on the way."""
    boxes, scores = torch.tensor([[0.0, 0.0, 9.0, 9.0], [5.0, 0.0, 14.0, 9.0]]), torch.tensor([0.9, 0.8])
    assert mmcv_ops.nms(boxes, scores, 0.3, offset=0).tolist() == [0, 1]  # 36 / 126
    assert mmcv_ops.nms(boxes, scores, 0.3, offset=1).tolist() == [0]  # 50 / 150


def test_equal_scores_keep_one_of_equal_boxes():
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0]] * 3 + [[50.0, 50.0, 60.0, 60.0]] * 2)
    kept = mmcv_ops.nms(boxes, torch.full((5,), 0.5), 0.5).tolist()
    assert len(kept) == 2 and {index // 3 for index in kept} == {0, 1}


def test_nms_of_nothing():
    assert mmcv_ops.nms(torch.zeros(0, 4), torch.zeros(0), 0.5).tolist() == []


# --- focal loss ---------------------------------------------------------------------------------------------


def focal_problem(background: bool, seed=0):
    """Logits (N, C) and targets; C means background."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(40, 5, generator=generator, dtype=torch.float64) * 3
    return logits, torch.randint(0, 6 if background else 5, (40,), generator=generator)


def slow_focal(logits, target, gamma, alpha, weight=None):
    """RetinaNet's loss of every element, from probabilities."""
    p, loss = logits.sigmoid(), torch.zeros_like(logits)
    for n in range(len(logits)):
        for c in range(logits.shape[1]):
            if target[n] == c:
                value = -alpha * (1 - p[n, c]) ** gamma * p[n, c].log()
            else:
                value = -(1 - alpha) * p[n, c] ** gamma * (1 - p[n, c]).log()
            loss[n, c] = value if weight is None else value * weight[target[n]]
    return loss


@pytest.mark.parametrize(('gamma', 'alpha'), [(2.0, 0.25), (1.5, 0.6), (0.0, 0.5)])
@pytest.mark.parametrize('kind', ['background', 'class weights'])
def test_focal_loss(kind, gamma, alpha):
    """Value and gradient through mmcv's autograd function equal RetinaNet's formula in double precision."""
    logits, target = focal_problem(background=kind == 'background')
    weight = None if kind == 'background' else torch.tensor([0.5, 1, 2, 3, 0.1], dtype=torch.float64)
    expected = slow_focal(logits.requires_grad_(), target, gamma, alpha, weight)
    upstream = torch.rand(expected.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (expected_grad,) = torch.autograd.grad((expected * upstream).sum(), logits)
    output, grad = torch.empty_like(expected), torch.empty_like(expected)
    arguments = target, logits.new_empty(0) if weight is None else weight
    mmcv_ops.sigmoid_focal_loss_forward(logits.detach(), *arguments, output, gamma=gamma, alpha=alpha)
    mmcv_ops.sigmoid_focal_loss_backward(logits.detach(), *arguments, grad, gamma=gamma, alpha=alpha)
    torch.testing.assert_close(output, expected.detach(), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(grad * upstream, expected_grad, rtol=1e-10, atol=1e-14)


@stand_in_only
@pytest.mark.parametrize('reduction', ['none', 'mean', 'sum'])
def test_focal_loss_through_mmcv(reduction):
    """mmcv's own function, which MMDetection's FocalLoss calls on a GPU, reduces and differentiates as it should."""
    logits, target = focal_problem(background=True)
    expected = slow_focal(logits.requires_grad_(), target, 2.0, 0.25)
    expected = expected if reduction == 'none' else expected.sum() / (len(logits) if reduction == 'mean' else 1)
    loss = sigmoid_focal_loss(logits, target, 2.0, 0.25, None, reduction)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-14)
    grads = [torch.autograd.grad(each.sum(), logits)[0] for each in (loss, expected)]
    torch.testing.assert_close(*grads, rtol=1e-10, atol=1e-14)


# --- when the stand-in answers ------------------------------------------------------------------------------


@stand_in_only
@pytest.mark.parametrize('op', ['roi_align_forward', 'deform_conv_forward', 'softnms'])
def test_other_operations_say_what_is_missing(op):
    """They can be imported, and calling one names it and what to install."""
    with pytest.raises(NotImplementedError, match=f"'{op}' needs mmcv with compiled operations"):
        getattr(sys.modules['mmcv._ext'], op)(torch.zeros(1))


@stand_in_only
def test_dunder_names_do_not_exist():
    """Python's own protocols ask modules for such names and must not get a function."""
    for name in ('__path__', '__wrapped__', '__all__'):
        assert not hasattr(sys.modules['mmcv._ext'], name)


@stand_in_only
def test_providing_twice_changes_nothing():
    before = sys.modules['mmcv._ext']
    assert mmcv_ops.provide_mmcv_ops() and sys.modules['mmcv._ext'] is before


TRAIN_FCOS = """
import sys, torch
import o2f
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
init_default_scope('mmdet')
torch.set_num_threads(1)
head = MODELS.build(dict(type='FCOSHead', num_classes=3, in_channels=8, feat_channels=8, stacked_convs=1,
                         strides=[8, 16], regress_ranges=((-1, 64), (64, 1e8)), norm_cfg=dict(type='GN', num_groups=2)))
truth = [InstanceData(bboxes=torch.tensor([[4., 4., 50., 60.]]), labels=torch.tensor([1]))]
optimizer = torch.optim.SGD(head.parameters(), lr=0.01)
def step():
    losses = head.loss_by_feat(*head([torch.ones(1, 8, 8, 8), torch.ones(1, 8, 4, 4)]), truth, [{}])
    optimizer.zero_grad()
    sum(losses.values()).backward()
    optimizer.step()
    return sum(losses.values()).item()
losses = [step() for _ in range(3)]
assert losses[0] > losses[1] > losses[2], losses
print(type(sys.modules['mmcv._ext']).__name__, vars(sys.modules['mmcv._ext']).get('MARK'))
"""


@pytest.mark.slow
@stand_in_only
def test_a_fresh_process_trains_fcos(run_python):
    """``import o2f`` is all it takes for MMDetection's own head to train on mmcv-lite."""
    assert run_python(TRAIN_FCOS).split()[-2:] == ['_TorchvisionOps', 'None']


def test_compiled_operations_are_not_replaced(run_python, tmp_path):
    """Where ``mmcv._ext`` can be found, it is used: here one that lies in a folder added to mmcv's path."""
    (tmp_path / 'parts').mkdir()
    (tmp_path / 'parts' / '_ext.py').write_text(
        'MARK = "compiled"\ndef __getattr__(name):\n    return lambda *a: None\n'
    )
    code = f'import mmcv; mmcv.__path__.insert(0, {str(tmp_path / "parts")!r})\n' + TRAIN_FCOS
    code += '\nfrom o2f.compat.mmcv_ops import provide_mmcv_ops\nassert provide_mmcv_ops() is False\n'
    assert run_python(code).split()[-2:] == ['module', 'compiled']


def test_without_mmcv_the_message_says_what_to_install(run_python):
    """A missing mmcv is an ImportError with the command that helps, not a puzzle."""
    code = """
import sys
sys.modules['mmcv'] = None  # as Python has it for a package that cannot be imported
try:
    import o2f
except ImportError as error:
    print(error)
"""
    assert 'pip install "mmcv-lite' in run_python(code)
