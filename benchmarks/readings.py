"""Evaluating without and with NMS at once, beside evaluating once"""

import copy
import json
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import numpy as np
import torch
from mmengine.config import Config
from torch import nn

from benchmarks import detectors  # isort: skip  (o2f answers for mmcv's operations, so it comes before MMDetection)
from mmdet.structures import DetDataSample  # isort: skip

from benchmarks.rows import Row
from benchmarks.timing import in_turns
from o2f.evaluation.metric import TwoReadingsMetric
from o2f.models.postprocess import FIELDS, WITH_NMS, WITHOUT_NMS, postprocess

ROOT = Path(__file__).resolve().parent.parent
NOTE = 'network, decoding, reading and COCO metrics'


class OneReadingMetric(TwoReadingsMetric):
    """MMDetection's detectors leave whichever reading they give where this one looks."""

    fields = {WITHOUT_NMS: FIELDS[WITHOUT_NMS]}


def measure(quick: bool) -> List[Row]:
    """Time a validation pass at the desk's scale and at the paper's.

    Raises:
        AssertionError: a reading has other values than alone.
    """
    desk = dict(config='experiments/profiles/desk.py', size=(72, 72), images=8 if quick else 300, batch=50)
    paper = dict(config='o2f/configs/o2f_r50_fpn_1x_coco.py', size=(800, 1333), images=2, batch=1)
    return [row for scale in ([desk] if quick else [desk, paper]) for row in compared(**scale, quick=quick)]


def compared(config: str, size: Tuple[int, int], images: int, batch: int, quick: bool) -> List[Row]:
    """Both readings beside MMDetection's FCOS in each of them, with the same weights and images."""
    cfg = detectors.ready(Config.fromfile(ROOT / config, import_custom_modules=False))
    batches = batches_of(images, batch, size)
    two = build(cfg)
    show_candidates(two, batches, cfg.model.test_cfg.max_per_img)
    with tempfile.TemporaryDirectory() as folder:
        path = write_truth(Path(folder) / 'truth.json', two, batches, cfg.model.bbox_head.num_classes)
        passes = dict(both=validation(two, TwoReadingsMetric(path), batches))
        for reading, nms in {WITHOUT_NMS: None, WITH_NMS: cfg.model.test_cfg.nms}.items():
            plain = build(cfg, type='FCOS', nms=nms)
            plain.load_state_dict(two.state_dict())
            passes[reading] = validation(plain, OneReadingMetric(path), batches)
        check(passes)
        times = in_turns(passes, repeats=1 if quick else 9, least=1 if quick else 3)
    case = f'{images} images of {size[1]} x {size[0]}, against evaluating once'
    return [
        Row(f'{case} {words}', times['both'], 's', times[reading], 'once', at_most=1.15, note=NOTE)
        for reading, words in {WITHOUT_NMS: 'without NMS', WITH_NMS: 'with NMS'}.items()
    ]


def build(config: Config, **changes: Any) -> nn.Module:
    """The detector with random weights; ``changes`` are its ``type`` and its ``nms``."""
    config = copy.deepcopy(config)
    config.model.type = changes.get('type', config.model.type)
    config.model.test_cfg.nms = changes.get('nms', config.model.test_cfg.nms)
    built = detectors.build(config)
    with torch.no_grad():
        built.bbox_head.conv_reg.bias.fill_(2)  # boxes of four strides, which overlap as a trained detector's do
        for convolution in (built.bbox_head.conv_cls, built.bbox_head.conv_reg):
            convolution.weight.mul_(10)
    return built.eval()


def batches_of(images: int, batch: int, size: Tuple[int, int]) -> List[dict]:
    """Random images, as a data loader gives them."""
    rng = np.random.default_rng(0)
    metas = [dict(img_id=id_, img_shape=size, ori_shape=size, scale_factor=(1.0, 1.0)) for id_ in range(images)]
    return [
        dict(
            inputs=[torch.from_numpy(rng.integers(0, 256, (3, *size), dtype=np.uint8)) for _ in part],
            data_samples=[DetDataSample(metainfo=meta) for meta in part],
        )
        for part in (metas[start : start + batch] for start in range(0, images, batch))
    ]


@torch.no_grad()
def write_truth(path: Path, model: nn.Module, batches: List[dict], classes: int) -> str:
    """Annotations of every tenth of the model's own detections, moved a little, so that it has something right."""
    rng = np.random.default_rng(0)
    samples = [sample for batch in batches for sample in model.val_step(copy.deepcopy(batch))]
    annotations = []
    for sample in samples:
        found = sample.get(FIELDS[WITH_NMS])[::10].cpu()
        for (x1, y1, x2, y2), label in zip(found.bboxes.tolist(), found.labels.tolist()):
            width, height = x2 - x1, y2 - y1
            x, y = rng.normal((x1, y1), (0.1 * width, 0.1 * height)).tolist()
            annotation = dict(image_id=sample.img_id, category_id=label + 1, bbox=[x, y, width, height], iscrowd=0)
            annotations.append(dict(annotation, id=len(annotations) + 1, area=width * height))
    document = dict(
        images=[dict(id=sample.img_id, height=sample.ori_shape[0], width=sample.ori_shape[1]) for sample in samples],
        annotations=annotations,
        categories=[dict(id=label + 1, name=str(label)) for label in range(classes)],
    )
    path.write_text(json.dumps(document))
    return str(path)


@torch.no_grad()
def show_candidates(model: nn.Module, batches: List[dict], wanted: int) -> None:
    """Shift the scores' bias until an image has ``wanted`` detections with NMS, so that each reading is full."""
    data = model.data_preprocessor(copy.deepcopy(dict(batches[0])))
    metas = [sample.metainfo for sample in data['data_samples']]
    model.bbox_head.conv_cls.bias.fill_(0)
    logits, *others = model.bbox_head(model.extract_feat(data['inputs']))
    low, high = -20.0, 20.0
    for _ in range(12):
        middle = (low + high) / 2
        shifted = [level + middle for level in logits]
        candidates = model.bbox_head.predict_by_feat(shifted, *others, batch_img_metas=metas, with_nms=False)
        found = np.mean([len(postprocess(of_image, model.test_cfg.nms, wanted)) for of_image in candidates])
        low, high = (middle, high) if found < 0.99 * wanted else (low, middle)
    model.bbox_head.conv_cls.bias.fill_(high)


def validation(model: nn.Module, metric: TwoReadingsMetric, batches: List[dict]) -> Callable[[], Dict[str, float]]:
    """What mmengine's validation loop does with images that are in memory."""
    images = sum(len(batch['data_samples']) for batch in batches)

    def validate() -> Dict[str, float]:
        with torch.no_grad():
            for batch in batches:
                fresh = dict(batch, data_samples=[sample.clone() for sample in batch['data_samples']])
                metric.process(fresh, [sample.to_dict() for sample in model.val_step(fresh)])
        return metric.evaluate(size=images)

    return validate


def check(passes: Dict[str, Callable]) -> None:
    """Each reading's values are those that it has alone."""
    both = passes['both']()
    assert both[f'{WITH_NMS}/AP'] > 0.01, 'nothing is right, so equal values would mean nothing'
    for reading in (WITHOUT_NMS, WITH_NMS):
        for name, value in passes[reading]().items():
            name = name.replace(WITHOUT_NMS, reading)
            assert np.isclose(value, both[name], atol=1e-6, equal_nan=True), f'{name}: {both[name]}, alone {value}'
