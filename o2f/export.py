"""Write a trained detector as one ONNX graph, from pixels to boxes, without NMS.

    python -m o2f.export runs/desk/92be9c511bdd/epoch_12.pth --onnx detector.onnx
    python -m o2f.export weights.pth --config config.py --onnx detector.onnx

The graph has one input and three outputs:

    images  (batch, 3, height, width) uint8: blue, green, red, already resized for the detector;
            the graph normalises and pads them
    boxes   (batch, K, 4) float32: x1 y1 x2 y2 in pixels of the input, best first
    scores  (batch, K) float32: 0 if there are fewer than K detections
    labels  (batch, K) int64: indices of the classes; -1 if there are fewer than K detections

Batch, height and width are free. K is test_cfg.max_per_img of the config. The model's metadata hold the names of the
classes under 'classes', as JSON. The file gets its name once onnxruntime finds with it what the detector finds itself.
"""

import argparse
import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any, List, Optional, Sequence, Tuple

warnings.filterwarnings('ignore', message='.*pkg_resources is deprecated')
warnings.filterwarnings('ignore', message='.*torch.meshgrid')

import numpy as np  # noqa: E402
import torch  # noqa: E402
from mmdet.structures import DetDataSample  # noqa: E402
from mmengine.model import BaseModel  # noqa: E402
from torch import nn  # noqa: E402

from o2f.errors import InputError  # noqa: E402
from o2f.inference import Detector  # noqa: E402
from o2f.io.onnx_graph import EndToEnd  # noqa: E402
from o2f.models.postprocess import postprocess  # noqa: E402

OPSET = 17
OUTPUTS = ('boxes', 'scores', 'labels')
#: The largest allowed difference from PyTorch, in boxes (pixels) and in scores.
TOLERANCE = 1e-3
#: By how much class logits are raised for a detector whose scores on noise are all too small to compare.
RAISED = 10.0
#: The name of their bias in the file.
BIAS = 'model.bbox_head.conv_cls.bias'


def main(argv: Optional[List[str]] = None) -> int:
    """Run the command line.

    Returns:
        int: the exit status. 0: the file is written and checked. 2: wrong arguments or files.
    """
    args = _parse(argv)
    try:
        _need_packages()
        detector = Detector(args.checkpoint, args.config, 'cpu')
        graph = EndToEnd(detector.model).eval()
        aside = args.onnx.with_name(f'.{args.onnx.name}.{os.getpid()}')
        args.onnx.parent.mkdir(parents=True, exist_ok=True)
        try:
            write_onnx(graph, aside, dict(classes=json.dumps(detector.classes)))
            boxes, scores = check(graph, aside)
            os.replace(aside, args.onnx)
        finally:
            aside.unlink(missing_ok=True)
    except InputError as error:
        print(f'export: {error}', file=sys.stderr)
        return 2
    except OSError as error:
        print(f'export: cannot write {args.onnx}: {error.strerror or error}: choose another --onnx', file=sys.stderr)
        return 2
    print(
        f'{args.onnx}: {args.onnx.stat().st_size / 2**20:.1f} MiB, opset {OPSET}, {len(detector.classes)} classes, '
        f'{graph.settings.max_per_img} boxes per image; onnxruntime and PyTorch differ by at most {boxes:.1g} pixels '
        f'and {scores:.1g} in the score'
    )
    return 0


def _parse(argv: Optional[List[str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='python -m o2f.export', description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('checkpoint', type=Path, metavar='CHECKPOINT', help="a run's epoch_N.pth, or any of mmengine's")
    parser.add_argument('--onnx', type=Path, required=True, metavar='FILE', help='the file to write')
    parser.add_argument('--config', type=Path, help='its config, where it holds none; this file is run as Python')
    return parser.parse_args(argv)


def _need_packages() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise InputError(f'{error.name} is not installed: pip install "o2f[export]", or onnx and onnxruntime') from None


def write_onnx(graph: nn.Module, path: Path, metadata: dict, batch: int = 2) -> None:
    """Write a module as an ONNX file. Its input is (B, 3, H, W) uint8 images, with free B, H and W.

    Args:
        graph (Module): a module such as [`EndToEnd`][], in evaluation mode.
        path (Path): the file.
        metadata (dict[str, str]): notes that onnxruntime shows as ``get_modelmeta().custom_metadata_map``.
        batch (int): number of images used for tracing.

    Raises:
        InputError: ONNX lacks an operation of the module.
        OSError: the file cannot be written.
    """
    import onnx

    torch.onnx.register_custom_op_symbolic('aten::logaddexp', _logaddexp, OPSET)
    names = [*OUTPUTS, 'images']
    axes = {name: {0: 'batch'} for name in OUTPUTS} | {'images': {0: 'batch', 2: 'height', 3: 'width'}}
    with warnings.catch_warnings():
        # Two expected warnings: tracing is the older way, and it looks at shapes, as intended here.
        warnings.simplefilter('ignore')
        # The newer exporter, torch.export, gives the same computation in minutes instead of seconds.
        try:
            torch.onnx.export(
                graph,
                (_images((batch, 96, 128)),),
                str(path),
                input_names=names[-1:],
                output_names=names[:-1],
                dynamic_axes=axes,
                opset_version=OPSET,
                dynamo=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            reason = str(error).splitlines()[0]
            raise InputError(f'the detector has an operation that ONNX lacks: {reason}') from error
    model = onnx.load(path)
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def _logaddexp(graph: Any, a: Any, b: Any) -> Any:
    """log(e^a + e^b) in ONNX's operations."""
    apart = graph.op('Neg', graph.op('Abs', graph.op('Sub', a, b)))
    return graph.op('Add', graph.op('Max', a, b), graph.op('Softplus', apart))


def check(graph: EndToEnd, path: Path, size: Tuple[int, int, int] = (3, 90, 70)) -> Tuple[float, float]:
    """Compare a written graph with its detector, on other images than those it was traced with.

    The images are noise. If the detector finds nothing there, both are compared with a score threshold of 0, and if all
    scores are still too small to tell apart, with class logits that are higher by ``RAISED``.

    Args:
        graph (EndToEnd): the module that was written.
        path (Path): the file.
        size (tuple[int, int, int]): number of images, height and width.

    Returns:
        tuple[float, float]: the largest difference of boxes, in pixels, and of scores.

    Raises:
        InputError: they differ by more than ``TOLERANCE``, or in a label; or there is nothing to compare.
    """
    import onnx
    import onnxruntime

    images, model = _images(size), onnx.load(path)
    initial = {tensor.name: tensor for tensor in model.graph.initializer}
    bias = graph.model.bbox_head.conv_cls.bias
    before, written = bias.detach().clone(), onnx.numpy_helper.to_array(initial[BIAS])

    def give(name: str, value: Any) -> None:
        initial[name].CopyFrom(onnx.numpy_helper.from_array(np.asarray(value, np.float32), name))

    try:
        for score, raised in ((float(graph.score_thr), 0.0), (0.0, 0.0), (0.0, RAISED)):
            bias.data = before + raised
            give('score_thr', score)
            give(BIAS, written + raised)
            session = onnxruntime.InferenceSession(model.SerializeToString(), providers=['CPUExecutionProvider'])
            found = session.run(list(OUTPUTS), {'images': images.numpy()})
            boxes, scores, same, number = compare(found, detections(graph.model, images, score))
            if not (boxes <= TOLERANCE and scores <= TOLERANCE and same):
                raise InputError(
                    f'onnxruntime finds other boxes than PyTorch (up to {boxes:.2g} pixels, {scores:.2g} in the '
                    'score): this detector cannot be exported with these versions of torch and onnxruntime'
                )
            if number:
                return boxes, scores
    finally:
        bias.data = before
    raise InputError(
        'on noise, all scores are near 0 or equal, so the graph cannot be compared with the detector: take a '
        'checkpoint that detects something'
    )


@torch.no_grad()
def detections(model: BaseModel, images: torch.Tensor, score_thr: float) -> List[np.ndarray]:
    """What a detector finds by its own way of prediction, without NMS.

    Args:
        model (BaseModel): the detector.
        images (Tensor): (B, 3, H, W) uint8, as the graph takes them.
        score_thr (float): the score threshold, in place of that of ``test_cfg``.

    Returns:
        list[ndarray]: boxes (B, K + 1, 4), scores (B, K + 1) and labels (B, K + 1), as the graph gives them, and one
            more than its K.
    """
    meta = dict(img_shape=tuple(images.shape[2:]), scale_factor=(1.0, 1.0))
    samples = [DetDataSample(metainfo=meta) for _ in images]
    batch = model.data_preprocessor(dict(inputs=list(images), data_samples=samples))
    candidates = model.bbox_head.predict_by_feat(
        *model.bbox_head(model.extract_feat(batch['inputs'])),
        batch_img_metas=[sample.metainfo for sample in batch['data_samples']],
        cfg=type(model.test_cfg)(model.test_cfg, score_thr=score_thr),
        rescale=True,
        with_nms=False,
    )
    number = model.test_cfg.max_per_img + 1
    boxes, scores = np.zeros((len(images), number, 4), np.float32), np.zeros((len(images), number), np.float32)
    labels = np.full((len(images), number), -1)
    for i, of_image in enumerate(candidates):
        best = postprocess(of_image, None, number)
        boxes[i, : len(best)], scores[i, : len(best)], labels[i, : len(best)] = best.bboxes, best.scores, best.labels
    return [boxes, scores, labels]


def compare(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> Tuple[float, float, bool, int]:
    """Compare two outputs of a graph.

    Detections whose scores differ only by rounding may come in either order. Boxes and labels are compared for all
    others.

    Args:
        found (sequence[ndarray]): boxes (B, K, 4), scores (B, K) and labels (B, K).
        expected (sequence[ndarray]): the same, or with more than K.

    Returns:
        tuple[float, float, bool, int]: the largest difference of boxes, in pixels, and of scores; whether the labels
            are equal; and the number of detections whose boxes and labels were compared.
    """
    scores, kept = expected[1], found[1].shape[1]
    gaps = np.pad(np.abs(np.diff(scores, axis=1)), ((0, 0), (1, 1)), constant_values=np.inf)
    # The last may have changed places with one that is just not among them.
    gaps[:, -1] = np.where(scores[:, -1] > 0, 0, np.inf)
    # Logits round, and onnxruntime's sigmoid is off by up to 1e-7, which counts for the least scores.
    alone = (np.minimum(gaps[:, :-1], gaps[:, 1:]) > 1e-6 + 1e-5 * scores) | (scores == 0)
    boxes, scores, labels, alone = (part[:, :kept] for part in (*expected, alone))
    return (
        float(np.abs(found[0] - boxes)[alone].max(initial=0)),
        float(np.abs(found[1] - scores).max(initial=0)),
        bool((found[2] == labels)[alone].all()),
        int((alone & (scores > 0)).sum()),
    )


def _images(size: Tuple[int, int, int]) -> torch.Tensor:
    """Random uint8 images."""
    generator = torch.Generator().manual_seed(0)
    count, height, width = size
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)


if __name__ == '__main__':
    sys.exit(main())
