"""Lets the tests run from any folder and in any import mode, one thread per process."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# Folders under tests/ carry the names of the packages they test, so the packages must be found first.
sys.path.insert(0, str(ROOT))
os.environ.setdefault('OMP_NUM_THREADS', '1')
