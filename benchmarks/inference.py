"""Inference at batch 1, decoding included, beside MMDetection's FCOS with its NMS.

Each detector runs its own ``predict``; one-to-few and POTO without NMS. The weights are random, so the bias of the
scores is shifted for all detectors until 1000 scores are above the threshold of 0.05. The paper has 28.4 ms for FCOS
with NMS against 28.2 ms on a V100 (Table 5). The floating-point operations of the same passes, counted by torch, say
what the extra convolutions must cost where only arithmetic counts.
"""

from typing import Callable, List

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.detectors import SIZE, build, config_of, scenes, with_candidates
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


def measure(quick: bool) -> List[Row]:
    """Milliseconds per image of each detector beside FCOS's."""
    size = (64, 96) if quick else SIZE
    passes = {method: pass_of(method, size, 20 if quick else 1000) for method in METHODS}
    times = in_turns(passes, repeats=1 if quick else 100, least=1 if quick else 7, enough_s=200)
    fcos = 1000 * times['FCOS-NMS']
    counts = {method: operations(infer) for method, infer in passes.items()}
    rows = []
    for method, words in METHODS.items():
        if method != 'FCOS-NMS':
            case, against = f'{words}, {size[1]} x {size[0]}', 'FCOS with NMS'
            target = 0.97 if method.startswith('Ours') else None
            rows.append(Row(case, 1000 * times[method], 'ms', fcos, against, at_most=target))
            rows.append(Row(f'{case}: operations', counts[method], 'GFLOP', counts['FCOS-NMS'], against))
    return rows


def operations(infer: Callable[[], list]) -> float:
    """Billions of floating-point operations of a pass; a multiplication and an addition are two."""
    with FlopCounterMode(display=False) as counter:
        infer()
    return counter.get_total_flops() / 1e9


def pass_of(method: str, size, candidates: int) -> Callable[[], list]:
    """One image through the detector of a row of Table 5, in that row's reading."""
    config = config_of(method)
    config.model.type = 'FCOS'  # MMDetection's, which reads once
    if method != 'FCOS-NMS':
        config.model.test_cfg.nms = None
    model = build(config).eval()
    batch = model.data_preprocessor(scenes(1, size, 1))
    with_candidates(model, batch, candidates, config.model.test_cfg.score_thr)

    @torch.no_grad()
    def infer() -> list:
        found = model.predict(batch['inputs'], batch['data_samples'])
        return [sample.pred_instances.scores.to('cpu') for sample in found]

    return infer
