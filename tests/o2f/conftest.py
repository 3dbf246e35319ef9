"""What the tests of ``o2f`` share: helper modules beside this file, one thread, and fresh interpreters."""
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).resolve().parent

sys.path.insert(0, str(HERE))  # reference, assignment_cases and tiny_detectors are plain modules
torch.set_num_threads(1)


@pytest.fixture
def run_python(tmp_path):
    """Runs code in a fresh interpreter, away from the repository, and gives its output; a failure shows its errors."""

    def run(code: str, **environment: str) -> str:
        path = os.pathsep.join([str(HERE.parents[1]), *filter(None, [os.environ.get('PYTHONPATH')])])
        done = subprocess.run([sys.executable, '-c', code],
                              cwd=tmp_path,
                              env={**os.environ, 'PYTHONPATH': path, **environment},
                              capture_output=True,
                              text=True,
                              timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
