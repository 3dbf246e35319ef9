"""A file of weights is read without running what is in it, in every form, and fits its model without a gap."""

import os
import pickle
from pathlib import Path

import pytest
import torch

from o2f.errors import InputError
from o2f.io.checkpoints import load_strictly, read_checkpoint


@pytest.fixture
def weights():
    return torch.nn.Sequential(torch.nn.Conv2d(2, 3, 1), torch.nn.BatchNorm2d(3)).state_dict()


@pytest.mark.parametrize(
    'wrap',
    [
        lambda weights: weights,
        lambda weights: dict(state_dict=weights, meta=dict(mmdet_version='2.25', CLASSES=('person',), epoch=12)),
        lambda weights: dict(state_dict={f'module.{name}': weight for name, weight in weights.items()}),
        lambda weights: dict(state_dict=weights, optimizer=dict(state={}, param_groups=[dict(lr=0.1, params=[0])])),
    ],
)
@pytest.mark.parametrize('zipped', [True, False])
def test_the_forms_of_a_checkpoint(weights, tmp_path, wrap, zipped):
    """Weights alone, and the files of mmcv (MMDetection 2.x) and mmengine, in torch's new and old format."""
    path = tmp_path / 'weights.pth'
    torch.save(wrap(weights), path, _use_new_zipfile_serialization=zipped)
    found = read_checkpoint(path).weights
    assert found.keys() == weights.keys() and all(torch.equal(found[name], weights[name]) for name in weights)


def test_released_names_are_converted(tmp_path):
    path = tmp_path / 'released.pth'
    names = 'bbox_head.conv_quality.weight', 'bbox_head.scales.0.scale'
    torch.save(dict(state_dict={name: torch.ones(1) for name in names}), path)
    assert set(read_checkpoint(path).weights) == {'bbox_head.conv_centerness.weight', 'bbox_head.scales.0.scale'}
    torch.save({'bbox_head.sizes_of_interest': torch.tensor([1.0, 2.0])}, path)
    with pytest.raises(InputError, match='released.pth: bbox_head.sizes_of_interest is'):
        read_checkpoint(path)


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f'touch {self.path}',)


@pytest.mark.parametrize('place', ['beside the weights', 'among the weights', 'a bare pickle'])
def test_nothing_in_a_file_is_run(weights, tmp_path, place):
    path, mark = tmp_path / 'evil.pth', tmp_path / 'it-ran'
    evil = Malicious(mark)
    if place == 'a bare pickle':
        path.write_bytes(pickle.dumps(evil, protocol=2))
    else:
        torch.save(
            dict(state_dict=weights, meta=evil) if place == 'beside the weights' else dict(weights, evil=evil), path
        )
    with pytest.raises(InputError, match='evil.pth holds posix.system, which is no weight') as caught:
        read_checkpoint(path)
    assert not mark.exists() and '\n' not in str(caught.value)
    torch.load(path, weights_only=False) if place != 'a bare pickle' else pickle.loads(path.read_bytes())
    assert mark.exists()  # it would have run


@pytest.mark.parametrize(
    'content, says',
    [
        (None, 'is missing: name a checkpoint file'),
        (b'', 'is damaged, or no checkpoint'),
        (b'PK\x03\x04 half of a zip', 'is damaged, or no checkpoint'),
        (b'hello', 'is damaged, or no checkpoint'),
        ([1, 2], "holds no weights: neither a state dict, nor one under the key 'state_dict'"),
        ({}, 'holds no weights'),
        ({'state_dict': {'a': 3}}, 'holds no weights'),
        ({'state_dict': 3}, 'holds no weights'),
        (Path, 'cannot be read: Is a directory'),
    ],
)
def test_what_is_no_checkpoint_is_named(tmp_path, content, says):
    path = tmp_path / 'file.pth'
    if content is Path:
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(InputError, match=f'file.pth ({says})') as caught:
        read_checkpoint(path)
    assert '\n' not in str(caught.value)


def test_weights_must_fit_without_a_gap():
    """What is missing, left over or of another shape is named, the first few of each, in one line."""
    model = torch.nn.Sequential(*(torch.nn.BatchNorm1d(2) for _ in range(3)))
    whole = {name: torch.ones_like(value) for name, value in model.state_dict().items()}
    without_counts = {name: value for name, value in whole.items() if 'num_batches' not in name}
    load_strictly(model, without_counts, Path('file'))
    assert all((value == 1).all() for name, value in model.state_dict().items() if name in without_counts)
    wrong = dict(without_counts, other=torch.ones(1))
    wrong['2.bias'] = torch.ones(3)
    for name in ('0.weight', '0.bias', '1.weight', '1.bias'):
        del wrong[name]
    with pytest.raises(InputError) as caught:
        load_strictly(model, wrong, Path('file'))
    assert str(caught.value) == (
        'file does not fit the model of its config: it lacks 0.weight, 0.bias, 1.weight and 1 more; '
        'it has besides other; it has other shapes: 2.bias (3,) instead of (2,)'
    )
