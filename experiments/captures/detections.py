"""Captures what several detectors find on the same images (Figs. 7 to 9)."""

from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence, Tuple

import numpy as np
from mmdet.structures import DetDataSample
from pycocotools import mask as rle

from experiments.captures.annotated import Annotated, annotated_images, choose
from experiments.captures.declared import DetectionsFigure
from experiments.captures.detectors import detector, predict, validation_data
from experiments.captures.stored import image_bytes
from experiments.resolve import Run
from o2f.readings import FIELDS

Arrays = Dict[str, np.ndarray]


def capture_detections(
    figure: DetectionsFigure,
    runs: Sequence[Run],
    checkpoints: Sequence[Path],
    ids: Sequence[str],
    data: Path,
    progress: Callable[[str, int, int], None],
) -> Tuple[Dict[str, Any], Arrays]:
    """What each panel's detector finds on the chosen images, from ``score_thr`` on.

    Args:
        figure (DetectionsFigure): the figure.
        runs (sequence[Run]): the run of each panel; all are validated on the same data.
        checkpoints (sequence[Path]): the weights of each panel.
        ids (sequence[str]): see :func:`choose`.
        data (Path): the data folder.
        progress (callable): told how far data that are made first, and the panels, have come.

    Returns:
        tuple: ``meta`` and the arrays. Of image i the file is ``image<i>``, its instances' ``boxes``, ``labels`` and
        ``ignored`` are ``truth<i>.*``, and what panel j found are ``found<i>.<j>.boxes``, ``.scores`` and ``.labels``,
        best first. Boxes are x1 y1 x2 y2 in pixels. ``masks``, where there are any, are (n, bytes) packed bits of
        height x width pixels.

    Raises:
        UserError: data or weights are missing or broken, or there is no image of an id.
    """
    dataset = validation_data(runs[0].config, data, progress)
    chosen = choose(annotated_images(dataset), figure.rule, figure.count, ids, 'the validation set')
    masks = 'mask_head' in runs[0].config['model']
    arrays: Arrays = {}
    for i, image in enumerate(chosen):
        arrays.update({f'image{i}': image_bytes(image.path), **_truth(i, image, masks)})
    for j, (run, checkpoint) in enumerate(zip(runs, checkpoints)):
        progress(f'{figure.name} {figure.panels[j].label}', j, len(runs))
        model = detector(run.config, checkpoint, data)
        samples = predict(model, dataset, [image.index for image in chosen])
        for i, sample in enumerate(samples):
            arrays.update(_found(f'found{i}.{j}', sample, figure))
    progress(figure.name, len(runs), len(runs))
    return _meta(figure, runs, chosen, list(dataset.metainfo['classes']), masks), arrays


def _meta(
    figure: DetectionsFigure, runs: Sequence[Run], chosen: List[Annotated], classes: List[str], masks: bool
) -> Dict[str, Any]:
    return dict(
        figure=figure.name,
        kind='detections',
        title=figure.title,
        source=figure.source,
        setting=figure.panels[0].cell.setting,
        profile=runs[0].profile,
        seed=runs[0].seed,
        classes=classes,
        masks=masks,
        reading=figure.reading,
        score_thr=figure.score_thr,
        panels=[dict(label=panel.label, run=run.id) for panel, run in zip(figure.panels, runs)],
        images=[dict(id=image.id, size=list(image.size)) for image in chosen],
    )


def _truth(i: int, image: Annotated, masks: bool) -> Arrays:
    arrays = {'boxes': image.boxes, 'labels': image.labels, 'ignored': image.ignored}
    if masks:
        drawn = [_drawn(each, image.size) for each in image.segmentations]
        arrays['masks'] = _packed(np.array(drawn, bool), image.size)
    return {f'truth{i}.{name}': array for name, array in arrays.items()}


def _found(name: str, sample: DetDataSample, figure: DetectionsFigure) -> Arrays:
    instances = sample.get(FIELDS[figure.reading])
    shown = instances[instances.scores >= figure.score_thr]
    shown = shown[shown.scores.argsort(descending=True, stable=True)]
    arrays = {
        'boxes': shown.bboxes.float().numpy(),
        'scores': shown.scores.float().numpy(),
        'labels': shown.labels.numpy().astype(np.int32),
    }
    if 'masks' in shown:
        arrays['masks'] = _packed(shown.masks.numpy(), sample.ori_shape)
    return {f'{name}.{key}': array for key, array in arrays.items()}


def _drawn(segmentation: Any, size: Tuple[int, int]) -> np.ndarray:
    """(h, w) mask of COCO's polygons or run-length code."""
    if isinstance(segmentation, list):
        code = rle.merge(rle.frPyObjects(segmentation, *size))
    else:
        plain = isinstance(segmentation['counts'], list)
        code = rle.frPyObjects(segmentation, *size) if plain else segmentation
    return rle.decode(code)


def _packed(masks: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """(n, h, w) bool as (n, bytes) uint8; n may be 0."""
    return np.packbits(masks.reshape(len(masks), size[0] * size[1]), axis=1)
