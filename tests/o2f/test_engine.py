"""EpochHook over mmengine's own Runner: T of every epoch is Eq. 3's, also in a run that was stopped and resumed."""

from types import SimpleNamespace

import pytest
import torch
from tiny_detectors import fcos_head_config, head_config, make_detector, train
from torch.nn import DataParallel

from o2f.engine import EpochHook


def eq_3(epoch: int, epochs: int = 3, t_max: float = 0.6, t_min: float = 0.2) -> float:
    return (t_min - t_max) / (epochs - 1) * epoch + t_max


def expected(*epochs: int) -> list:
    """(epoch, T) of the two iterations of each epoch."""
    return [(epoch, pytest.approx(eq_3(epoch), abs=1e-15)) for epoch in epochs for _ in range(2)]


def test_t_of_every_epoch(runs):
    """T^max in the first epoch, the middle, T^min in the last."""
    assert runs['whole'][0] == expected(0, 1, 2)


def test_a_resumed_run_goes_on_with_the_right_t(runs):
    """Stopped after two epochs, the third has T^min, not T^max."""
    assert runs['stopped'][0] == expected(0, 1)
    assert runs['resumed'][0] == expected(2)


def test_a_resumed_run_ends_with_the_same_weights(runs):
    """Nothing is lost with the process: the interrupted training ends where the other does, bit for bit."""
    whole, stopped, resumed = (runs[name][1] for name in ('whole', 'stopped', 'resumed'))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert not all(torch.equal(stopped[name], resumed[name]) for name in whole)


def test_a_head_without_epochs_is_left_alone(tmp_path):
    """MMDetection's own FCOS head knows no epochs, and trains under the hook all the same."""
    head = fcos_head_config()
    seen, weights = train(tmp_path / 'run', head=head, note=lambda head: hasattr(head, 'set_epoch'))
    assert seen == [(epoch, False) for epoch in (0, 1, 2) for _ in range(2)]
    assert any(name.startswith('bbox_head.conv_centerness') for name in weights)


def test_a_detector_within_another():
    """As in MMDetection's semi-supervised detectors, which have two."""
    both = torch.nn.ModuleDict(dict(teacher=make_detector(), student=make_detector()))
    EpochHook().before_train_epoch(SimpleNamespace(model=both, epoch=2, max_epochs=3))
    assert [model.bbox_head.degrees.t for model in both.values()] == [pytest.approx(0.2)] * 2


def test_a_wrapped_model():
    """The head is found inside of what distributed training wraps the model in; it is told the epoch and their number,
    and tells its selections and its degrees."""
    hybrid = dict(type='HybridEpochSelection', one_to_many=dict(type='OneToFewSelection', k=10), switch=0.5)
    head = head_config(selection=hybrid, auxiliary=hybrid)
    model = make_detector(head=head)
    for epoch, t in ((0, 0.6), (2, 0.2), (1, 0.4)):
        EpochHook().before_train_epoch(SimpleNamespace(model=DataParallel(model), epoch=epoch, max_epochs=3))
        assert model.bbox_head.degrees.t == pytest.approx(t)
        for selection in (model.bbox_head.selection, model.bbox_head.auxiliary):
            assert selection.active.num_selected == (1 if epoch == 2 else 10)
