"""Loader workers where /dev/shm is as small as in a container: they would die of a bus error."""

import os
import subprocess
import sys
from pathlib import Path

from tiny_datasets import write_tiny_coco

import o2f  # noqa: F401  (before MMDetection)

ROOT = Path(__file__).resolve().parents[3]
LOADS = """
import sys
from mmengine.config import Config
from mmengine.runner import Runner
import o2f
from experiments.spec.config import resolve
from experiments.spec.paths import data_paths, substitute_paths
from experiments.training.datasets import fit_workers
from pathlib import Path

settings = {'train_dataloader.num_workers': 2}
content = resolve('paper', (), settings, 0, 'test').config
config = Config(substitute_paths(content, data_paths(content, Path(sys.argv[1]))))
if sys.argv[2] == 'fitted':
    fit_workers(config, 3)
loader = config.train_dataloader
loader.update(num_workers=2, persistent_workers=False, batch_size=2)
loader.sampler = dict(type='InfiniteSampler', shuffle=False)
loader.batch_sampler = None
kept = []
for number, batch in enumerate(Runner.build_dataloader(loader, seed=0)):
    kept.append(batch)
    if number == 3:
        break
print(len(kept), tuple(kept[0]['inputs'][0].shape), kept[0]['inputs'][0].dtype)
"""


def load(folder, how):
    script = 'mount -t tmpfs -o size=8m tmpfs /dev/shm && exec "$0" -c "$1" "$2" "$3"'
    command = ['unshare', '-m', 'sh', '-c', script, sys.executable, LOADS, str(folder), how]
    env = {**os.environ, 'PYTHONPATH': str(ROOT)}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)


def test_images_of_full_size_are_loaded(tmp_path, need, unmet):
    """Four batches are kept, 26 MB, where /dev/shm has 8."""
    need('unshare')
    if os.geteuid() != 0 or subprocess.run(['unshare', '-m', 'true']).returncode:
        unmet('only root mounts a small /dev/shm')
    write_tiny_coco(tmp_path / 'coco', width=1333, height=800)
    done = load(tmp_path, 'fitted')
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == '4 (3, 800, 1333) torch.uint8', done.stderr[-2000:]
    plain = load(tmp_path, 'plain')
    assert plain.returncode != 0 and ('bus error' in plain.stderr or 'shared memory' in plain.stderr)
