"""Dense detectors that detect without and with NMS from one forward pass, as the paper's tables report both."""

import torch
from mmdet.models.detectors import FCOS, CondInst
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmengine.structures import InstanceData
from torch import Tensor, nn

from o2f.models import postprocess


@MODELS.register_module()
class TwoReadingsFCOS(FCOS):
    """MMDetection's FCOS, except that ``predict`` detects both without and with NMS.

    ``pred_instances`` of a data sample holds the end-to-end detections: the best ``test_cfg.max_per_img`` candidates,
    without NMS. ``pred_instances_nms`` holds the best of the candidates that ``test_cfg.nms`` keeps, at most as many.
    ``bbox_head`` can be any dense head of MMDetection.

    Attributes:
        detects_with_second (bool): also detect with the head's second branch. ``pred_instances_second`` then holds its
            detections with NMS. An evaluation sets it by [`detect_with_second`][]; nothing else does.
    """

    detects_with_second = False

    def predict(
        self, batch_inputs: Tensor, batch_data_samples: SampleList, rescale: bool = True, with_nms: bool = True
    ) -> SampleList:
        """Detect on a batch.

        Args:
            batch_inputs (Tensor): (B, 3, H, W), normalised.
            batch_data_samples (list[DetDataSample]): one per image, with ``img_shape`` and ``scale_factor``.
            rescale (bool): give boxes in pixels of the original image.
            with_nms (bool): also detect with NMS.

        Returns:
            list[DetDataSample]: the samples with both sets of detections added. Each set has ``bboxes`` (n, 4) as x1 y1
                x2 y2 in pixels, ``scores`` (n,) and ``labels`` (n,), best first.

        Raises:
            InputError: ``test_cfg`` has no ``max_per_img``, or no NMS and ``with_nms`` is True.
        """
        nms, most = postprocess.settings_of(self.test_cfg, with_nms)
        maps = self.extract_feat(batch_inputs)
        metas = [sample.metainfo for sample in batch_data_samples]
        settings = dict(batch_img_metas=metas, rescale=rescale, with_nms=False)
        candidates = self.bbox_head.predict_by_feat(*self.bbox_head(maps), **settings)
        if self.detects_with_second:
            second_nms, _ = postprocess.settings_of(self.test_cfg, with_nms=True)
            its = self.bbox_head.second.detect_by_feat(self.bbox_head, maps, **settings)
            for sample, found in zip(batch_data_samples, its):
                setattr(sample, postprocess.SECOND_FIELD, postprocess.postprocess(found, second_nms, most))
        for sample, found in zip(batch_data_samples, candidates):
            both = postprocess.with_and_without_nms(found, nms, most)
            for reading, detections in both.items():
                setattr(sample, postprocess.FIELDS[reading], detections)
        return batch_data_samples


def detect_with_second(model: nn.Module, wanted: bool) -> None:
    """Let a detector also give what its second branch detects, or no longer.

    Raises:
        ValueError: it is wanted of a detector that cannot.
    """
    second = getattr(getattr(model, 'bbox_head', None), 'second', None)
    has_own = second is not None and second.shares != 'predictors'
    if isinstance(model, TwoReadingsFCOS) and (has_own or not wanted):
        model.detects_with_second = wanted
    elif wanted:
        raise ValueError(
            'val_evaluator: second=True needs a TwoReadingsFCOS with a second branch that has predictors of its own'
        )


@MODELS.register_module()
class TwoReadingsCondInst(CondInst):
    """MMDetection's CondInst, except that ``predict`` detects without and with NMS, as [`TwoReadingsFCOS`][] does.

    The mask of a candidate is drawn once, even if it is kept both without and with NMS. ``bbox_head`` can be
    [`OneToFewCondInstHead`][o2f.OneToFewCondInstHead] or MMDetection's ``CondInstBboxHead``.
    """

    def predict(
        self, batch_inputs: Tensor, batch_data_samples: SampleList, rescale: bool = True, with_nms: bool = True
    ) -> SampleList:
        """Detect and segment on a batch.

        Args:
            batch_inputs (Tensor): (B, 3, H, W), normalised.
            batch_data_samples (list[DetDataSample]): one per image, with ``img_shape``, ``ori_shape`` and
                ``scale_factor``.
            rescale (bool): give boxes and masks in pixels of the original image.
            with_nms (bool): also detect with NMS.

        Returns:
            list[DetDataSample]: the samples with both sets of detections added. Each set has ``bboxes`` (n, 4),
                ``scores`` and ``labels`` (n,), and ``masks`` (n, h, w) bool.

        Raises:
            InputError: ``test_cfg`` has no ``max_per_img``, or no NMS and ``with_nms`` is True.
        """
        nms, most = postprocess.settings_of(self.test_cfg, with_nms)
        x = self.extract_feat(batch_inputs)
        candidates = self.bbox_head.predict_by_feat(
            *self.bbox_head(x),
            batch_img_metas=[sample.metainfo for sample in batch_data_samples],
            rescale=False,  # the mask head needs the network's pixels; it rescales boxes and masks
            with_nms=False,
        )
        found = []
        for of_image in candidates:
            of_image.index = torch.arange(len(of_image), device=of_image.scores.device)
            found.append(postprocess.with_and_without_nms(of_image, nms, most))
        wanted = [torch.cat([detections.index for detections in both.values()]).unique() for both in found]
        either = [of_image[index] for of_image, index in zip(candidates, wanted)]
        either = self.mask_head.predict(x, batch_data_samples, rescale=rescale, results_list=either)
        for sample, both, drawn in zip(batch_data_samples, found, either):
            for reading, detections in both.items():
                setattr(sample, postprocess.FIELDS[reading], _drawn(detections, drawn))
        return batch_data_samples


def _drawn(detections: InstanceData, drawn: InstanceData) -> InstanceData:
    """Detections with their boxes and masks taken from ``drawn``, which holds those of both sets.

    ``index`` says which candidate each one is. The indices of ``drawn`` ascend."""
    place = torch.searchsorted(drawn.index, detections.index)
    return InstanceData(
        bboxes=drawn.bboxes[place], scores=detections.scores, labels=detections.labels, masks=drawn.masks[place]
    )
