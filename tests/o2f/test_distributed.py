"""Two ranks compute what one process computes on the same images: losses, gradients and metrics."""

import multiprocessing

import pytest
import torch
import two_ranks
from two_ranks import BATCHES, CONDINST, HEADS

pytestmark = pytest.mark.slow
SIZE = 2
LOGGED_ONLY = ('certain_anchors', 'ambiguous_anchors', 'ambiguous_degree')


@pytest.fixture(scope='module')
def found(tmp_path_factory):
    """By one process, and by two over Gloo: (head, batch) -> losses and gradients."""
    folder = tmp_path_factory.mktemp('ranks')
    alone = two_ranks.alone(folder)
    context = multiprocessing.get_context('spawn')
    ranks = [context.Process(target=two_ranks.rank_main, args=(rank, SIZE, str(folder))) for rank in range(SIZE)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(240)
        process.kill()  # one that waits for what never comes
    assert [process.exitcode for process in ranks] == [0, 0]
    return alone, torch.load(folder / 'found.pt')


@pytest.mark.parametrize('batch', BATCHES)
@pytest.mark.parametrize('name', [*HEADS, *CONDINST])
def test_losses_and_gradients(found, name, batch):
    """Each normaliser is a mean over ranks, so that the mean of the ranks' losses is the loss of all images."""
    # How many positives there were is logged of each rank's own images, and nothing follows from it.
    alone, together = (
        {key: value for key, value in each[name, batch].items() if key not in LOGGED_ONLY} for each in found
    )
    if batch == 'none':
        # The mean number of positives is at least 1, that of one process's whole batch too: as released.
        together = {key: value * SIZE for key, value in together.items()}
    if name == 'condinst-o2m':  # MMDetection divides the mask loss by each rank's own number of masks
        alone, together = ({key: each[key] for key in ('loss_cls', 'loss_bbox')} for each in (alone, together))
    assert set(alone) <= set(together) and len(alone) > (1 if name == 'condinst-o2m' else 30)
    for key, value in alone.items():
        scale = max(value.abs().max().item(), 1e-3)
        assert torch.allclose(together[key], value, rtol=1e-4, atol=2e-5 * scale), key
    if batch != 'none':
        assert alone['loss_bbox'] > 0 and alone['loss_cls'] > 0


def test_metrics(found):
    """Of the whole set, though five images do not divide over two ranks."""
    alone, together = (each['metrics'] for each in found)
    assert alone['without_nms/AP'] > 0 and len(alone) == 18
    assert together == pytest.approx(alone, abs=0, nan_ok=True)
