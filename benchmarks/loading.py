"""Data loading at paper scale: images per second of the training pipeline on one core, and the cores that a GPU needs.

The images have COCO's usual size, 640 x 480 and about 160 kB as JPEG. They go through the training pipeline of the
paper profile (read, boxes, resize to 1333 x 800, flip, pack) and are collated to batches of two. On a GPU, training is
timed with 2, 4 and 8 workers beside steps on a batch that is there already: the GPU is busy where the two are equal.
"""

import contextlib
import io
import json
import tempfile
from pathlib import Path
from typing import Iterable, Iterator, List

import cv2
import numpy as np
from mmengine.optim import build_optim_wrapper

from benchmarks.detectors import DEVICE, SIZE, build, config_of, scenes
from benchmarks.rows import Row
from benchmarks.timing import seconds
from experiments.machine import cores

#: Images per second of one GPU for which cores are counted. The middle one is the order of a ResNet-50 FCOS in mixed
#: precision on a GPU of the H100's class; the step time itself is in the benchmark ``step`` where a GPU was at hand.
SPEEDS = (20, 40, 80)


def measure(quick: bool) -> List[Row]:
    """Milliseconds per image in the process that asks, and through two workers."""
    cv2.setNumThreads(0)  # as mmengine's runner does, so that a process takes one core
    count = 8 if quick else 200
    with tempfile.TemporaryDirectory() as folder:
        write_coco(Path(folder), count)
        numbers = [number for number in (0, 2, 4, 8) if number <= max(cores(), 2)]
        times = {workers: _seconds_of(loader(Path(folder), workers)) / count for workers in numbers}
        trained = list(_training(Path(folder), numbers[1:], count)) if DEVICE.type == 'cuda' else []
    rate = 1 / times.pop(0)
    rows = [Row('training pipeline, one core', 1000 / rate, 'ms/image', note=f'{rate:.1f} images/s')]
    for workers, time in times.items():
        rows.append(Row(f'the same by {workers} workers', 1000 * time, 'ms/image', note=f'{1 / time:.1f} images/s'))
    rows += [Row(f'cores for a GPU that trains {speed} images/s', speed / rate, 'cores') for speed in SPEEDS]
    return rows + trained


def _training(folder: Path, numbers: List[int], count: int) -> Iterator[Row]:
    """Training on the GPU in mixed precision, with images loaded by so many workers and with a batch that is there."""
    config = config_of('Ours-3convs')
    config.optim_wrapper.update(type='AmpOptimWrapper', dtype='bfloat16')
    model = build(config).train()
    optim = build_optim_wrapper(model, config.optim_wrapper)
    for group in optim.param_groups:
        group['lr'] = 0.0
    there = scenes(2, SIZE, 7)
    busy = seconds(lambda: [model.train_step(there, optim) for _ in range(count // 2)]) / count
    for workers in numbers:
        batches = loader(folder, workers)
        list(batches)  # the workers start, and files are in the cache of the system
        loaded = seconds(lambda batches=batches: [model.train_step(batch, optim) for batch in batches]) / count
        note = f'{1 / loaded:.1f} images/s'
        yield Row(
            f'training with {workers} workers',
            1000 * loaded,
            'ms/image',
            1000 * busy,
            'a batch that is there',
            at_most=1.05,
            note=note,
        )


def loader(folder: Path, workers: int):
    """The paper profile's training loader over the images in ``folder``."""
    from mmengine.runner import Runner

    config = config_of('Ours-3convs').train_dataloader
    config.update(num_workers=workers, persistent_workers=workers > 0, batch_size=2)  # as on each of eight GPUs
    config.update(pin_memory=DEVICE.type == 'cuda')
    config.dataset.update(data_root=str(folder) + '/')
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools tells what it reads
        return Runner.build_dataloader(config, seed=0)


def _seconds_of(batches: Iterable) -> float:
    return seconds(lambda: [None for _ in batches])


def write_coco(folder: Path, count: int) -> None:
    """Write ``count`` images of 640 x 480 with seven boxes each where the paper profile looks for COCO's."""
    generator = np.random.default_rng(0)
    (folder / 'train2017').mkdir()
    (folder / 'annotations').mkdir()
    images, annotations = [], []
    for index in range(count):
        coarse = generator.integers(0, 256, (60, 80, 3), dtype=np.uint8)
        noise = generator.normal(0, 14, (480, 640, 3))
        picture = np.clip(cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC) + noise, 0, 255)
        name = f'{index:012d}.jpg'
        cv2.imwrite(str(folder / 'train2017' / name), picture.astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 90])
        images.append(dict(id=index, file_name=name, height=480, width=640))
        for _ in range(7):
            x, y, w, h = (int(value) for value in generator.integers((0, 0, 40, 40), (500, 380, 140, 100)))
            annotations.append(
                dict(id=len(annotations) + 1, image_id=index, category_id=1, bbox=[x, y, w, h], area=w * h, iscrowd=0)
            )
    classes = config_of('Ours-3convs').model.bbox_head.num_classes
    from mmdet.datasets import CocoDataset

    names = CocoDataset.METAINFO['classes']
    assert len(names) == classes
    categories = [dict(id=number, name=name) for number, name in enumerate(names, 1)]
    content = dict(images=images, annotations=annotations, categories=categories)
    (folder / 'annotations' / 'instances_train2017.json').write_text(json.dumps(content), encoding='utf-8')
