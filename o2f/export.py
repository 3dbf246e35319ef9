"""Write a trained detector as one ONNX graph, from pixels to boxes, with no NMS in it.

python -m o2f.export runs/desk/028f84c7bbb1/epoch_12.pth --onnx detector.onnx
python -m o2f.export weights.pth --config config.py --onnx detector.onnx

Its input   images  (batch, 3, height, width) uint8: blue, green, red, of the size that the detector is to see;
                    normalisation and padding are in the graph, resizing is not
Its outputs boxes   (batch, K, 4) float32: x1 y1 x2 y2 in pixels of the input, best first
            scores  (batch, K) float32: 0 where there are fewer than K detections
            labels  (batch, K) int64: places in the classes; -1 where there are fewer
Batch, height and width are free. K is test_cfg.max_per_img of the config. The names of the classes are in the model's
metadata under 'classes', as JSON. The file is checked with onnxruntime before it gets its name.
"""

import argparse
import json
import os
import sys
import warnings
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

warnings.filterwarnings('ignore', message='.*pkg_resources is deprecated')
warnings.filterwarnings('ignore', message='.*torch.meshgrid')

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402

from o2f.errors import InputError  # noqa: E402
from o2f.inference import Detector  # noqa: E402
from o2f.io.onnx_graph import EndToEnd  # noqa: E402

OPSET = 17
OUTPUTS = ('boxes', 'scores', 'labels')
#: How far boxes, in pixels, and scores may be from PyTorch's.
TOLERANCE = 1e-3


def main(argv: Optional[List[str]] = None) -> int:
    """The command line.

    Returns:
        int: 0 when the file is there and was checked, 2 for wrong arguments or files.
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
    """Write a module from (B, 3, H, W) uint8 images to ``OUTPUTS`` as an ONNX file with free B, H and W.

    Args:
        graph (Module): such as :class:`EndToEnd`, in evaluation mode.
        path (Path): the file.
        batch (int): images that it is traced with.
        metadata (dict[str, str]): notes that onnxruntime shows as ``get_modelmeta().custom_metadata_map``.

    Raises:
        InputError: an operation of it is not in ONNX.
        OSError: it cannot be written.
    """
    import onnx

    names = [*OUTPUTS, 'images']
    axes = {name: {0: 'batch'} for name in OUTPUTS} | {'images': {0: 'batch', 2: 'height', 3: 'width'}}
    with warnings.catch_warnings():
        # That tracing is the older way, and that it looks at shapes, which it does as they are meant.
        warnings.simplefilter('ignore')
        # The exporter by torch.export makes the same computation of it, in minutes instead of seconds.
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


def check(graph: nn.Module, path: Path, size: Tuple[int, int, int] = (3, 90, 70)) -> Tuple[float, float]:
    """Compare a written graph with the module that it was made of, on other images than it was traced with.

    Args:
        graph (Module): the module.
        path (Path): the file.
        size (tuple[int, int, int]): images, their height and their width.

    Returns:
        tuple[float, float]: the largest difference of boxes, in pixels, and of scores.

    Raises:
        InputError: they differ by more than ``TOLERANCE``, or in a label.
    """
    import onnxruntime

    images = _images(size)
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    found = session.run(list(OUTPUTS), {'images': images.numpy()})
    with torch.no_grad():
        expected = [output.numpy() for output in graph(images)]
    boxes, scores, same = compare(found, expected)
    if not (boxes <= TOLERANCE and scores <= TOLERANCE and same):
        raise InputError(
            f'onnxruntime finds other boxes than PyTorch (up to {boxes:.2g} pixels, {scores:.2g} in the score): '
            'this detector cannot be exported with these versions of torch and onnxruntime'
        )
    return boxes, scores


def compare(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> Tuple[float, float, bool]:
    """How far two outputs of one graph are apart: in boxes, in scores, and whether labels are the same.

    Detections whose scores are equal but for rounding may stand in either order; boxes and labels are compared of all
    others.

    Args:
        found, expected (sequence[ndarray]): boxes (B, K, 4), scores (B, K) and labels (B, K).
    """
    scores = expected[1]
    gaps = np.pad(np.abs(np.diff(scores, axis=1)), ((0, 0), (1, 1)), constant_values=np.inf)
    # The last of K may have changed places with one that is not among them.
    gaps[:, -1] = np.where(scores[:, -1] > 0, 0, np.inf)
    alone = (np.minimum(gaps[:, :-1], gaps[:, 1:]) > 1e-5) | (scores == 0)
    boxes = np.abs(found[0] - expected[0])[alone]
    return (
        float(boxes.max(initial=0)),
        float(np.abs(found[1] - scores).max()),
        bool((found[2] == expected[2])[alone].all()),
    )


def _images(size: Tuple[int, int, int]) -> torch.Tensor:
    """Noise in uint8."""
    generator = torch.Generator().manual_seed(0)
    count, height, width = size
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)


if __name__ == '__main__':
    sys.exit(main())
