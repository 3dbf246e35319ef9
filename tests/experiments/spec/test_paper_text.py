"""The study `paper-text`: its eight cells train with eight different losses, which differ where they are meant to."""

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.structures import InstanceData

import o2f  # noqa: F401  (registers the method)
from experiments.spec.config import resolve
from experiments.spec.table_file import load_table

CELLS = load_table('paper-text').cells
MEANT = ('selection.k_includes_certain', 'loss_cls.ambiguous_weight', 'box_weight')


def head_settings(cell):
    return resolve('desk', cell.use, cell.overrides, 0, 'paper-text').config['model']['bbox_head']


def flat(settings, prefix=''):
    """The settings by dotted key."""
    found = {}
    for key, value in settings.items():
        found |= flat(value, f'{prefix}{key}.') if isinstance(value, dict) else {f'{prefix}{key}': str(value)}
    return found


@pytest.fixture(scope='module')
def losses():
    """By cell: the anchors of an instance, and the losses of a head with the same weights on the same maps."""
    torch.manual_seed(1)
    maps = tuple(torch.randn(1, 24, 96 // stride, 96 // stride) for stride in (4, 8, 16, 32))
    box = torch.tensor([[20.0, 20.0, 70.0, 60.0]])
    found = {}
    for cell in CELLS:
        torch.manual_seed(0)
        head = MODELS.build(head_settings(cell))
        with torch.no_grad():  # boxes that overlap the instance, so that it gets all of its anchors
            head.conv_reg.bias.fill_(3)
        values = head.loss_by_feat(*head(maps), [InstanceData(bboxes=box, labels=torch.tensor([2]))], [{}])
        found[tuple(cell.at.values())] = head.selection.num_selected, values
    return found


def test_the_cells_differ_in_these_three_settings_alone():
    settings = [flat(head_settings(cell)) for cell in CELLS]
    assert {key for key in settings[0] if len({each[key] for each in settings}) > 1} == set(MEANT)
    assert len({tuple(each[key] for key in MEANT) for each in settings}) == len(CELLS) == 8


def test_each_setting_reaches_the_loss_that_it_is_about(losses):
    """K changes both losses, the weight of ambiguous anchors that of classification, the box weight that of boxes."""
    by_loss = {
        name: {at: values[name].item() for at, (_, values) in losses.items()} for name in ('loss_cls', 'loss_bbox')
    }
    for name, axes in (('loss_cls', (0, 1)), ('loss_bbox', (0, 2))):
        groups = {}
        for at, value in by_loss[name].items():
            groups.setdefault(tuple(at[axis] for axis in axes), set()).add(value)
        assert all(len(group) == 1 for group in groups.values()), name
        assert len({value for group in groups.values() for value in group}) == len(groups) == 4, name


def test_k_counts_the_certain_anchor_or_not(losses):
    for (k, *_), (anchors, values) in losses.items():
        ambiguous = 6 if k == 'released' else 7
        assert anchors == 1 + ambiguous
        assert (values['certain_anchors'].item(), values['ambiguous_anchors'].item()) == (1, ambiguous)
