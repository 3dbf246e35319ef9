"""Exported graphs in onnxruntime: one-to-few without NMS beside FCOS with NMS.

One image goes from uint8 pixels to boxes, with batch 1 and one thread. `o2f/export.py` writes both graphs, and they run
in turns. Ours has only top-k. FCOS's has torchvision's NMS, which becomes ONNX's NonMaxSuppression. Weights are random,
and biases are set so that 1000 scores are above the threshold of 0.05 for both. At full size these are the rows
Ours-3convs and FCOS-NMS of Table 5 with a ResNet-50. At desk size they are the same rows in that profile.
"""

import tempfile
from pathlib import Path
from typing import Callable, List, Tuple

import torch
from mmengine.config import Config
from torch import Tensor
from torchvision.ops import batched_nms

from benchmarks.detectors import SIZE, build, ready, scenes, with_candidates
from benchmarks.rows import Row
from benchmarks.timing import in_turns
from experiments.spec.plan import find_run
from experiments.spec.table_file import load_table

from mmdet.models.dense_heads import FCOSHead  # isort: skip  (after o2f, which answers for mmcv's operations)
from o2f.export import write_onnx
from o2f.io.onnx_graph import EndToEnd, ExportedCandidates

METHODS = ('Ours-3convs', 'FCOS-NMS')


class WithNMS(EndToEnd):
    """FCOS to the end: candidates as ours, then NMS class by class, for one image at a time."""

    heads = (FCOSHead,)

    def best(self, found: ExportedCandidates) -> Tuple[Tensor, Tensor, Tensor]:
        """The ``max_per_img`` best that NMS leaves; as many as there are."""
        boxes, scores, labels = (part[0] for part in found)
        there = (scores > 0).nonzero().squeeze(1)
        boxes, scores, labels = boxes[there], scores[there], labels[there]
        kept = batched_nms(boxes, scores, labels, self.settings.nms.iou_threshold)[: self.settings.max_per_img]
        return boxes[kept][None], scores[kept][None], labels[kept][None]


def measure(quick: bool) -> List[Row]:
    """Milliseconds per image of our graph beside FCOS's, at full size and at desk size."""
    cases = {
        f'ResNet-50, {SIZE[1]} x {SIZE[0]}': ('paper', SIZE),
        'desk, 72 x 72': ('desk', (72, 72)),
    }
    if quick:
        cases.pop(next(iter(cases)))
    rows = []
    for case, (profile, size) in cases.items():
        with tempfile.TemporaryDirectory() as folder:
            runs = {method: session_of(method, profile, size, Path(folder)) for method in METHODS}
            times = in_turns(runs, repeats=1 if quick else 100, least=1 if quick else 7, enough_s=200)
        ours, fcos = (1000 * times[method] for method in METHODS)
        rows.append(Row(case, ours, 'ms', fcos, 'FCOS, NMS in its graph', at_most=1.0, note='3 convolutions more'))
    return rows


def session_of(method: str, profile: str, size: Tuple[int, int], folder: Path) -> Callable[[], list]:
    """One image through the exported graph of a row of Table 5."""
    import onnxruntime

    config = ready(Config(find_run(load_table('table5'), [method, '1x'], profile, {})[0].config))
    model = build(config).to('cpu').eval()
    batch = scenes(1, size, 1, model.bbox_head.num_classes)
    images = torch.stack(batch['inputs'])
    with_candidates(model, model.data_preprocessor(batch), 1000, config.model.test_cfg.score_thr)
    path = folder / f'{method}.onnx'
    write_onnx((WithNMS if isinstance(model.bbox_head, FCOSHead) else EndToEnd)(model).eval(), path, {}, batch=1)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])
    return lambda: session.run(None, {'images': images.numpy()})
