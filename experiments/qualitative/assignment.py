"""Joint scores and assigned degrees of instances at stages of a training (Fig. 6)."""

from pathlib import Path
from typing import Any, Callable, Dict, Sequence, Tuple

import numpy as np
import torch

import o2f  # isort: skip  # noqa: F401  (provides mmcv's compiled operations, so it precedes MMDetection)
from mmdet.structures.bbox import distance2bbox  # isort: skip
from mmengine.dataset import pseudo_collate
from mmengine.model import BaseModel
from mmengine.structures import InstanceData
from torch import Tensor

from experiments.qualitative.detectors import validation_data
from experiments.qualitative.images import annotated_images, by_size, choose
from experiments.spec.config import Run
from experiments.spec.figure import AssignmentFigure
from experiments.store.errors import UserError
from experiments.store.qualitative import image_bytes
from experiments.training.evaluate import load_detector
from o2f.assign.centre_region import AnchorGrid, grid_of, points_of
from o2f.assign.matching_score import Instances
from o2f.models.predictions import Predictions


def capture_assignment(
    figure: AssignmentFigure,
    run: Run,
    checkpoints: Sequence[Path],
    ids: Sequence[str],
    data: Path,
    progress: Callable[[str, int, int], None],
) -> Tuple[Dict[str, Any], Dict[str, np.ndarray]]:
    """Joint score and degree of every anchor for instances of one image, at each stage.

    The weights are those after the stage's epoch. The degrees follow the T^j of that epoch.

    Args:
        figure (AssignmentFigure): the figure.
        run (Run): the training.
        checkpoints (sequence[Path]): the weights of each stage.
        ids (sequence[str]): see :func:`choose`; one image.
        data (Path): the data folder.
        progress (callable): called with the progress of generating data and of the stages.

    Returns:
        tuple: ``meta`` and the arrays. ``image0`` is the image's file. Stage s has ``stage<s>.scores`` (I, N) float16,
        ``stage<s>.degrees`` (I, N) float32, 0 for negatives, and ``stage<s>.certain`` (I, N) bool, for I instances and
        N anchors. The anchors are ordered by level, then row by row.

    Raises:
        UserError: data or weights are missing or broken, the head has no such targets, or ids name several images.
    """
    dataset = validation_data(run.config, data, progress)
    chosen = choose(annotated_images(dataset), figure.images.rule, 1, ids, 'the validation set')
    if len(chosen) != 1:
        raise UserError(f'{figure.name} shows one image, but --images names {len(chosen)}')
    image, shown = chosen[0], by_size(chosen[0], figure.instances)
    if not shown:
        raise UserError(f'image {image.id} has no instance to show: name another one with --images')
    places = [int((~image.ignored[:i]).sum()) for i in shown]  # indices without the ignored regions
    max_epochs = run.config['train_cfg']['max_epochs']
    arrays, stages = {'image0': image_bytes(image.path)}, []
    for s, (stage, checkpoint) in enumerate(zip(figure.stages, checkpoints)):
        progress(f'{figure.name} {stage.label}', s, len(figure.stages))
        model = load_detector(run.config, checkpoint)
        if not hasattr(model.bbox_head, 'get_targets') or not hasattr(model.bbox_head, 'degrees'):
            raise UserError(f'{figure.name}: the head of {figure.cell.table} {figure.cell.at} assigns no degrees')
        epoch = stage.epoch(max_epochs)
        model.bbox_head.set_epoch(epoch - 1, max_epochs)
        found, grid, input_size = targets(model, dataset[image.index], places)
        arrays.update({f'stage{s}.{name}': array for name, array in found.items()})
        stages.append(dict(label=stage.label, epoch=epoch, t=getattr(model.bbox_head.degrees, 't', None)))
    progress(figure.name, len(stages), len(stages))
    meta = dict(
        figure=figure.name,
        kind='assignment',
        title=figure.title,
        source=figure.source,
        setting=figure.cell.setting,
        profile=run.profile,
        seed=run.seed,
        run=run.id,
        epochs=max_epochs,
        stages=stages,
        strides=list(grid.strides),
        shapes=[list(shape) for shape in grid.shapes],
        input_size=list(input_size),
        images=[dict(id=image.id, size=list(image.size))],
        instances=[
            dict(name=dataset.metainfo['classes'][image.labels[i]], box=[round(float(x), 2) for x in image.boxes[i]])
            for i in shown
        ],
    )
    return meta, arrays


@torch.no_grad()
def targets(model: BaseModel, sample: dict, shown: Sequence[int]) -> Tuple[Dict[str, np.ndarray], AnchorGrid, Tuple]:
    """Scores, degrees and certain anchors of instances of one image, as in training without a flip.

    Args:
        model (BaseModel): the detector, its head set to an epoch.
        sample (dict): a sample of the validation data.
        shown (sequence[int]): indices of the instances, not counting ignored regions. All other instances compete with
            them for anchors.

    Returns:
        tuple: arrays ``scores``, ``degrees`` and ``certain`` (I, N), the grid of the N anchors, and height and width of
        the network's input without padding.
    """
    batch = model.data_preprocessor(pseudo_collate([sample]))
    image = batch['data_samples'][0]
    outputs = model.bbox_head(model.extract_feat(batch['inputs']))
    cls_logits, distances, factor_logits = (_flat(maps) for maps in outputs[:3])
    grid = grid_of(outputs[0], model.bbox_head.strides)
    boxes = distance2bbox(points_of(grid, cls_logits.device), distances)
    predictions = Predictions(cls_logits, factor_logits.squeeze(-1), boxes, grid)
    truth: InstanceData = image.gt_instances
    # The pipeline loads annotations after it has resized the image.
    scale = truth.bboxes.new_tensor(image.scale_factor).repeat(2)
    size = scale.new_tensor(image.img_shape[1::-1]).expand(len(truth), 2)
    instances = Instances(truth.bboxes * scale, truth.labels, torch.zeros_like(truth.labels), size=size)
    selected, degrees = model.bbox_head.get_targets(predictions, instances)
    # Added, not assigned: an anchor that was not kept may occur twice. It has a degree of 0 then.
    empty = degrees.new_zeros((len(truth), grid.num_points))
    dense, certain = (empty.scatter_add(1, selected.anchor, x.to(empty)) for x in (degrees, selected.certain))
    joint = cls_logits[0].double().sigmoid() * predictions.factor_logits[0].double().sigmoid().unsqueeze(-1)
    found = {
        'scores': joint.T[truth.labels[list(shown)]].cpu().numpy().astype(np.float16),
        'degrees': dense[list(shown)].cpu().numpy().astype(np.float32),
        'certain': certain[list(shown)].cpu().numpy().astype(bool),
    }
    return found, grid, tuple(image.img_shape)


def _flat(maps: Sequence[Tensor]) -> Tensor:
    """The (1, C, H, W) maps of all levels as one (1, N, C) tensor."""
    return torch.cat([map_.permute(0, 2, 3, 1).flatten(1, 2) for map_ in maps], dim=1)
