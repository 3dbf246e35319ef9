"""torchvision in the place of mmcv's compiled operations, where only ``mmcv-lite`` is installed.

``import mmdet.models`` fails with "No module named 'mmcv._ext'" when mmcv was installed without its compiled part, and
that part has no wheels on the package index. Of its operations a dense detector needs two, and torchvision has both:
``nms``, and (on a GPU) ``sigmoid_focal_loss``. Any other operation can be imported but says, when it is called, what is
missing. Where compiled mmcv is installed nothing here is used.
"""

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import torch
from torch import Tensor
from torchvision import ops as tv_ops

_EXT = 'mmcv._ext'


def provide_mmcv_ops() -> bool:
    """Register the stand-in for ``mmcv._ext`` unless the compiled one (or a stand-in) is already there.

    Returns:
        bool: whether the stand-in answers for mmcv's operations in this process.

    Raises:
        ImportError: mmcv is not installed at all; the message says what to install.
    """
    if _EXT in sys.modules:
        return isinstance(sys.modules[_EXT], _TorchvisionOps)
    if importlib.util.find_spec('mmcv') is None:
        raise ImportError('mmcv is not installed: pip install "mmcv-lite==2.1.0" (or a compiled mmcv below 2.2)')
    if importlib.util.find_spec(_EXT) is not None:
        return False
    sys.modules[_EXT] = _TorchvisionOps(_EXT)
    return True


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int = 0) -> Tensor:
    """Greedy non-maximum suppression with the signature of ``mmcv._ext.nms``.

    Args:
        boxes (Tensor): (N, 4), x1 y1 x2 y2 in pixels.
        scores (Tensor): (N,).
        iou_threshold (float): a box is dropped when its IoU with a kept one is above this.
        offset (int): 0 or 1; with 1 a box is x2 - x1 + 1 wide, the old convention.

    Returns:
        Tensor: (M,) indices of the kept boxes, best first.
    """
    if offset:
        # Pushing x2 and y2 out by the offset gives widths, heights and intersections of the old convention exactly.
        boxes = boxes + boxes.new_tensor([0, 0, offset, offset])
    return tv_ops.nms(boxes, scores, iou_threshold)


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Write the focal loss (RetinaNet, Eq. 5) of every element into ``output``.

    Args:
        input (Tensor): (N, C) logits.
        target (Tensor): (N,) long, the class, or C for background.
        weight (Tensor): (C,) weights of the classes, or empty for none.
        output (Tensor): (N, C), written in place.
        gamma (float): focusing exponent.
        alpha (float): weight of the positives.
    """
    output.copy_(_focal(input, target, weight, gamma, alpha))


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Write d(sum of :func:`sigmoid_focal_loss_forward`) / d ``input`` into ``grad_input`` (N, C)."""
    with torch.enable_grad():
        logits = input.detach().requires_grad_()
        loss = _focal(logits, target, weight, gamma, alpha).sum()
    grad_input.copy_(torch.autograd.grad(loss, logits)[0])


def _focal(logits: Tensor, target: Tensor, weight: Tensor, gamma: float, alpha: float) -> Tensor:
    one_hot = target.unsqueeze(1) == torch.arange(logits.size(1), device=logits.device)
    loss = tv_ops.sigmoid_focal_loss(logits, one_hot.to(logits.dtype), alpha=alpha, gamma=gamma, reduction='none')
    return loss * weight[target.clamp(max=logits.size(1) - 1)].unsqueeze(1) if weight.numel() else loss


class _TorchvisionOps(ModuleType):
    """The module that ``import mmcv._ext`` finds; ``mmcv.ops`` asks it for about a hundred names when imported."""

    def __init__(self, name: str) -> None:
        super().__init__(name, __doc__)
        self.__spec__ = ModuleSpec(name, loader=None)  # mmengine looks the module up with pkgutil
        self.nms = nms
        self.sigmoid_focal_loss_forward = sigmoid_focal_loss_forward
        self.sigmoid_focal_loss_backward = sigmoid_focal_loss_backward

    def __getattr__(self, op: str):
        if op.startswith('__'):
            raise AttributeError(op)

        def missing(*args, **kwargs):
            raise NotImplementedError(
                f'mmcv operation {op!r} needs mmcv with compiled operations, and only mmcv-lite is installed; '
                'torchvision stands in for nms and sigmoid_focal_loss alone. Build mmcv below 2.2 from source '
                '(https://mmcv.readthedocs.io/en/latest/get_started/build.html) and it is used instead.'
            )

        return missing
