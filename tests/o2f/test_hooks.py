"""EpochHook over mmengine's own Runner: T of every epoch is Eq. 3's, also in a run that was stopped and resumed."""

import pytest
import torch


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
