"""mmengine's own checkpoints load under torch's safe loading, and nothing else does."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.logging import history_buffer as history_buffer_module

import o2f  # noqa: F401 - the import is what is tested


class Call:
    """Pickles as a call of ``function``, and then ``result[key] = value`` for each item."""

    def __init__(self, function, *args, **items) -> None:
        self.reduced = function, args, None, None, iter(items.items())

    def __reduce__(self):
        return self.reduced


@pytest.fixture
def loaded(tmp_path):
    """Saves and loads an object with torch's defaults; ``rename`` replaces a module's name in the pickle."""

    def save_and_load(thing, rename=None):
        path = tmp_path / 'checkpoint.pth'
        torch.save(thing, path, _use_new_zipfile_serialization=False)
        if rename:
            old, new = (name.encode() for name in rename)
            assert old in path.read_bytes() or new in path.read_bytes()
            path.write_bytes(path.read_bytes().replace(old, new))
        return torch.load(path)

    return save_and_load


def test_a_real_checkpoint_loads(runs):
    """Weights, optimizer, schedulers and the log buffers of a run with validation are what full unpickling gives."""
    path = runs['folder'] / 'epoch_2.pth'
    safe, full = torch.load(path), torch.load(path, weights_only=False)
    assert set(safe) == set(full) >= {'meta', 'state_dict', 'message_hub', 'optimizer', 'param_schedulers'}
    buffers, expected = (checkpoint['message_hub']['log_scalars'] for checkpoint in (safe, full))
    assert {'train/loss_cls', 'val/without_nms/AP', 'val/with_nms/AP'} <= set(buffers) == set(expected)
    for name, buffer in buffers.items():
        assert isinstance(buffer, HistoryBuffer)
        assert all(np.array_equal(*pair, equal_nan=True) for pair in zip(buffer.data, expected[name].data)), name
        assert np.array_equal(buffer.mean(), expected[name].statistics('mean'), equal_nan=True)
    assert (safe['meta']['epoch'], safe['meta']['iter']) == (2, 4)
    assert all(torch.equal(tensor, full['state_dict'][name]) for name, tensor in safe['state_dict'].items())
    assert safe['optimizer']['state'].keys() == full['optimizer']['state'].keys()
    assert safe['param_schedulers'] == full['param_schedulers']


@pytest.mark.slow
def test_the_import_alone_makes_it_load(runs, run_python):
    """In a fresh process torch refuses the checkpoint before ``import o2f`` and takes it afterwards."""
    path = next(Path(runs['folder']).glob('best_*.pth'))
    code = f"""
import pickle, torch
import mmengine.logging
try:
    torch.load({str(path)!r})
except pickle.UnpicklingError:
    print('refused')
import o2f
print(torch.load({str(path)!r})['meta']['epoch'] in (1, 2, 3))
"""
    assert run_python(code).split()[-2:] == ['refused', 'True']


@pytest.mark.parametrize(
    'value', [np.float32(1.5), np.float64(2.5), np.int32(3), np.int64(-4), np.bool_(True)], ids=repr
)
@pytest.mark.parametrize('module', ['numpy.core', 'numpy._core'])
def test_numpy_values_of_both_major_versions(value, module, loaded):
    """Scalars and arrays, under the module's name in NumPy 1 and in NumPy 2."""
    current = np.ones(1).__reduce__()[0].__module__.rsplit('.', 1)[0]
    rename = (f'{current}.multiarray', f'{module}.multiarray')
    scalar = loaded(value, rename)
    assert scalar == value and scalar.dtype == value.dtype
    array = loaded(np.array([value, value]), rename)
    assert array.tolist() == [value, value] and array.dtype == value.dtype


def test_a_history_buffer_keeps_its_statistics(loaded):
    buffer = loaded(HistoryBuffer([1.0, 2.0, 6.0], [1, 1, 1]))
    assert [buffer.statistics(name) for name in ('mean', 'max', 'min', 'current')] == [3, 6, 1, 6]


@pytest.mark.parametrize(
    'thing',
    [
        Call(os.system, 'true'),
        Call(eval, '1'),
        Call(np.load, 'file'),
        Call(setattr, HistoryBuffer, 'name', 1),
        Path('somewhere'),
    ],
    ids=['os.system', 'eval', 'numpy.load', 'setattr', 'pathlib'],
)
def test_other_globals_are_refused(thing, loaded):
    """Only what mmengine saves was allowed."""
    with pytest.raises(pickle.UnpicklingError):
        loaded(thing)


@pytest.mark.parametrize(
    'thing',
    [
        Call(getattr, HistoryBuffer.max, '__globals__'),
        Call(getattr, getattr, '__self__'),
        Call(getattr, HistoryBuffer, '__init__'),
        Call(getattr, torch.Size, '__mro__'),
        Call(getattr, torch.Tensor, 'max'),
    ],
    ids=['globals of a module', 'builtins', 'a constructor', 'base classes', 'the same name of another'],
)
def test_attributes_of_other_things_are_refused(thing, loaded):
    """HistoryBuffer pickles four of its methods by getattr; getattr of anything else is a way out of safe loading."""
    with pytest.raises(pickle.UnpicklingError):
        loaded(thing)


def test_a_checkpoint_cannot_run_code(loaded, tmp_path):
    """The way out, walked to its end: put eval in the place of the ``len`` that HistoryBuffer's constructor calls."""
    code = f'open({str(tmp_path / "executed")!r}, "w").close()'
    evaluate = Call(getattr, Call(getattr, getattr, '__self__'), 'eval')
    attack = [Call(getattr, HistoryBuffer.__init__, '__globals__', len=evaluate), Call(HistoryBuffer, code, code)]
    try:
        loaded(attack)
    except Exception as error:
        refusal = error
    else:
        refusal = None
    finally:
        vars(history_buffer_module).pop('len', None)
    assert not (tmp_path / 'executed').exists()
    assert isinstance(refusal, pickle.UnpicklingError)
