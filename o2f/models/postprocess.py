"""The two readings of a dense detector: its candidates as they are, and after non-maximum suppression."""

from typing import Dict, Optional

from mmcv.ops import batched_nms
from mmengine.structures import InstanceData

WITHOUT_NMS = 'without_nms'
WITH_NMS = 'with_nms'
#: Where each reading is found on a data sample; the first is MMDetection's own name.
FIELDS = {WITHOUT_NMS: 'pred_instances', WITH_NMS: 'pred_instances_nms'}


def postprocess(candidates: InstanceData, nms: Optional[dict], max_per_img: int) -> InstanceData:
    """Cut an image's candidates down to its detections.

    Args:
        candidates (InstanceData): ``bboxes`` (n, 4), ``scores`` (n,) and ``labels`` (n,), n may be 0.
        nms (dict | None): mmcv's NMS settings, applied class by class; None takes the candidates as they are.
        max_per_img (int): most detections to keep.

    Returns:
        InstanceData: at most ``max_per_img`` of them, best first.
    """
    if len(candidates) == 0:
        return candidates
    if nms is None:
        return candidates[candidates.scores.argsort(descending=True)[:max_per_img]]
    detections, kept = batched_nms(candidates.bboxes, candidates.scores, candidates.labels, nms)
    result = candidates[kept[:max_per_img]]
    result.scores = detections[:max_per_img, -1]  # soft NMS changes scores
    return result


def with_and_without_nms(candidates: InstanceData, nms: dict, max_per_img: int) -> Dict[str, InstanceData]:
    """Both readings of an image's candidates, by name; the arguments are those of :func:`postprocess`."""
    settings = {WITHOUT_NMS: None, WITH_NMS: nms}
    return {reading: postprocess(candidates, setting, max_per_img) for reading, setting in settings.items()}
