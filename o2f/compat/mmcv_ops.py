"""torchvision in place of mmcv's compiled operations, for installations with only ``mmcv-lite``.

``import mmdet.models`` fails with "No module named 'mmcv._ext'" if mmcv lacks its compiled part. The package index has
no wheels of that part. A dense detector needs two of its operations, and torchvision has both: ``nms`` and, on a GPU,
``sigmoid_focal_loss``. All other operations can be imported. When called, they say what is missing. If compiled mmcv is
installed, nothing here is used.
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
    """Register a replacement for ``mmcv._ext``, unless the compiled module or a replacement is already there.

    Returns:
        bool: whether this process uses the replacement.

    Raises:
        ImportError: mmcv is not installed at all. The message says what to install.
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
        iou_threshold (float): a box is dropped if its IoU with a kept box is above this.
        offset (int): 0 or 1. With 1, the width of a box is x2 - x1 + 1, the old convention.

    Returns:
        Tensor: (M,) indices of the kept boxes, best first.
    """
    if offset:
        # Adding the offset to x2 and y2 gives exactly the widths, heights and intersections of the old convention.
        boxes = boxes + boxes.new_tensor([0, 0, offset, offset])
    return tv_ops.nms(boxes, scores, iou_threshold)


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Compute the focal loss (RetinaNet, Eq. 5) of every element and write it into ``output``.

    Args:
        input (Tensor): (N, C) logits.
        target (Tensor): (N,) int64, the class, or C for background.
        weight (Tensor): (C,) weights of the classes, or empty for no weights.
        output (Tensor): (N, C), written in place.
        gamma (float): focusing exponent.
        alpha (float): weight of the positives.
    """
    output.copy_(_focal(input, target, weight, gamma, alpha))


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Write the gradient of the summed focal loss by ``input`` into ``grad_input`` (N, C).

    The arguments are those of [`sigmoid_focal_loss_forward`][]."""
    with torch.enable_grad():
        logits = input.detach().requires_grad_()
        loss = _focal(logits, target, weight, gamma, alpha).sum()
    grad_input.copy_(torch.autograd.grad(loss, logits)[0])


def _focal(logits: Tensor, target: Tensor, weight: Tensor, gamma: float, alpha: float) -> Tensor:
    one_hot = target.unsqueeze(1) == torch.arange(logits.size(1), device=logits.device)
    loss = tv_ops.sigmoid_focal_loss(logits, one_hot.to(logits.dtype), alpha=alpha, gamma=gamma, reduction='none')
    return loss * weight[target.clamp(max=logits.size(1) - 1)].unsqueeze(1) if weight.numel() else loss


class _TorchvisionOps(ModuleType):
    """The module found by ``import mmcv._ext``. When imported, ``mmcv.ops`` asks it for about a hundred names."""

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
