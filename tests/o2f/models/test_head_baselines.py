"""The head by the settings of DeFCN: no score factor or 3DMF's, the auxiliary loss, POTO's losses; and the variants of
``experiments`` that set them."""

import os

import pytest
import torch
import torch.multiprocessing
from assignment_cases import make_batch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.structures import InstanceData
from reference import focal_loss, giou, sigmoid, slow_predictions
from tiny_detectors import (
    FOCAL,
    METAS,
    POTO,
    assert_same_detections,
    collate,
    make_head,
    make_images,
    random_maps,
    random_outputs,
    truth_of,
)

from experiments.spec.config import compose
from o2f.assign.centre_region import AnchorGrid
from o2f.models.predictions import Predictions

RANGES = ((-1, 16), (16, 32), (32, 1e8))
AUXILIARY = dict(
    atss=dict(type='QualityATSSSelection'),
    topk=dict(type='OneToFewSelection', k=9, radius=None),
    fcos=dict(type='FCOSSelection', regress_ranges=RANGES),
)
FACTORS = ('centerness', '3dmf', 'none')


def randomised(seed: int = 0, **settings):
    """A head with outputs all over their ranges."""
    torch.manual_seed(seed)
    head = make_head(**settings)
    with torch.no_grad():
        for parameter in head.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.3)
        head.conv_reg.bias.fill_(1.5)
    return head


# --- the score's second factor ------------------------------------------------------------------------------


def built(score_factor: str):
    """The head of the paper's size."""
    return MODELS.build(dict(type='OneToFewHead', num_classes=80, in_channels=256, score_factor=score_factor))


def shapes_of(head) -> dict:
    return {name: tuple(tensor.shape) for name, tensor in head.state_dict().items()}


def without_branch() -> dict:
    """name -> shape of the default head but for its centerness branch: towers, two maps, and the scales."""
    return {name: shape for name, shape in shapes_of(built('centerness')).items() if 'centerness' not in name}


def test_no_factor_has_no_branch():
    """score_factor='none': nothing takes the place of the centerness branch."""
    assert shapes_of(built('none')) == without_branch() and len(without_branch()) == 2 * 4 * 4 + 2 * 2 + 5


def test_names_of_3d_max_filtering():
    """score_factor='3dmf': two convolutions and a norm of 32 groups in the place of the centerness branch."""
    head, names = built('3dmf'), without_branch()
    for name, shape in (
        ('conv.weight', (256, 256, 3, 3)),
        ('conv.bias', (256,)),
        ('norm.weight', (256,)),
        ('norm.bias', (256,)),
        ('conv_filter.weight', (1, 256, 3, 3)),
        ('conv_filter.bias', (1,)),
    ):
        names[f'max_filtering.{name}'] = shape
    assert shapes_of(head) == names
    assert head.max_filtering.norm.num_groups == 32


def test_settings_of_max_filtering():
    """It has the groups of the head's norm, and takes further settings."""
    head = make_head(score_factor='3dmf', max_filtering=dict(levels=5))
    assert (head.max_filtering.norm.num_groups, head.max_filtering.reach) == (2, 2)


@pytest.mark.parametrize('factor', FACTORS)
def test_initial_weights(factor):
    """Every convolution has a deviation of 0.01 and no bias, but for the classes' bias: sigmoid is 0.01 at first."""
    torch.manual_seed(0)
    head = built(factor)
    head.init_weights()
    convolutions = {name: module for name, module in head.named_modules() if isinstance(module, torch.nn.Conv2d)}
    assert len(convolutions) == 10 + {'centerness': 4, '3dmf': 2, 'none': 0}[factor]
    for name, module in convolutions.items():
        assert module.weight.std().item() == pytest.approx(0.01, rel=0.1), name
        bias = 0.01 if name == 'conv_cls' else 0.5
        assert module.bias.sigmoid().tolist() == pytest.approx([bias] * len(module.bias)), name


def test_without_a_factor_the_score_is_the_classification_score():
    """The factor is 1 exactly, in the outputs and in the decoded scores."""
    head = randomised(score_factor='none')
    head.eval()
    with torch.no_grad():
        outputs = head(random_maps())
    assert all((factor.double().sigmoid() == 1).all() for factor in outputs[2])
    assert [factor.shape for factor in outputs[2]] == [(2, 1, 8, 12), (2, 1, 4, 6), (2, 1, 2, 3)]
    logits, distances, _ = random_outputs()
    cfg = Config(dict(score_thr=0.05, nms_pre=1000, max_per_img=1000, min_bbox_size=0, nms=None))
    infinite = [torch.full_like(map_, float('inf')) for map_ in outputs[2]]
    head.test_cfg = cfg
    found = head.predict_by_feat(logits, distances, infinite, batch_img_metas=METAS, rescale=False)
    for image in range(2):
        expected = slow_predictions((logits, distances, infinite), image, 0.05, 1000, 1000, (64, 96))
        assert_same_detections(found[image], expected)
        scores = sorted({round(sigmoid(logit), 5) for map_ in logits for logit in map_[image].flatten().tolist()})
        assert {round(score, 5) for score in found[image].scores.tolist()} <= set(scores)


def test_the_filter_reads_the_regression_tower():
    """Its maps are those of the module on the regression tower's, and no gradient goes into the other tower."""
    head, maps = randomised(score_factor='3dmf'), random_maps()
    factors = head(maps)[2]
    towers = []
    for map_ in maps:
        for convolution in head.reg_convs:
            map_ = convolution(map_)
        towers.append(map_)
    assert all(torch.equal(*pair) for pair in zip(factors, head.max_filtering(towers)))
    sum(factor.square().sum() for factor in factors).backward()
    assert all(parameter.grad is None for parameter in head.cls_convs.parameters())
    assert all(parameter.grad.any() for parameter in head.reg_convs.parameters())
    assert all(parameter.grad.any() for parameter in head.max_filtering.parameters())


@pytest.mark.parametrize('selection', ['HungarianSelection', 'OneToFewSelection'])
def test_targets_are_chosen_by_the_joint_score(selection):
    """Of two anchors with equal boxes and classification scores the one with the higher factor is positive."""
    head = make_head(strides=(8,), **{**POTO, 'score_factor': '3dmf', 'selection': dict(type=selection)})
    for better in (0, 1):
        factors = torch.zeros(1, 2)
        factors[0, better] = 1.0
        boxes = torch.tensor([[[0.0, 0.0, 16.0, 8.0]] * 2])
        predictions = Predictions(torch.zeros(1, 2, 3), factors, boxes, AnchorGrid(((1, 2),), (8,)))
        truth = [InstanceData(bboxes=boxes[0, :1], labels=torch.tensor([2]))]
        selected, _ = head.get_targets(predictions, head._gather_instances(truth, [{}], boxes.device))
        assert selected.anchor[selected.certain].tolist() == [better]


# --- POTO's losses ------------------------------------------------------------------------------------------


@pytest.mark.parametrize('kind', ['uneven', 'clusters', 'none'])
def test_potos_losses(kind):
    """The focal loss on p and twice the mean GIoU loss, both over the number of positives, at least 1."""
    batch = make_batch(kind, 1)
    head = make_head(batch.cls_logits.shape[-1], batch.strides, **POTO)
    logits, distances, factors = batch.head_outputs()
    losses = head.loss_by_feat(logits, distances, factors, batch.truth(), [{}] * len(batch.instances))
    assert {name for name in losses if 'loss' in name} == {'loss_cls', 'loss_bbox'}

    predictions = head._predictions(logits, distances, factors)
    selected, _ = head.get_targets(predictions, batch.joined())
    target, box_loss, number = torch.zeros(batch.cls_logits.shape, dtype=torch.float64), 0.0, 0
    truth = [one for found in batch.instances for one in found]
    for j, (box, label) in enumerate(truth):
        if selected.kept[j, 0]:
            anchor = selected.anchor[j, 0]
            target.flatten(0, 1)[anchor, label] = 1
            box_loss += 1 - giou(batch.boxes.double().flatten(0, 1)[anchor], box).item()
            number += 1
    assert number > 5 or kind == 'none'
    p = batch.cls_logits.double().sigmoid() * batch.centerness_logits.double().sigmoid().unsqueeze(-1)
    assert losses['loss_cls'].item() == pytest.approx(focal_loss(p, target).item() / max(number, 1), rel=1e-5)
    assert losses['loss_bbox'].item() == pytest.approx(2 * box_loss / max(number, 1), rel=1e-5)


@pytest.mark.parametrize('auxiliary', [None, *AUXILIARY.values()], ids=['alone', *AUXILIARY])
@pytest.mark.parametrize('factor', FACTORS)
@pytest.mark.parametrize('name', ['all', 'one_empty', 'all_empty', 'without_area', 'outside'])
def test_every_parameter_gets_a_gradient(name, factor, auxiliary):
    """Whatever is in the images; losses and gradients are finite."""
    head = make_head(**{**POTO, 'score_factor': factor}, auxiliary=auxiliary)
    losses = head.loss_by_feat(*head(random_maps()), truth_of(name), METAS)
    minimised = {name for name in losses if 'loss' in name}
    assert minimised == {'loss_cls', 'loss_bbox'} | ({'loss_aux'} if auxiliary else set())
    sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values())
    for parameter_name, parameter in head.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), parameter_name


# --- the auxiliary loss -------------------------------------------------------------------------------------


def auxiliary_of(batch, name: str):
    """The auxiliary loss with the maps it was made of, and its positives: (anchor of the batch, class)."""
    head = make_head(
        batch.cls_logits.shape[-1], batch.strides, **{**POTO, 'score_factor': '3dmf'}, auxiliary=AUXILIARY[name]
    )
    outputs = batch.head_outputs()
    loss = head.loss_by_feat(*outputs, batch.truth(), [{}] * len(batch.instances))['loss_aux']
    # Targets as of a score without a factor.
    infinite = torch.full_like(batch.centerness_logits, float('inf'))
    selected = head.auxiliary(batch.cls_logits, infinite, batch.boxes, batch.joined(), batch.grid)
    positives = [
        (anchor, label)
        for anchors, kept, label in zip(selected.anchor.tolist(), selected.kept, batch.joined().labels.tolist())
        for anchor, keep in zip(anchors, kept)
        if keep
    ]
    return loss, outputs, positives


@pytest.mark.parametrize('name', AUXILIARY)
@pytest.mark.parametrize('kind', ['uneven', 'crowd', 'none'])
def test_the_auxiliary_loss_is_the_focal_loss_on_the_classification_score(kind, name):
    """With the one-to-many labels, over the number of positives, at least 1; the filter has no part in it."""
    batch = make_batch(kind, 1)
    loss, outputs, positives = auxiliary_of(batch, name)
    assert len(positives) > 4 or kind == 'none'
    target = torch.zeros(batch.cls_logits.shape, dtype=torch.float64)
    for anchor, label in positives:
        target.flatten(0, 1)[anchor, label] = 1
    logits = batch.cls_logits.double().requires_grad_()
    expected = focal_loss(logits.sigmoid(), target) / max(len(positives), 1)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)

    loss.backward()
    expected.backward()
    found = torch.cat([map_.grad.flatten(2).transpose(1, 2) for map_ in outputs[0]], dim=1).double()
    torch.testing.assert_close(found, logits.grad, rtol=1e-4, atol=1e-6 * logits.grad.abs().max().item())
    assert all(map_.grad is None or not map_.grad.any() for maps in outputs[1:] for map_ in maps)


@pytest.mark.parametrize('name', ['atss', 'topk'])
def test_the_auxiliary_targets_do_not_see_the_filter(name):
    """Another filter gives the same auxiliary loss to the last bit."""
    batch = make_batch('crowd', 1)
    loss, _, _ = auxiliary_of(batch, name)
    batch.centerness_logits = -batch.centerness_logits
    again, _, _ = auxiliary_of(batch, name)
    assert torch.equal(loss, again)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_the_auxiliary_loss_of_half_precision_logits(dtype):
    """It is the single-precision loss of the rounded logits: 0.75 p^2 -log(1-p) of a good negative, 1e-12 here, is 0 in
    half precision, and so is its gradient."""
    batch = make_batch('three', 1)
    batch.cls_logits = (batch.cls_logits - 8).to(dtype)
    low, outputs, _ = auxiliary_of(batch, 'topk')
    low.backward()
    batch.cls_logits = batch.cls_logits.float()
    high, _, _ = auxiliary_of(batch, 'topk')
    assert low.dtype == torch.float32 and torch.equal(low, high)
    assert all(map_.grad.dtype == dtype for map_ in outputs[0])


def test_the_weight_of_the_auxiliary_loss():
    """loss_aux is a config of its own."""
    losses = []
    for weight in (1.0, 0.5):
        focal = dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=weight)
        head = randomised(**POTO, auxiliary=AUXILIARY['fcos'], loss_aux=focal)
        losses.append(head.loss_by_feat(*head(random_maps()), truth_of('all'), METAS))
    assert losses[1]['loss_aux'].item() == pytest.approx(losses[0]['loss_aux'].item() / 2)
    assert torch.equal(losses[1]['loss_cls'], losses[0]['loss_cls'])


# --- several processes --------------------------------------------------------------------------------------


def losses_and_positives(batch) -> tuple:
    """The losses of POTO with auxiliary targets, and the number of positives that each is divided by."""
    head = make_head(batch.cls_logits.shape[-1], batch.strides, **POTO, auxiliary=AUXILIARY['topk'])
    losses = head.loss_by_feat(*batch.head_outputs(), batch.truth(), [{}] * len(batch.instances))
    selected, _ = head.get_targets(head._predictions(*batch.head_outputs()), batch.joined())
    one_to_one, (_, _, auxiliary) = int(selected.kept.sum()), auxiliary_of(batch, 'topk')
    numbers = dict(loss_cls=one_to_one, loss_bbox=one_to_one, loss_aux=len(auxiliary))
    return {name: loss.detach() for name, loss in losses.items()}, numbers


def _losses_of_one_process(rank: int, folder: str, batches: list) -> None:
    torch.distributed.init_process_group('gloo', f'file://{folder}/store', rank=rank, world_size=len(batches))
    losses, _ = losses_and_positives(batches[rank])
    torch.save(losses, f'{folder}/{rank}.pth')
    torch.distributed.destroy_process_group()


# Without gloo a user's machine skips by name; in CI, where it must be there, the test runs and fails.
needs_gloo = pytest.mark.skipif(
    not torch.distributed.is_gloo_available() and os.environ.get('O2F_REQUIRE_PROGRAMS') != '1', reason='needs gloo'
)


@needs_gloo
def test_several_processes_share_their_normalisers(tmp_path):
    """Each of the three losses is divided by the mean number of its positives over the processes."""
    batches = [make_batch(kind, 1) for kind in ('three', 'clusters')]
    torch.multiprocessing.start_processes(
        _losses_of_one_process, (str(tmp_path), batches), nprocs=2, start_method='fork'
    )
    alone = [losses_and_positives(batch) for batch in batches]
    for rank, (losses, numbers) in enumerate(alone):
        together = torch.load(tmp_path / f'{rank}.pth')
        for name, number in numbers.items():
            mean = sum(each[name] for _, each in alone) / 2
            assert number != mean  # or nothing would be seen
            assert together[name].item() == pytest.approx(losses[name].item() * number / mean, rel=1e-5), name


# --- the variants of experiments ----------------------------------------------------------------------------

VARIANTS = [
    [],
    ['fcos'],
    ['poto'],
    ['poto', '3dmf'],
    ['poto', '3dmf', 'aux-atss'],
    ['poto', '3dmf', 'aux-topk'],
    ['poto', '3dmf', 'aux-fcos'],
    ['hybrid-epoch'],
]


@pytest.mark.parametrize('use', VARIANTS, ids='+'.join)
def test_a_variant_trains_a_step(use):
    """As the desk profile builds it, on two images, one of them without instances: every parameter that trains has a
    finite gradient, and after a step the detector predicts."""
    config = compose('desk', use, 'a test')
    config.model.backbone.init_cfg = None
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    model.init_weights()
    images = make_images(2, size=(96, 96))
    images[0]['data_samples'].gt_instances = images[0]['data_samples'].gt_instances[:0]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    data = model.train().data_preprocessor(collate(images), training=True)
    loss, _ = model.parse_losses(model(**data, mode='loss'))
    loss.backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    assert model.bbox_head.conv_reg.weight.grad.any() and model.bbox_head.conv_cls.weight.grad.any()
    optimizer.step()
    samples = model.eval().test_step(collate(make_images(2, size=(96, 96))))
    assert all(sample.pred_instances.bboxes.isfinite().all() for sample in samples)


def test_what_the_variants_set():
    """POTO is Hungarian matching on the classification score with its focal loss; 3DMF and Aux change one key each."""
    heads = {'+'.join(use): compose('paper', use, 'a test').model.bbox_head for use in VARIANTS}
    poto = heads['poto']
    assert (poto.score_factor, poto.box_weight) == ('none', 'uniform')
    assert dict(poto.selection) == dict(type='HungarianSelection', alpha=0.8, metric='multiply', radius=1.5)
    assert {key: poto.loss_cls[key] for key in FOCAL} == FOCAL and poto.loss_bbox == dict(
        type='GIoULoss', loss_weight=2.0
    )
    changed = {
        name: {key: value for key, value in head.items() if poto.get(key) != value}
        for name, head in heads.items()
        if name.startswith('poto+')
    }
    aux = {name.split('-')[-1]: head.pop('auxiliary') for name, head in changed.items() if 'aux' in name}
    assert all(head == dict(score_factor='3dmf') for head in changed.values()) and len(changed) == 4
    assert aux['atss'] == dict(type='QualityATSSSelection', topk=9, alpha=0.8)
    assert aux['topk'] == dict(type='OneToFewSelection', k=9, alpha=0.8, radius=None)
    assert aux['fcos']['type'] == 'FCOSSelection' and len(aux['fcos']['regress_ranges']) == 5


def test_an_argmax_instead_of_the_matching():
    """The setting that the POTO variant's comment names builds, and is the selection of section 3.2."""
    head = make_head(**{**POTO, 'selection': dict(type='OneToFewSelection', k=0)})
    assert head.selection.num_selected == 1
