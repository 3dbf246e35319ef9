"""The second branch: what it trains, what it leaves alone, and that inference does not know it."""

import math

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from tiny_detectors import METAS, POTO, collate, detector_config, head_config, make_images, random_maps, train, truth_of

from o2f.models.detectors import detect_with_second
from o2f.models.head import OneToFewHead

TOP_10 = dict(
    selection=dict(type='OneToFewSelection', k=10),
    degrees=dict(type='ConstantDegrees', t=1.0),
    loss_cls=dict(type='OneToFewLoss', ambiguous_weight=1.0),
)
FOCAL = dict(positive_weight=0.25, positive_gamma=2.0, negative_weight=0.75, gamma=2.0)
ATSS = dict(type='QualityATSSSelection', topk=9)
SHARED = ('cls_convs', 'reg_convs')
OUTPUT = ('conv_cls', 'conv_reg', 'conv_centerness', 'centerness_convs', 'scales')


def head_with(seed: int = 0, second=None, **changes) -> OneToFewHead:
    """A head with random weights that predicts scores all over 0 to 1."""
    torch.manual_seed(seed)
    head = MODELS.build(head_config(second=None if second is None else {**TOP_10, **second}, **changes))
    with torch.no_grad():
        for name, parameter in head.named_parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.3)
            if name.endswith('conv_reg.bias'):
                parameter.fill_(1)
    return head


def samples(name: str = 'all') -> list:
    found = []
    for truth, meta in zip(truth_of(name), METAS):
        sample = DetDataSample(metainfo=meta)
        sample.gt_instances = sample.ignored_instances = truth
        found.append(sample)
    return found


def trained_by(head, maps, of: str) -> set:
    """The layers, and 'maps', that get a gradient from the losses of one branch, 'second' or 'main'."""
    maps = [map_.requires_grad_() for map_ in maps]
    for tensor in (*head.parameters(), *maps):
        tensor.grad = None
    losses = head.loss(maps, samples())
    sum(
        loss for name, loss in losses.items() if 'loss' in name and name.startswith('second_') == (of == 'second')
    ).backward()
    found = {
        name.removeprefix('second.').split('.')[0] if not name.startswith('second.') else 'second.' + name.split('.')[1]
        for name, parameter in head.named_parameters()
        if parameter.grad is not None and parameter.grad.any()
    }
    return found | ({'maps'} if any(map_.grad is not None and map_.grad.any() for map_ in maps) else set())


MINE = {*SHARED, *OUTPUT}
ITS = {f'second.{name}' for name in OUTPUT}
ITS_TOWERS = {f'second.{name}' for name in SHARED}


@pytest.mark.parametrize(
    ('second', 'main', 'other'),
    [
        (dict(), {'maps', *MINE}, {'maps', *SHARED, *ITS}),
        (dict(stop_gradient='main'), {*OUTPUT}, {'maps', *SHARED, *ITS}),
        (dict(stop_gradient='second'), {'maps', *MINE}, ITS),
        (dict(shares='neck'), {'maps', *MINE}, {'maps', *ITS, *ITS_TOWERS}),
        (dict(shares='neck', stop_gradient='main'), MINE, {'maps', *ITS, *ITS_TOWERS}),
        (dict(shares='predictors'), {'maps', *MINE}, {'maps', *MINE}),
    ],
)
def test_which_layers_each_branch_trains(second, main, other):
    head = head_with(second=second)
    assert trained_by(head, random_maps(), 'main') == main
    assert trained_by(head, random_maps(), 'second') == other


@pytest.mark.parametrize('shares', ['towers', 'neck', 'predictors'])
def test_the_main_branch_is_as_without_a_second(shares):
    """Equal weights give equal outputs, losses of the main branch and detections."""
    both, alone = head_with(second=dict(shares=shares)), head_with()
    alone.load_state_dict({name: value for name, value in both.state_dict().items() if not name.startswith('second.')})
    for found, expected in zip(both(random_maps()), alone(random_maps())):
        assert all(torch.equal(*maps) for maps in zip(found, expected))
    found, expected = (head.loss(random_maps(), samples()) for head in (both, alone))
    assert {name for name in found if not name.startswith('second_')} == set(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert {name for name in found if name.startswith('second_')} == {'second_loss_cls', 'second_loss_bbox'}


def test_its_losses_are_those_of_a_head_of_its_own():
    """With towers of its own, it is a head with the second branch's settings and weights."""
    both = head_with(second=dict(shares='neck'))
    alone = MODELS.build(head_config(**TOP_10))
    state = both.state_dict()
    alone.load_state_dict({name.removeprefix('second.'): state[name] for name in state if name.startswith('second.')})
    found, expected = (head.loss(random_maps(), samples()) for head in (both, alone))
    for name in ('loss_cls', 'loss_bbox'):
        assert torch.equal(found[f'second_{name}'], expected[name])
        assert not torch.equal(found[name], expected[name])


@pytest.mark.parametrize('factor', ['centerness', '3dmf', 'none'])
@pytest.mark.parametrize('selection', [ATSS, dict(type='OneToFewSelection', k=9, radius=None)])
def test_defcns_auxiliary_loss_is_a_case_of_it(selection, factor):
    """Same predictors, the classification score alone, focal loss, no box loss: equal loss and gradients."""
    settings = {**POTO, 'score_factor': factor}
    loss_cls = dict(type='OneToFewLoss', **FOCAL)
    branch = dict(
        shares='predictors',
        score_factor='none',
        selection=selection,
        loss_cls={**loss_cls, 'ambiguous_weight': 0.25},
        loss_bbox=dict(type='GIoULoss', loss_weight=0.0),
    )
    one, other = head_with(auxiliary=selection, **settings), head_with(second=branch, **settings)
    other.load_state_dict(one.state_dict())
    expected = one.loss_by_feat(*one(random_maps()), truth_of('all'), METAS)['loss_aux']
    losses = other.loss(random_maps(), samples())
    assert losses['second_loss_bbox'].item() == 0
    torch.testing.assert_close(losses['second_loss_cls'], expected, rtol=1e-5, atol=0)
    expected.backward()
    losses['second_loss_cls'].backward()
    for (name, mine), its in zip(one.named_parameters(), other.parameters()):
        assert (mine.grad is None) == (its.grad is None), name
        if mine.grad is not None:
            torch.testing.assert_close(mine.grad, its.grad, rtol=1e-4, atol=1e-6)


def test_weights_by_epoch():
    """Both branches' losses are multiplied by the epoch's weights, and the counts in the log are not."""
    weights = dict(weight=dict(first=1.6, last=0.2), main_weight=dict(first=0.4, last=1.8))
    weighted, plain = head_with(second=weights), head_with(second=dict())
    for epoch in (0, 4, 11):
        for head in (weighted, plain):
            head.set_epoch(epoch, 12)
        found, expected = (head.loss(random_maps(), samples()) for head in (weighted, plain))
        its, mine = 1.6 - 1.4 * epoch / 11, 0.4 + 1.4 * epoch / 11
        assert (its + mine) == pytest.approx(2)
        for name, loss in expected.items():
            factor = 1 if 'loss' not in name else its if name.startswith('second_') else mine
            assert found[name].item() == pytest.approx(factor * loss.item(), rel=1e-6), name


def test_the_parts_of_the_second_branch_hear_of_the_epoch():
    head = head_with(second=dict(degrees=dict(type='LinearDegrees', t_max=1.0, t_min=0.0)))
    head.set_epoch(6, 12)
    assert head.second.degrees.t == pytest.approx(5 / 11) and head.degrees.t == pytest.approx(0.6 - 0.4 * 6 / 11)


def test_it_has_the_settings_of_the_head_but_its_own():
    settings = dict(
        selection=dict(type='OneToFewSelection', k=4, alpha=0.6, radius=None),
        degrees=dict(type='ConstantDegrees', t=0.3),
        loss_cls=dict(type='OneToFewLoss', ambiguous_weight=1.0, gamma=0.0),
        normaliser='degrees',
    )
    second = MODELS.build(head_config(**settings, second=dict(degrees=dict(type='ConstantDegrees', t=1.0)))).second
    assert (second.selection.num_selected, second.selection.alpha, second.selection.radius) == (4, 0.6, None)
    assert (second.loss_cls.gamma, second.normaliser, second.degrees.t) == (0.0, 'degrees', 1.0)


@pytest.mark.parametrize('name', ['all', 'one_empty', 'all_empty', 'without_area', 'outside'])
@pytest.mark.parametrize(
    'settings',
    [
        dict(second=TOP_10),
        dict(second={**TOP_10, 'shares': 'neck', 'stop_gradient': 'main'}),
        dict(second={**TOP_10, 'loss_centerness': dict(type='CrossEntropyLoss', use_sigmoid=True)}),
        dict(loss_l1=dict(type='L1Loss', loss_weight=5.0), loss_rank=dict(type='RankingLoss')),
        dict(degrees=dict(type='QualityDegrees'), box_weight='degree', normaliser='degrees'),
        dict(
            score_factor='pss',
            loss_rank=dict(type='RankingLoss'),
            second=dict(
                TOP_10,
                shares='predictors',
                loss_centerness=dict(type='CrossEntropyLoss', use_sigmoid=True),
            ),
        ),
    ],
    ids=['towers', 'neck', 'centerness', 'l1-and-rank', 'quality', 'pss'],
)
def test_every_parameter_gets_a_gradient(settings, name):
    """Whatever is in the images; losses and gradients are finite. So several processes never wait for a parameter."""
    head = head_with(**settings)
    losses = head.loss(random_maps(), samples(name))
    assert all(loss.isfinite() for loss in losses.values())
    sum(loss for key, loss in losses.items() if 'loss' in key).backward()
    for parameter_name, parameter in head.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), parameter_name


@pytest.mark.parametrize(
    ('second', 'says'),
    [
        (dict(shares='all'), "second: shares must be 'neck', 'towers' or 'predictors', not 'all'"),
        (dict(stop_gradient='both'), "second: stop_gradient must be 'none', 'main' or 'second', not 'both'"),
        (dict(weight=-1), 'second: weight must be 0 or more, not -1'),
        (dict(second=TOP_10), 'second: a second branch has no second branch of its own'),
        (
            dict(shares='predictors', score_factor='3dmf'),
            "with shares='predictors', score_factor must be 'centerness' or 'none', not '3dmf'",
        ),
    ],
)
def test_bad_settings_are_named(second, says):
    with pytest.raises(ValueError, match=says):
        head_with(second=second)


@pytest.mark.parametrize('second', [None, dict(shares='towers')])
def test_pss_needs_a_branch_that_trains_the_other_scores(second):
    with pytest.raises(ValueError, match="score_factor='pss' needs a second branch with shares='predictors'"):
        head_with(score_factor='pss', second=second)


def test_inference_leaves_it_out():
    """A detector with a second branch runs no layer of it, and detects what the single-branch one detects."""
    torch.manual_seed(0)
    model = MODELS.build(detector_config(head=head_config(second={**TOP_10, 'shares': 'neck'}))).eval()
    ran = []
    for name, module in model.bbox_head.named_modules():
        module.register_forward_hook(lambda *_, name=name: ran.append(name))
    samples_of_both = model.test_step(collate(make_images(2)))
    assert ran and not any(name.startswith('second') for name in ran)
    alone = MODELS.build(detector_config()).eval()
    state = {name: value for name, value in model.state_dict().items() if '.second.' not in name}
    alone.load_state_dict(state)
    for found, expected in zip(samples_of_both, alone.test_step(collate(make_images(2)))):
        assert torch.equal(found.pred_instances.scores, expected.pred_instances.scores)
        assert torch.equal(found.pred_instances.bboxes, expected.pred_instances.bboxes)


def test_its_own_detections_with_nms():
    """If asked for, they are those of a detector whose only branch it is; the main branch's stay as they are."""
    torch.manual_seed(0)
    model = MODELS.build(detector_config(head=head_config(second={**TOP_10, 'shares': 'neck'}))).eval()
    alone = MODELS.build(detector_config()).eval()
    state = {name: value for name, value in model.state_dict().items() if not name.startswith('bbox_head')}
    its = {name.replace('.second.', '.'): value for name, value in model.state_dict().items() if '.second.' in name}
    alone.load_state_dict({**state, **its})
    before = model.test_step(collate(make_images(2)))
    assert not any(hasattr(sample, 'pred_instances_second') for sample in before)
    detect_with_second(model, True)
    after, expected = model.test_step(collate(make_images(2))), alone.test_step(collate(make_images(2)))
    for main, both, other in zip(before, after, expected):
        assert torch.equal(main.pred_instances.scores, both.pred_instances.scores)
        assert torch.equal(other.pred_instances_nms.scores, both.pred_instances_second.scores)
        assert torch.equal(other.pred_instances_nms.bboxes, both.pred_instances_second.bboxes)
        assert len(both.pred_instances_second) and not torch.equal(
            both.pred_instances_second.scores, both.pred_instances_nms.scores
        )


def test_a_training_with_a_second_branch(tmp_path):
    """It trains by mmengine's Runner, resumes, and its weights move; the epoch reaches it."""
    head = head_config(second={**TOP_10, 'weight': dict(first=1.0, last=0.5)})
    seen, weights = train(tmp_path / 'whole', head=head, note=lambda head: head.second.weight)
    assert [weight for _, weight in seen] == [1.0, 1.0, 0.75, 0.75, 0.5, 0.5]
    train(tmp_path / 'parts', stop_before=2, head=head)
    again, resumed = train(tmp_path / 'parts', resume=True, head=head, note=lambda head: head.second.weight)
    assert [weight for _, weight in again] == [0.5, 0.5]
    assert weights.keys() == resumed.keys() and any('.second.' in name for name in weights)
    assert all(torch.allclose(weights[name], resumed[name], atol=1e-6) for name in weights)


def test_pss_trains_its_score_alone():
    """Its losses reach the layers of pss, not what they read; at inference p is the product of three scores."""
    head = head_with(
        score_factor='pss',
        loss_rank=dict(type='RankingLoss'),
        loss_bbox=dict(type='GIoULoss', loss_weight=0.0),
        second=dict(shares='predictors'),
    )
    losses = head.loss(random_maps(), samples())
    (losses['loss_cls'] + losses['loss_rank']).backward()
    trained = {
        name.split('.')[0]
        for name, parameter in head.named_parameters()
        if parameter.grad is not None and parameter.grad.any()
    }
    assert trained == {'pss_convs', 'conv_pss'}
    maps = random_maps()
    (cls_logits, _, factors), (raw, _, centerness) = (
        head(maps),
        head.predict_from(*head.towers(maps), factor='centerness'),
    )
    for joint, pss, a, b in zip(cls_logits, factors, raw, centerness):
        assert joint.shape == a.shape and pss.shape == b.shape and not torch.equal(pss, b)
        torch.testing.assert_close(joint.sigmoid(), a.sigmoid() * b.sigmoid(), rtol=1e-4, atol=1e-7)
    assert all(not math.isnan(map_.sum().item()) for map_ in cls_logits)
