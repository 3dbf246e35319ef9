"""Draws detections into images, by MMDetection's visualizer."""

from pathlib import Path
from typing import Any, Sequence

import cv2
import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.visualization import DetLocalVisualizer
from mmengine.structures import InstanceData

from o2f.inference import Detections

#: Images whose longer side is below this many pixels are drawn enlarged, as names would cover all of them.
LEGIBLE = 480


class Drawing:
    """Boxes, masks, names and scores, in a colour for each class.

    Args:
        classes (sequence[str]): names of the classes.
        palette: their colours, as :class:`o2f.inference.Detector` has them.
    """

    def __init__(self, classes: Sequence[str], palette: Any) -> None:
        self._visualizer = DetLocalVisualizer(name='o2f')
        self._visualizer.dataset_meta = dict(classes=tuple(classes), palette=palette)

    def write(self, image: np.ndarray, found: Detections, path: Path) -> None:
        """Write an image with its detections, in the format that the path's ending names.

        Args:
            image (ndarray): (H, W, 3) uint8, blue first.
            found (Detections): what to draw; of an image below ``LEGIBLE`` pixels on a picture enlarged by a whole
                number.
            path (Path): the file; its folder is made.

        Raises:
            OSError: it cannot be written.
        """
        factor = max(1, LEGIBLE // max(image.shape[:2]))
        size = image.shape[1] * factor, image.shape[0] * factor
        instances = InstanceData(
            bboxes=torch.from_numpy(found.boxes[::-1] * factor),  # the best is drawn last, over the others
            scores=torch.from_numpy(found.scores[::-1].copy()),
            labels=torch.from_numpy(found.labels[::-1].copy()),
        )
        if found.masks is not None and len(found):
            masks = [cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) for mask in found.masks]
            instances.masks = np.stack(masks[::-1]).astype(bool)
        self._visualizer.add_datasample(
            path.name,
            cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), cv2.COLOR_BGR2RGB),
            DetDataSample(pred_instances=instances),
            draw_gt=False,
            pred_score_thr=-1.0,
            out_file=str(path),
        )
