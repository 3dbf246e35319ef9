"""A dense detector that gives both readings from one forward pass."""

from mmdet.models.detectors import FCOS
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from torch import Tensor

from o2f import readings


@MODELS.register_module()
class TwoReadingsFCOS(FCOS):
    """MMDetection's FCOS, except that ``predict`` reads its candidates twice.

    ``pred_instances`` of a data sample is the end-to-end reading: the best ``test_cfg.max_per_img`` candidates.
    ``pred_instances_nms`` is what ``test_cfg.nms`` leaves of the same candidates, cut to the same number afterwards.
    Any dense head of MMDetection fits as ``bbox_head``.
    """

    def predict(self, batch_inputs: Tensor, batch_data_samples: SampleList, rescale: bool = True) -> SampleList:
        """Detect on a batch.

        Args:
            batch_inputs (Tensor): (B, 3, H, W), normalised.
            batch_data_samples (list[DetDataSample]): one per image, with ``img_shape`` and ``scale_factor``.
            rescale (bool): give boxes in pixels of the original image.

        Returns:
            list[DetDataSample]: the samples with both readings added.
        """
        outputs = self.bbox_head(self.extract_feat(batch_inputs))
        candidates = self.bbox_head.predict_by_feat(
            *outputs,
            batch_img_metas=[sample.metainfo for sample in batch_data_samples],
            rescale=rescale,
            with_nms=False,
        )
        for sample, found in zip(batch_data_samples, candidates):
            sample.pred_instances = readings.read(found, None, self.test_cfg.max_per_img)
            sample.pred_instances_nms = readings.read(found, self.test_cfg.nms, self.test_cfg.max_per_img)
        return batch_data_samples
