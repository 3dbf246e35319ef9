"""A batch in parts is trained as the whole: losses and weights after a step, for every kind of head."""

import json
import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).resolve().parents[2] / 'o2f'))  # the tiny detectors are plain modules there
from mmengine.optim import OptimWrapper  # noqa: E402
from tiny_detectors import collate  # noqa: E402
from two_ranks import CONDINST, HEADS, images_of, make  # noqa: E402

from experiments.training.batch import Divisors, split, step  # noqa: E402


def optim(model, **kwargs):
    """Steps by the gradient itself, so that weights tell it."""
    return OptimWrapper(torch.optim.SGD(model.parameters(), lr=1.0), **kwargs)


def after(name, train, batch='some on all'):
    """Losses of a step, and what it changed of each weight."""
    model = make(name)
    before = {key: value.clone() for key, value in model.named_parameters()}
    losses = train(model, collate(images_of(name, batch)))
    return losses, {key: (value - before[key]).detach() for key, value in model.named_parameters()}


def whole(model, data):
    return model.train_step(data, optim(model))


def in_parts(parts):
    return lambda model, data: step(model, optim(model), data, parts, Divisors())


def off(one, other):
    """The largest difference of a weight's change, by the largest change of that weight."""
    return max(((one[key] - other[key]).abs().max() / one[key].abs().max().clamp(min=1e-3)).item() for key in one)


@pytest.mark.parametrize('parts', [2, 3])
@pytest.mark.parametrize('name', [*HEADS, *CONDINST])
def test_parts_make_the_same_step_as_the_whole(name, parts):
    torch.manual_seed(0)
    expected, changes = after(name, whole)
    losses, mine = after(name, in_parts(parts))
    if name == 'condinst-o2m':  # MMDetection divides its mask loss by each part's own number of masks
        assert losses['loss_cls'].item() == pytest.approx(expected['loss_cls'].item(), rel=1e-4)
        return
    assert off(changes, mine) < 1e-3
    for key in (key for key in expected if 'loss' in key):
        assert losses[key].item() == pytest.approx(expected[key].item(), rel=1e-4), key


@pytest.mark.parametrize('batch', ['none on rank 0', 'none on rank 1'])
def test_parts_without_instances(batch):
    """Images 0 and 2, or 1 and 3, are empty; in four parts, every other part is."""
    _, changes = after('ours', whole, batch)
    _, mine = after('ours', in_parts(4), batch)
    assert off(changes, mine) < 1e-3


def test_more_parts_than_images_and_their_sizes():
    model = make('ours')
    batch = model.data_preprocessor(collate(images_of('ours', 'some on all')), True)
    assert [len(part['data_samples']) for part in split(batch, 3)] == [1, 1, 2]
    assert [len(part['inputs']) for part in split(batch, 99)] == [1, 1, 1, 1]


def test_adding_up_losses_of_parts_as_mmengine_does_is_another_step():
    """The reason for all of this: where one part has all instances its loss counts half."""

    def naive(model, data):
        wrapper = optim(model, accumulative_counts=2)
        for part in (slice(0, 1), slice(1, 4)):
            model.train_step({key: value[part] for key, value in data.items()}, wrapper)

    _, changes = after('ours', whole)
    _, theirs = after('ours', naive)
    assert off(changes, theirs) > 0.05


def test_random_numbers_and_statistics_are_taken_once():
    """Norm layers that take the statistics of a batch take them of each part, once."""
    updates = []
    for parts in (1, 2):
        model = make('ours').train()
        norm = next(module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d))
        norm.train()
        torch.manual_seed(3)
        step(model, optim(model), collate(images_of('ours', 'some on all')), parts, Divisors())
        updates.append(int(norm.num_batches_tracked))
    assert updates == [1, 2]


@pytest.mark.slow
def test_the_command(suite, finished):
    """The same run, with the losses that it has without parts."""
    cells = ('table1', '--only', 'la=one-to-one', '--profile', 'smoke')
    suite.run(*cells, '--accumulate', '4', check=0)
    [folder] = suite.folders()
    assert json.loads((folder / 'result.json').read_text())['provenance']['parts'] == 4
    mine, theirs = (
        json.loads((runs / 'smoke' / folder.name / 'metrics.json').read_text())['epochs'][0]['losses']
        for runs in (suite.runs, finished.runs)
    )
    assert mine == pytest.approx(theirs, rel=1e-3)
