"""The suite's own commands on a GPU: ``python -m pytest -m gpu``."""

import json

import pytest

pytestmark = pytest.mark.gpu


def test_table_3_of_the_smoke_profile_trains_on_the_gpu(gpu, suite):
    """Sixteen trainings, evaluated and printed; their results name the GPU."""
    import torch

    done = suite.run('table3', '--profile', 'smoke', check=0)
    assert 'T^max' in done.stdout
    folders = suite.folders()
    assert len(folders) == 16
    for folder in folders:
        result = json.loads((folder / 'result.json').read_text())
        assert result['provenance']['device'] == torch.cuda.get_device_name()
