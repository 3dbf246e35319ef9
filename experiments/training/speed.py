"""The speed of a table's detectors, measured in turns on this machine (ms and FPS of Table 5)."""

import contextlib
import io
import time
import uuid
from pathlib import Path
from statistics import median
from typing import Any, Callable, Dict, Iterator, List, Tuple

from experiments.spec.config import Run
from experiments.spec.paths import substitute_paths
from experiments.spec.plan import Plan
from experiments.store.configs import read_config
from experiments.store.files import read_json, write_json
from experiments.store.model import naming
from experiments.store.runs import DONE, SPEED_FILE, RunFolder

SCHEMA = 1
PREFIX = 'speed/'
#: Each detector is timed on at least this many images, and then until all detectors together took this many seconds.
LEAST_TIMES, ENOUGH_S = 5, 40.0
IMAGES = 20

Report = Callable[[int, int], None]


def lacking(plan: Plan, folders: Dict[str, RunFolder]) -> Dict[str, Run]:
    """The finished runs of each seed of a table that shows speeds, if any of them was not timed with the others.

    Args:
        plan (Plan): the table.
        folders (dict): folder of each run by its id.
    """
    shown = [
        planned
        for planned in plan.cells
        if any(key.startswith(PREFIX) for keys in planned.cell.keys.values() for key in keys)
    ]
    found: Dict[str, Run] = {}
    for seed in dict.fromkeys(seed for planned in shown for seed in planned.runs):
        runs = {planned.runs[seed].id: planned.runs[seed] for planned in shown if seed in planned.runs}
        timed = {
            run_id: read_json(folders[run_id].path / SPEED_FILE)
            for run_id in runs
            if folders[run_id].status().state == DONE and folders[run_id].checkpoint() is not None
        }
        if None in timed.values() or len({speed.get('sitting') for speed in timed.values()}) > 1:
            found.update({run_id: runs[run_id] for run_id in timed})
    return found


def measure(folders: Dict[str, str], where: Dict[str, Dict[str, str]], report: Report) -> None:
    """Time the detectors of finished runs, image by image in turns, and write ``speed.json`` into their folders.

    A pass is one image at the size of the run's test pipeline. ``forward`` is the network, the decoding of boxes and,
    without NMS, the cut to the best candidates. ``NMS`` is non-maximum suppression with its cut, and 0 without NMS.
    Neither includes reading the image from disk. On a CPU one thread computes.

    Args:
        folders (dict): folder of each run by its id; it has the config and the final checkpoint.
        where (dict): folders for the config's placeholders, by run id.
        report (callable): called with (passes done, passes expected).

    Raises:
        OSError, UserError: a file cannot be read or written, or a checkpoint does not fit its config.
    """
    import torch

    torch.set_num_threads(1)
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools and mmengine print what they read
        detectors = {run_id: _Detector(Path(path), where[run_id]) for run_id, path in folders.items()}
    passes: Dict[str, List[Tuple[float, float, float]]] = {run_id: [] for run_id in detectors}
    for detector in detectors.values():
        detector.time_pass(0)  # warm-up: the first pass allocates memory
    begin = time.monotonic()
    for turn in range(LEAST_TIMES * 40):
        spent = time.monotonic() - begin
        if turn >= LEAST_TIMES and spent > ENOUGH_S:
            break
        report(min(turn, LEAST_TIMES * 40 - 1), LEAST_TIMES * 40)
        for run_id, detector in detectors.items():
            passes[run_id].append(detector.time_pass(turn))
    sitting = uuid.uuid4().hex
    for run_id, path in folders.items():
        _write(Path(path), run_id, sitting, detectors[run_id].image_size, passes[run_id])


class _Detector:
    """A finished run's detector with a few of its test images, ready to be timed."""

    def __init__(self, folder: Path, where: Dict[str, str]) -> None:
        import torch
        from mmengine.config import Config

        from experiments.training.evaluate import load_detector

        run = RunFolder(folder)
        with naming(run.config):
            config = read_config(run.config)
        checkpoint = run.checkpoint()
        if checkpoint is None:
            raise FileNotFoundError(f'{folder} has no checkpoint')
        self.device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
        self.model = load_detector(config, checkpoint)
        self.batches = list(self._batches(Config(substitute_paths(config, where))))
        self.image_size = list(self.batches[0]['inputs'].shape[-2:])

    def _batches(self, config: Any) -> Iterator[dict]:
        from mmdet.registry import DATASETS

        dataset = DATASETS.build(config.val_dataloader.dataset)
        for index in range(min(IMAGES, len(dataset))):
            item = dataset[index]
            batch = dict(inputs=[item['inputs']], data_samples=[item['data_samples']])
            yield self.model.data_preprocessor(batch, False)

    def time_pass(self, turn: int) -> Tuple[float, float, float]:
        """Milliseconds for one image: network and decoding, the cut without NMS, and NMS with its cut."""
        import torch

        from o2f.models import postprocess

        batch, test = self.batches[turn % len(self.batches)], self.model.test_cfg
        with torch.no_grad():
            begin = self._now()
            outputs = self.model.bbox_head(self.model.extract_feat(batch['inputs']))
            metas = [sample.metainfo for sample in batch['data_samples']]
            found = self.model.bbox_head.predict_by_feat(*outputs, batch_img_metas=metas, rescale=True, with_nms=False)
            decoded = self._now()
            postprocess.postprocess(found[0], None, test.max_per_img)
            cut = self._now()
            postprocess.postprocess(found[0], test.nms, test.max_per_img)
            end = self._now()
        return 1000 * (decoded - begin), 1000 * (cut - decoded), 1000 * (end - cut)

    def _now(self) -> float:
        import torch

        if self.device.type == 'cuda':
            torch.cuda.synchronize()
        return time.perf_counter()


def _write(
    folder: Path, run_id: str, sitting: str, image_size: List[int], passes: List[Tuple[float, float, float]]
) -> None:
    from experiments.store.provenance import provenance

    forward, cut, nms = (median(times) for times in zip(*passes))
    origin = provenance()
    readings = dict(without_nms=(forward + cut, 0.0), with_nms=(forward, nms))
    metrics = {}
    for reading, (forward_ms, nms_ms) in readings.items():
        values = dict(forward_ms=forward_ms, nms_ms=nms_ms, fps=1000 / (forward_ms + nms_ms))
        metrics.update({f'{PREFIX}{reading}/{name}': round(value, 4) for name, value in values.items()})
    write_json(
        folder / SPEED_FILE,
        dict(
            schema=SCHEMA,
            run=run_id,
            device=origin['device'],
            versions=origin['versions'],
            image=image_size,
            sitting=sitting,
            repeats=len(passes),
            metrics=metrics,
        ),
    )
