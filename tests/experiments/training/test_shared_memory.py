"""Loader workers where /dev/shm is as small as in a container: they would die, or their batches would be lost."""

import os
import subprocess
import sys
from pathlib import Path

from tiny_datasets import write_tiny_coco

import o2f  # noqa: F401  (before MMDetection)

ROOT = Path(__file__).resolve().parents[3]
LOADS = """
import sys
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.runner import Runner

import o2f
from experiments.spec.config import resolve
from experiments.spec.paths import data_paths, substitute_paths
from experiments.training.datasets import fit_workers

content = resolve('paper', (), {}, 0, 'test').config
config = Config(substitute_paths(content, data_paths(content, Path(sys.argv[1]))))
torchs_own = dict(ForkingPickler._extra_reducers)
fit_workers(config, 3)
loader = config.train_dataloader
loader.update(persistent_workers=False, batch_size=2, batch_sampler=None)
loader.sampler = dict(type='InfiniteSampler', shuffle=False)

def load():
    kept = []
    for batch in Runner.build_dataloader(loader, seed=0):
        kept.append(batch)  # so that their memory is not freed
        if len(kept) == 4:
            return kept

kept = load()
print(len(kept), loader.num_workers, tuple(kept[0]['inputs'][0].shape), kept[0]['inputs'][0].dtype, flush=True)
ForkingPickler.register(torch.Tensor, torchs_own[torch.Tensor])
loader.timeout = 15  # a worker that gets no shared memory drops the batch, and the loader would wait for ever
try:
    load()
except RuntimeError as error:
    print('as torch does it:', ' '.join(str(error).split()))
"""


def test_images_of_full_size_are_loaded(tmp_path, need, unmet):
    """Four batches are kept, 26 MB, where /dev/shm has 8. torch's own way fails there."""
    need('unshare')
    if os.geteuid() != 0 or subprocess.run(['unshare', '-m', 'true']).returncode:
        unmet('only root mounts a small /dev/shm')
    write_tiny_coco(tmp_path / 'coco', width=1333, height=800)
    script = 'mount -t tmpfs -o size=8m tmpfs /dev/shm && exec "$0" -c "$1" "$2"'
    command = ['unshare', '-m', 'sh', '-c', script, sys.executable, LOADS, str(tmp_path)]
    env = {**os.environ, 'PYTHONPATH': str(ROOT)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    ours, torchs = done.stdout.splitlines()[-2:]
    assert ours == '4 2 (3, 800, 1333) torch.uint8'
    assert torchs.startswith('as torch does it:')
    assert 'shared memory' in done.stderr or 'No space left' in done.stderr or 'bus error' in torchs.lower()
