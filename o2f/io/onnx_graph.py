"""A detector as one function of tensors, from pixels to a fixed number of boxes, for export.

[`OneToFewHead`][] decodes image by image, and the number of its results varies. Here, decoding is one computation over
the batch, and sizes do not depend on the content of the images. There is no NMS.
"""

from typing import NamedTuple, Tuple, Union

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from o2f.errors import InputError
from o2f.models.head import OneToFewHead
from o2f.models.postprocess import candidates_of_level, settings_of


class ExportedCandidates(NamedTuple):
    """The best candidates of each image, best first. Missing candidates have score 0.

    Attributes:
        boxes (Tensor): (B, k, 4), x1 y1 x2 y2 in pixels.
        scores (Tensor): (B, k).
        labels (Tensor): (B, k) int64.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor


class EndToEnd(nn.Module):
    """A detector as a module from images to detections.

    Args:
        model (BaseModel): a detector with a [`OneToFewHead`][]. Its ``test_cfg`` says how to decode.

    Raises:
        InputError: the detector has another head, draws masks, or has a setting that the graph cannot have.
    """

    mean: Tensor
    std: Tensor
    score_thr: Tensor
    #: Heads that can be decoded here. Their maps are class logits, distances in pixels and factor logits.
    heads = (OneToFewHead,)

    def __init__(self, model: BaseModel) -> None:
        super().__init__()
        head = getattr(model, 'bbox_head', None)
        if not isinstance(head, self.heads) or hasattr(model, 'mask_head'):
            masks = ' with masks' if hasattr(model, 'mask_head') else ''
            kind = f'{type(model).__name__} with {type(head).__name__}{masks}'
            raise InputError(f'{kind} cannot be exported: it must be a detector of boxes with a OneToFewHead')
        self.model = model
        self.settings = settings = model.test_cfg
        _, self.number = settings_of(settings, with_nms=False)
        if settings.get('min_bbox_size', -1) > 0:
            raise InputError(
                f'test_cfg.min_bbox_size is {settings.min_bbox_size}, in pixels of the image before it is resized, '
                'which the graph does not see: set it to 0'
            )
        preprocessor = model.data_preprocessor
        self.divisor = preprocessor.pad_size_divisor
        self.to_rgb = preprocessor._channel_conversion
        if not preprocessor._enable_normalize:
            raise InputError('a detector without mean and std in its data_preprocessor cannot be exported')
        self.register_buffer('mean', preprocessor.mean.clone())
        self.register_buffer('std', preprocessor.std.clone())
        # A tensor, so that it has this name in the file, and the file can be checked with another value.
        self.register_buffer('score_thr', torch.tensor(float(settings.get('score_thr', 0))))
        self.pad_value = float(preprocessor.pad_value)

    def forward(self, images: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
        """Detect on a batch.

        Args:
            images (Tensor): (B, 3, H, W) uint8, channels blue, green, red, already resized for the detector.

        Returns:
            tuple[Tensor, Tensor, Tensor]: the K = ``max_per_img`` best detections of each image, best first: boxes
                (B, K, 4) as x1 y1 x2 y2 in pixels of ``images``, scores (B, K) and labels (B, K) int64. If an image has
                fewer, the rest has boxes and scores of 0 and label -1.
        """
        head = self.model.bbox_head
        outputs = head(self.model.extract_feat(self.preprocess(images)))
        size = images.shape[2], images.shape[3]
        levels = [
            self.candidates(cls, distances, factor, stride, size)
            for cls, distances, factor, stride in zip(*outputs, head.strides)
        ]
        return self.best(ExportedCandidates(*(torch.cat(parts, dim=1) for parts in zip(*levels))))

    def preprocess(self, images: Tensor) -> Tensor:
        """Normalise the images, then pad them on the right and at the bottom to whole strides.

        MMDetection's ``DetDataPreprocessor`` does the same."""
        pixels = images.float()
        pixels = ((pixels.flip(1) if self.to_rgb else pixels) - self.mean) / self.std
        below, right = (-size % self.divisor for size in pixels.shape[2:])
        return nn.functional.pad(pixels, (0, right, 0, below), value=self.pad_value)

    def candidates(
        self, cls_logits: Tensor, distances: Tensor, factor_logits: Tensor, stride: int, size: Tuple[int, int]
    ) -> ExportedCandidates:
        """Take the ``nms_pre`` best scores of a level, or all, as [`OneToFewHead`][] does.

        Args:
            cls_logits (Tensor): (B, C, h, w) classification logits.
            distances (Tensor): (B, 4, h, w) distances in pixels.
            factor_logits (Tensor): (B, 1, h, w) logits of the score factor.
            stride (int): pixels between points.
            size (tuple[int, int]): height and width of the images.

        Returns:
            Candidates: the candidates of the level.
        """
        scores = (cls_logits.float().sigmoid() * factor_logits.float().sigmoid()).permute(0, 2, 3, 1).flatten(1)
        scores, place = self.top(scores, self.score_thr, candidates_of_level(self.settings, scores.shape[1]))
        anchor = place // cls_logits.shape[1]
        points = points_of(cls_logits, stride)[anchor]
        reach = distances.flatten(2).transpose(1, 2).gather(1, anchor.unsqueeze(-1).expand(-1, -1, 4))
        boxes = torch.cat((points - reach[..., :2], points + reach[..., 2:]), dim=-1)
        return ExportedCandidates(clip(boxes, size), scores, place % cls_logits.shape[1])

    def best(self, found: ExportedCandidates) -> Tuple[Tensor, Tensor, Tensor]:
        """Take the ``max_per_img`` best candidates of each image."""
        if self.settings.get('min_bbox_size', -1) >= 0:
            sides = found.boxes[..., 2:] - found.boxes[..., :2]
            found = found._replace(scores=found.scores * (sides > 0).all(dim=-1))
        scores, place = self.top(found.scores, 0.0, self.number)
        there = scores > 0
        boxes = found.boxes.gather(1, place.unsqueeze(-1).expand(-1, -1, 4)) * there.unsqueeze(-1)
        return boxes, scores, torch.where(there, found.labels.gather(1, place), -1)

    @staticmethod
    def top(scores: Tensor, above: Union[float, Tensor], number: int) -> Tuple[Tensor, Tensor]:
        """Find the ``number`` best of (B, n) scores, and their indices.

        Scores that are not above ``above`` count as 0. If n is smaller than ``number``, zeros fill up the rest. The
        index of a score of 0 is 0."""
        scores = torch.where(scores > above, scores, 0.0)
        scores, place = torch.cat((scores, scores.new_zeros(scores.shape[0], number)), dim=1).topk(number, dim=1)
        return scores, torch.where(scores > 0, place, 0)


def points_of(map_: Tensor, stride: int) -> Tensor:
    """x and y in pixels of the points of a (B, C, h, w) map, row after row: (h x w, 2)."""
    height, width = map_.shape[2:]
    x = ((torch.arange(width, device=map_.device) + 0.5) * stride).expand(height, width)
    y = ((torch.arange(height, device=map_.device) + 0.5) * stride).unsqueeze(1).expand(height, width)
    return torch.stack((x, y), dim=-1).flatten(0, 1)


def clip(boxes: Tensor, size: Tuple[int, int]) -> Tensor:
    """Clip (..., 4) boxes to images of the given height and width."""
    height, width = size
    x, y = boxes[..., 0::2].clamp(0, width), boxes[..., 1::2].clamp(0, height)
    return torch.stack((x, y), dim=-1).flatten(-2)
