"""Inference, decoding included, beside MMDetection's FCOS with its NMS.

Each detector runs its own ``predict``; one-to-few and POTO without NMS. The weights are random, so the bias of the
scores is shifted for all detectors until 1000 scores are above the threshold of 0.05. The paper has 28.4 ms for FCOS
with NMS against 28.2 ms on a V100 (Table 5). The floating-point operations of the same passes, counted by torch, say
what the extra convolutions must cost where only arithmetic counts. A GPU is also measured with 8 images in a batch and
in half precision.
"""

from typing import Callable, List, Optional

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.detectors import DEVICE, SIZE, build, config_of, scenes, with_candidates
from benchmarks.rows import Row
from benchmarks.timing import in_turns

METHODS = {
    'FCOS-NMS': 'FCOS with NMS',
    'Ours-1conv': 'o2f, 1 convolution',
    'Ours-2convs': 'o2f, 2 convolutions',
    'Ours-3convs': 'o2f, 3 convolutions',
    'POTO': 'POTO',
    'POTO+3DMF': 'POTO + 3DMF',
}

#: Images in a batch and half precision, if any. The first is the paper's.
BATCHES = ((1, None), (8, None), (1, torch.float16), (8, torch.float16))


def measure(quick: bool) -> List[Row]:
    """Milliseconds per image of each detector beside FCOS's; of one image, its operations too."""
    rows = []
    for images, dtype in BATCHES if DEVICE.type == 'cuda' else BATCHES[: 2 if quick else 1]:
        rows += _compare(images, dtype, quick)
    return rows


def _compare(images: int, dtype: Optional[torch.dtype], quick: bool) -> List[Row]:
    """The rows of one size of a batch and one precision."""
    size, on_gpu = (64, 96) if quick else SIZE, DEVICE.type == 'cuda'
    passes = {method: pass_of(method, size, 20 if quick else 1000, images, dtype) for method in METHODS}
    times = in_turns(passes, repeats=1 if quick else 100, least=1 if quick else 7, enough_s=30 if on_gpu else 200)
    times = {method: 1000 * time / images for method, time in times.items()}
    first = (images, dtype) == BATCHES[0]
    counts = {method: operations(infer) for method, infer in passes.items()} if first else {}
    more = ('' if images == 1 else f', batch {images}') + (f', {str(dtype)[6:]}' if dtype else '')
    rows = []
    for method, words in METHODS.items():
        if method != 'FCOS-NMS':
            case, against = f'{words}, {size[1]} x {size[0]}{more}', 'FCOS with NMS'
            target = 0.97 if method.startswith('Ours') else None
            rows.append(Row(case, times[method], 'ms', times['FCOS-NMS'], against, at_most=target))
            if counts:
                rows.append(Row(f'{case}: operations', counts[method], 'GFLOP', counts['FCOS-NMS'], against))
    return rows


def operations(infer: Callable[[], list]) -> float:
    """Billions of floating-point operations of a pass; a multiplication and an addition are two."""
    with FlopCounterMode(display=False) as counter:
        infer()
    return counter.get_total_flops() / 1e9


def pass_of(
    method: str, size, candidates: int, images: int = 1, dtype: Optional[torch.dtype] = None
) -> Callable[[], list]:
    """A batch through the detector of a row of Table 5, in that row's reading, under autocast if there is a dtype."""
    config = config_of(method)
    config.model.type = 'FCOS'  # MMDetection's, which reads once
    if method != 'FCOS-NMS':
        config.model.test_cfg.nms = None
    model = build(config).eval()
    batch = model.data_preprocessor(scenes(images, size, 1))
    with_candidates(model, batch, candidates * images, config.model.test_cfg.score_thr)

    @torch.no_grad()
    def infer() -> list:
        with torch.autocast(DEVICE.type, dtype, enabled=dtype is not None):
            found = model.predict(batch['inputs'], batch['data_samples'])
        return [sample.pred_instances.scores.to('cpu') for sample in found]

    return infer
