"""Writes ``golden.npz``, the numbers that the method must reproduce: ``python tests/o2f/make_golden.py``."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

import conftest  # noqa: E402, F401  o2f before any of MMDetection
import golden  # noqa: E402
import torch  # noqa: E402

if __name__ == '__main__':
    torch.set_num_threads(1)
    golden.write()
    print(f'{golden.FILE}: {len(golden.CASES)} cases, {golden.FILE.stat().st_size / 1000:.0f} kB')
