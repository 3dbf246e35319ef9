"""Section 3.4, Fig. 3: the head's parameters and outputs, training on any batch, several processes, and decoding."""

import copy
import os

import pytest
import torch
import torch.multiprocessing
from assignment_cases import make_batch
from mmengine.config import Config, ConfigDict
from reference import Settings, assign, box_loss, box_weights, cls_loss, flat, slow_predictions
from tiny_detectors import (
    BOXES,
    METAS,
    assert_same_detections,
    head_of,
    make_head,
    random_maps,
    random_outputs,
    truth_of,
)
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from o2f.assign.centre_region import AnchorGrid
from o2f.assign.matching_score import Instances
from o2f.models.predictions import Predictions

# --- parameters ---------------------------------------------------------------------------------------------


def released_parameters() -> dict:
    """name -> shape of everything under ``bbox_head`` in the authors' released R50 checkpoint."""

    def conv_gn(name, before, after):
        return {
            f'{name}.conv.weight': (after, before, 3, 3),
            f'{name}.conv.bias': (after,),
            f'{name}.gn.weight': (after,),
            f'{name}.gn.bias': (after,),
        }

    expected = {}
    for tower in ('cls_convs', 'reg_convs'):
        for index in range(4):
            expected.update(conv_gn(f'{tower}.{index}', 256, 256))
    for index, before in enumerate((256, 64, 64)):
        expected.update(conv_gn(f'centerness_convs.{index}', before, 64))
    for name, before, after in (('conv_cls', 256, 80), ('conv_reg', 256, 4), ('conv_centerness', 64, 1)):
        expected.update({f'{name}.weight': (after, before, 3, 3), f'{name}.bias': (after,)})
    return {**expected, **{f'scales.{level}.scale': () for level in range(5)}}


def test_parameter_names_are_those_of_the_released_checkpoints(paper_model):
    """The full set of names with their shapes; the rest of the detector has MMDetection's own."""
    shapes = {name: tuple(tensor.shape) for name, tensor in paper_model.state_dict().items()}
    of_head = {name[len('bbox_head.') :]: shape for name, shape in shapes.items() if name.startswith('bbox_head.')}
    assert of_head == released_parameters()
    assert {name.split('.')[0] for name in shapes} == {'backbone', 'neck', 'bbox_head'}


def test_a_released_checkpoint_loads_unchanged(paper_model):
    """A plain state dict, as MMDetection 2 saved it, loads strictly and arrives where it should."""
    model = copy.deepcopy(paper_model)
    state = {
        name: torch.full_like(tensor, index % 251) for index, (name, tensor) in enumerate(model.state_dict().items())
    }
    model.load_state_dict(dict(state), strict=True)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize('number', [0, 1, 2, 3])
def test_number_of_centerness_convolutions(number):
    """Table 5: 0 to 3 of them, the first from the tower's channels, and the map after them."""
    head = make_head(centerness_convs=number)
    assert [tuple(module.conv.weight.shape[:2]) for module in head.centerness_convs] == [(4, 8), (4, 4), (4, 4)][
        :number
    ]
    assert head.conv_centerness.weight.shape[1] == (4 if number else 8)
    assert [map_.shape for map_ in head(random_maps())[2]] == [(2, 1, 8, 12), (2, 1, 4, 6), (2, 1, 2, 3)]


@pytest.mark.parametrize(
    ('argument', 'value'),
    [
        ('centerness_convs', 4),
        ('centerness_convs', -1),
        ('centerness_convs', 1.5),
        ('box_weight', 'iou'),
        ('box_weight', None),
        ('score_factor', 'iou'),
        ('score_factor', None),
    ],
)
def test_bad_arguments_are_named(argument, value):
    with pytest.raises(ValueError, match=f'bbox_head: {argument} must be'):
        make_head(**{argument: value})


# --- outputs ------------------------------------------------------------------------------------------------


def test_distances_are_pixels_and_not_negative():
    """relu(scale x output) x stride, not exp: exact where the output is known."""
    head = make_head()
    with torch.no_grad():
        head.conv_reg.weight.zero_()
        head.conv_reg.bias.copy_(torch.tensor([1.0, -1.0, 2.5, 0.0]))
        for scale, value in zip(head.scales, (1.0, 2.0, 3.0)):
            scale.scale.fill_(value)
        _, distances, _ = head(random_maps())
    for map_, stride, scale in zip(distances, (8, 16, 32), (1, 2, 3)):
        expected = torch.tensor([1.0, 0.0, 2.5, 0.0]) * stride * scale
        assert torch.equal(map_, expected.view(1, 4, 1, 1).expand_as(map_))


def test_distances_stay_in_single_precision():
    """Under mixed precision hundreds of pixels do not fit bfloat16's eight bits."""
    with torch.autocast('cpu', torch.bfloat16):
        cls_logits, distances, _ = make_head()(random_maps())
    assert cls_logits[0].dtype == torch.bfloat16 and all(map_.dtype == torch.float32 for map_ in distances)


def test_boxes_lie_where_they_do_in_single_precision():
    """Points beyond 1024 pixels do not fit bfloat16 either; only scores may differ."""
    head = make_head()
    maps = [torch.zeros(1, 8, 64 // stride, 2048 // stride) for stride in head.strides]
    with torch.no_grad():
        cls_logits, distances, factors = head(maps)
        metas = [dict(img_shape=(64, 2048), scale_factor=(1.0, 1.0))]
        cfg = ConfigDict(nms_pre=10000, score_thr=0, max_per_img=10000)
        rounded = [logits.bfloat16() for logits in cls_logits], distances, factors
        [exact], [found] = (
            head.predict_by_feat(*outputs, batch_img_metas=metas, cfg=cfg, with_nms=False)
            for outputs in ((cls_logits, distances, factors), rounded)
        )
    assert len(found) > 1000
    assert torch.equal(*(each.bboxes.unique(dim=0) for each in (exact, found)))


def test_centerness_is_on_the_regression_tower():
    """The centerness map depends on the regression tower and its own convolutions, not on the other tower."""
    head = make_head()
    sum(map_.sum() for map_ in head(random_maps())[2]).backward()
    assert all(parameter.grad is None for parameter in head.cls_convs.parameters())
    for module in (head.reg_convs, head.centerness_convs, head.conv_centerness):
        assert all(parameter.grad is not None for parameter in module.parameters())


# --- training -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize('box_weight', ['centerness', 'uniform'])
@pytest.mark.parametrize('k', [0, 7])
@pytest.mark.parametrize('name', BOXES)
def test_every_parameter_gets_a_gradient(name, k, box_weight):
    """Whatever is in the images, as distributed training needs it; losses and gradients are finite."""
    head = make_head(selection=dict(type='OneToFewSelection', k=k), box_weight=box_weight)
    losses = head.loss_by_feat(*head(random_maps()), truth_of(name), METAS)
    sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values())
    for parameter_name, parameter in head.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), parameter_name
    assert head.centerness_convs[0].conv.weight.grad.any()  # trained through the joint score alone
    if name in ('all_empty', 'without_area', 'between_points', 'outside'):
        assert losses['loss_bbox'] == 0 and losses['loss_cls'] > 0
    else:
        assert head.conv_reg.weight.grad.any()


def test_an_empty_image_among_others_changes_only_the_negatives():
    """Its elements add to L_cls; L_reg and the positives of the other images are what they were."""
    head, maps = make_head(), random_maps()
    outputs, truth = head(maps), truth_of('one_empty')
    alone = [[map_[1:] for map_ in level_maps] for level_maps in outputs]
    both, one = head.loss_by_feat(*outputs, truth, METAS), head.loss_by_feat(*alone, truth[1:], METAS[1:])
    assert both['loss_bbox'].item() == pytest.approx(one['loss_bbox'].item(), rel=1e-6)
    assert both['loss_cls'] > one['loss_cls']


def test_training_after_validation_in_inference_mode():
    """The grid's tables are kept between calls; those made in inference mode must not spoil a later training step."""
    strides, shapes = (4, 12), ((16, 24), (6, 8))  # a grid that no other test has
    head = make_head(strides=strides)
    maps = [torch.randn(2, 8, *shape) for shape in shapes]
    with torch.inference_mode():
        head.loss_by_feat(*head(maps), truth_of('all'), METAS)
    sum(head.loss_by_feat(*head(maps), truth_of('all'), METAS).values()).backward()
    assert head.conv_reg.weight.grad.any()


@pytest.mark.parametrize('number', [5, 0])
def test_the_losses_read_nothing_back_from_the_device(number):
    """Targets, both losses and the backward pass on fake tensors, which have no values: reading one would raise."""
    head, grid = (
        make_head(80),
        AnchorGrid(((7, 13), (4, 6)), (8, 16 + number)),
    )  # of this test alone, as its tables are kept
    with FakeTensorMode(allow_non_fake_inputs=False):
        leaves = [torch.zeros(2, grid.num_points, *rest, requires_grad=True) for rest in ((80,), (), (4,))]
        predictions = Predictions(*leaves, grid)
        instances = Instances(torch.zeros(number, 4), *torch.zeros(2, number, dtype=torch.long).unbind())
        for ignored in (None, torch.zeros(2 * grid.num_points, dtype=torch.bool)):
            losses = head._losses(predictions, instances, *head.get_targets(predictions, instances), ignored)
            loss = sum(losses.values())
            loss.backward()
        assert all(leaf.grad.shape == leaf.shape for leaf in leaves)
        with pytest.raises(DataDependentOutputException):
            loss.item()


def _losses_of_one_process(rank: int, folder: str, batches: list, settings: Settings) -> None:
    torch.distributed.init_process_group('gloo', f'file://{folder}/store', rank=rank, world_size=len(batches))
    batch = batches[rank]
    losses = head_of(batch, settings).loss_by_feat(*batch.head_outputs(), batch.truth(), [{}] * len(batch.instances))
    torch.save({name: loss.detach() for name, loss in losses.items()}, f'{folder}/{rank}.pth')
    torch.distributed.destroy_process_group()


# Without gloo a user's machine skips by name; in CI, where it must be there, the test runs and fails.
needs_gloo = pytest.mark.skipif(
    not torch.distributed.is_gloo_available() and os.environ.get('O2F_REQUIRE_PROGRAMS') != '1', reason='needs gloo'
)


@needs_gloo
@pytest.mark.parametrize('kinds', [('three', 'none'), ('none', 'none')], ids='-'.join)
def test_several_processes_share_their_normalisers(kinds, tmp_path):
    """Two processes with different numbers of positives, or none, divide by the mean over both (at least 1)."""
    settings, batches = Settings(), [make_batch(kind, seed=1) for kind in kinds]
    torch.multiprocessing.start_processes(
        _losses_of_one_process, (str(tmp_path), batches, settings), nprocs=2, start_method='fork'
    )
    found = [assign(batch, settings) for batch in batches]
    positives = max(sum(len(flat(each)) for each in found) / 2, 1)
    weights = sum(sum(box_weights(each, settings)) for each in found) / 2
    for rank, batch in enumerate(batches):
        losses = torch.load(tmp_path / f'{rank}.pth')
        logits = batch.cls_logits.double(), batch.centerness_logits.double()
        expected = (
            cls_loss(*logits, found[rank], settings, positives),
            box_loss(batch.distances.double(), batch, found[rank], settings, weights),
        )
        assert [losses['loss_cls'].item(), losses['loss_bbox'].item()] == pytest.approx(
            [loss.item() for loss in expected], rel=1e-5
        )


# --- decoding -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('score_thr', 'nms_pre', 'max_per_img'),
    [(0.05, 1000, 100), (0.05, 10, 100), (0.3, 1000, 100), (0.05, 20, 7), (0.999, 1000, 100)],
)
def test_decoding_equals_a_slow_loop(score_thr, nms_pre, max_per_img):
    """The threshold is on the joint score, nms_pre counts per level, max_per_img over all; boxes are clipped."""
    outputs = random_outputs()
    cfg = Config(dict(score_thr=score_thr, nms_pre=nms_pre, max_per_img=max_per_img, min_bbox_size=0, nms=None))
    found = make_head(test_cfg=cfg).predict_by_feat(*outputs, batch_img_metas=METAS, rescale=False)
    for image in range(2):
        expected = slow_predictions(outputs, image, score_thr, nms_pre, max_per_img, (64, 96))
        assert_same_detections(found[image], expected)
        assert len(expected) == (0 if score_thr == 0.999 else max_per_img if max_per_img < 100 else len(expected))


def test_decoding_to_the_original_image():
    """rescale=True gives pixels of the original image, by each axis's own factor."""
    outputs = random_outputs()
    cfg = Config(dict(score_thr=0.05, nms_pre=1000, max_per_img=100, min_bbox_size=0, nms=None))
    found = make_head(test_cfg=cfg).predict_by_feat(*outputs, batch_img_metas=METAS, rescale=True)
    assert_same_detections(found[0], slow_predictions(outputs, 0, 0.05, 1000, 100, (64, 96)), scale=(2.0, 4.0))


@pytest.mark.parametrize('nms_pre', [{}, dict(nms_pre=-1)])
def test_decoding_without_nms_pre(nms_pre):
    """Without nms_pre, or with MMDetection's -1, every candidate above the threshold counts, the weakest of each level
    included."""
    outputs = random_outputs()
    cfg = Config(dict(score_thr=0.2, max_per_img=1000, min_bbox_size=0, nms=None, **nms_pre))
    found = make_head(test_cfg=cfg).predict_by_feat(*outputs, batch_img_metas=METAS, rescale=False)
    assert_same_detections(found[0], slow_predictions(outputs, 0, 0.2, None, 1000, (64, 96)))


def test_decoding_half_precision_maps():
    """Half-precision logits are decoded in single precision."""
    outputs = random_outputs()
    low = [map_.half() for map_ in outputs[0]], outputs[1], [map_.half() for map_ in outputs[2]]
    cfg = Config(dict(score_thr=0.05, nms_pre=1000, max_per_img=100, min_bbox_size=0, nms=None))
    found = make_head(test_cfg=cfg).predict_by_feat(*low, batch_img_metas=METAS, rescale=False)
    assert found[0].scores.dtype == torch.float32
    assert_same_detections(found[0], slow_predictions(low, 0, 0.05, 1000, 100, (64, 96)))
