"""Detections of several detectors on the same images (Figs. 7 to 9), and the score threshold of each detector.

Scores of detectors with different losses are not comparable. At one threshold, one detector shows a few confident
detections and another shows hundreds of doubtful ones. So the threshold of each is where it finds the same share of
all objects.
"""

import math
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, Optional, Sequence, Tuple

import numpy as np
from mmengine.model import BaseModel
from pycocotools import mask as rle

from experiments.qualitative.detectors import predict, validation_data
from experiments.qualitative.duplicates import BEST, judge
from experiments.qualitative.images import Annotated, annotated_images, choose
from experiments.spec.config import Run
from experiments.spec.figure import DetectionsFigure
from experiments.store.qualitative import Shapes, image_bytes
from experiments.training.evaluate import load_detector
from o2f.models.postprocess import FIELDS

Arrays = Dict[str, np.ndarray]


def capture_detections(
    figure: DetectionsFigure,
    runs: Sequence[Run],
    checkpoints: Sequence[Path],
    ids: Sequence[str],
    data: Path,
    progress: Callable[[str, int, int], None],
) -> Tuple[Dict[str, Any], Arrays]:
    """The detections of each panel on the chosen images, down to the score at which its detector finds the figure's
    share of all objects of the validation set.

    Args:
        figure (DetectionsFigure): the figure.
        runs (sequence[Run]): the run of each panel. All are validated on the same data.
        checkpoints (sequence[Path]): the weights of each panel.
        ids (sequence[str]): see :func:`choose`.
        data (Path): the data folder.
        progress (callable): called with the progress of generating data and of each panel.

    Returns:
        tuple: ``meta`` and the arrays. Image i has its file ``image<i>``, its instances ``truth<i>.boxes``, ``.labels``
        and ``.ignored``, and the detections of panel j ``found<i>.<j>.boxes``, ``.scores`` and ``.labels``, best first.
        Boxes are x1 y1 x2 y2 in pixels. ``masks``, if there are any, are (n, bytes) packed bits of height x width
        pixels.

    Raises:
        UserError: data or weights are missing or broken, or there is no image of an id.
    """
    dataset = validation_data(runs[0].config, data, progress)
    images = annotated_images(dataset)
    chosen = choose(images, figure.images.rule, figure.images.count, ids, 'the validation set')
    masks = 'mask_head' in runs[0].config['model']
    arrays: Arrays = {}
    for i, image in enumerate(chosen):
        arrays[f'image{i}'] = image_bytes(image.path)
        arrays.update(_stored(f'truth{i}', _truth(image, masks)))
    panels = []
    for j, (panel, run, checkpoint) in enumerate(zip(figure.panels, runs, checkpoints)):
        model = load_detector(run.config, checkpoint)
        find = partial(_find, model, dataset, FIELDS[figure.reading])
        score_thr, recall = _threshold(find, images, masks, figure, partial(progress, f'{figure.name} {panel.label}'))
        panels.append(dict(label=panel.label, run=run.id, score_thr=score_thr, recall=recall))
        for i, image in enumerate(chosen):
            arrays.update(_stored(f'found{i}.{j}', _from(find(image), score_thr)))
    return _meta(figure, runs[0], chosen, list(dataset.metainfo['classes']), masks, panels), arrays


def _meta(
    figure: DetectionsFigure, run: Run, chosen: List[Annotated], classes: List[str], masks: bool, panels: List[dict]
) -> Dict[str, Any]:
    return dict(
        figure=figure.name,
        kind='detections',
        title=figure.title,
        source=figure.source,
        setting=figure.panels[0].cell.setting,
        profile=run.profile,
        seed=run.seed,
        classes=classes,
        masks=masks,
        reading=figure.reading,
        recall=figure.recall,
        panels=panels,
        images=[dict(id=image.id, size=list(image.size)) for image in chosen],
    )


def _threshold(
    find: Callable[[Annotated], Shapes],
    images: Sequence[Annotated],
    masks: bool,
    figure: DetectionsFigure,
    progress: Callable[[int, int], None],
) -> Tuple[float, float]:
    """:func:`threshold` over all images."""

    def pairs():
        for number, image in enumerate(images):
            progress(number, len(images))
            yield find(image), _truth(image, masks)

    return threshold(pairs(), figure.recall)


def _find(model: BaseModel, dataset: Any, field: str, image: Annotated) -> Shapes:
    """The detections of one image without or with NMS, as ``field`` says, best first."""
    found = predict(model, dataset[image.index]).get(field)
    found = found[found.scores.argsort(descending=True, stable=True)]
    return Shapes(
        found.bboxes.float().numpy(),
        found.labels.numpy().astype(np.int32),
        found.masks.numpy() if 'masks' in found else None,
        found.scores.float().numpy(),
    )


def _from(found: Shapes, score_thr: float) -> Shapes:
    """The detections with at least this score."""
    assert found.scores is not None  # detections have them
    kept = found.scores >= score_thr
    masks = None if found.masks is None else found.masks[kept]
    return Shapes(found.boxes[kept], found.labels[kept], masks, found.scores[kept])


def _truth(image: Annotated, masks: bool) -> Shapes:
    drawn: Optional[np.ndarray] = None
    if masks:
        each = [_drawn(segmentation, image.size) for segmentation in image.segmentations]
        drawn = np.array(each, bool).reshape(-1, *image.size)
    return Shapes(image.boxes, image.labels, drawn, ignored=image.ignored)


def _drawn(segmentation: Any, size: Tuple[int, int]) -> np.ndarray:
    """(h, w) mask of COCO's polygons or run-length code."""
    if isinstance(segmentation, list):
        code = rle.merge(rle.frPyObjects(segmentation, *size))
    else:
        plain = isinstance(segmentation['counts'], list)
        code = rle.frPyObjects(segmentation, *size) if plain else segmentation
    return rle.decode(code)


def _stored(name: str, shapes: Shapes) -> Arrays:
    """The arrays of ``shapes`` as ``<name>.<field>``. Masks are packed."""
    arrays = {key: getattr(shapes, key) for key in ('boxes', 'labels', 'scores', 'ignored')}
    if shapes.masks is not None:
        count, height, width = shapes.masks.shape
        arrays['masks'] = np.packbits(shapes.masks.reshape(count, height * width), axis=1)
    return {f'{name}.{key}': array for key, array in arrays.items() if array is not None}


def threshold(images: Iterable[Tuple[Shapes, Shapes]], recall: float) -> Tuple[float, float]:
    """The highest score threshold at which at least a share of all objects is found.

    Args:
        images (iterable[tuple[Shapes, Shapes]]): detections with scores, and annotations, of each image.
        recall (float): the share, from 0 to 1.

    Returns:
        tuple[float, float]: the score, and the share that is found, which is less than ``recall`` if the detector never
        finds so many. If it finds nothing, the score is 1.
    """
    scores, objects = [], 0
    for found, truth in images:
        kind, _ = judge(found, truth)  # detections with lower scores do not change the verdict on higher ones
        assert found.scores is not None and truth.ignored is not None  # judge() requires both
        scores += found.scores[kind == BEST].tolist()
        objects += int((~truth.ignored).sum())
    scores.sort(reverse=True)
    wanted = min(max(math.ceil(round(recall * objects, 6)), 1), len(scores))
    if not wanted:
        return 1.0, 0.0
    score = scores[wanted - 1]
    return score, sum(each >= score for each in scores) / objects
