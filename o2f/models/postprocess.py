"""From candidates to detections, without and with non-maximum suppression (NMS)."""

from typing import Any, Dict, Optional, Tuple

import torch
from mmcv.ops import batched_nms
from mmengine.structures import InstanceData

from o2f.errors import InputError

WITHOUT_NMS = 'without_nms'
WITH_NMS = 'with_nms'
#: The field of a data sample that holds each result. ``pred_instances`` is MMDetection's own name.
FIELDS = {WITHOUT_NMS: 'pred_instances', WITH_NMS: 'pred_instances_nms'}
#: The detections of a second branch with NMS, and their field. They are there if the detector is asked for them.
SECOND_WITH_NMS = 'second_with_nms'
SECOND_FIELD = 'pred_instances_second'


def postprocess(candidates: InstanceData, nms: Optional[dict], max_per_img: int) -> InstanceData:
    """Select an image's detections from its candidates.

    Args:
        candidates (InstanceData): ``bboxes`` (n, 4), ``scores`` (n,) and ``labels`` (n,). n may be 0.
        nms (dict | None): mmcv's NMS settings, applied class by class. None applies no NMS.
        max_per_img (int): the largest number of detections to keep.

    Returns:
        InstanceData: at most ``max_per_img`` detections, best first.
    """
    if len(candidates) == 0:
        return candidates
    if nms is None:
        return candidates[candidates.scores.argsort(descending=True)[:max_per_img]]
    detections, kept = batched_nms(candidates.bboxes, candidates.scores, candidates.labels, nms)
    result = candidates[kept[:max_per_img]]
    result.scores = detections[:max_per_img, -1]  # soft NMS changes scores
    return result


def with_and_without_nms(candidates: InstanceData, nms: Optional[dict], max_per_img: int) -> Dict[str, InstanceData]:
    """Select an image's detections twice, without and with NMS.

    Args:
        candidates (InstanceData): see [`postprocess`][].
        nms (dict | None): mmcv's NMS settings. None leaves out the detections with NMS.
        max_per_img (int): the largest number of detections to keep, the same for both.

    Returns:
        dict[str, InstanceData]: the detections under ``without_nms`` and ``with_nms``.
    """
    settings = {WITHOUT_NMS: None} if nms is None else {WITHOUT_NMS: None, WITH_NMS: nms}
    return {reading: postprocess(candidates, setting, max_per_img) for reading, setting in settings.items()}


def settings_of(test_cfg: Optional[dict], with_nms: bool) -> Tuple[Optional[dict], int]:
    """The NMS settings of a detector, and the largest number of detections to keep.

    Args:
        test_cfg (dict | None): the detector's ``test_cfg``.
        with_nms (bool): whether NMS is wanted. The settings are None if not.

    Raises:
        InputError: ``max_per_img`` is no number above 0, or NMS is wanted and there is none, or one whose threshold is
            no IoU, such as one in percent. The detections with it would silently be those without.
    """
    nms, most = (test_cfg or {}).get('nms'), (test_cfg or {}).get('max_per_img')
    if not isinstance(most, int) or most < 1:
        raise InputError(
            f'model.test_cfg.max_per_img is {most!r}: set it to the most detections that an image may have, such as 100'
        )
    if with_nms and not nms:
        raise InputError(
            "model.test_cfg has no nms, so nothing can be detected with NMS: set it, such as dict(type='nms', "
            'iou_threshold=0.6)'
        )
    # mmcv takes iou_thr as well, its older name.
    threshold = nms.get('iou_threshold', nms.get('iou_thr')) if with_nms and isinstance(nms, dict) else None
    if isinstance(threshold, (int, float)) and not 0 <= threshold <= 1:
        raise InputError(f'model.test_cfg.nms.iou_threshold is {threshold:g}: it is an IoU, from 0 to 1')
    return (nms if with_nms else None), most


def check_nms(nms: Any) -> None:
    """Try mmcv's NMS with these settings on two boxes. A detector would only use them after its first epoch.

    Raises:
        InputError: mmcv does not take them.
    """
    boxes = torch.tensor([[0.0, 0.0, 9.0, 9.0], [0.0, 0.0, 9.0, 8.0]])
    try:
        batched_nms(boxes, torch.tensor([0.9, 0.8]), torch.zeros(2, dtype=torch.long), nms)
    except Exception as error:  # types are names that mmcv evaluates: anything may be raised
        raise InputError(f'model.test_cfg.nms {nms!r:.200} cannot be used ({type(error).__name__}: {error})') from error


def candidates_of_level(test_cfg: dict, there: int) -> int:
    """How many of ``there`` candidates a level may give: ``nms_pre``, or all if it is not set or below 0, as
    MMDetection's default of -1 is."""
    most = test_cfg.get('nms_pre', -1)
    return there if most < 0 else most
