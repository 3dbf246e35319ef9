"""Section 4.5: targets round the mask's centroid, what the mask head is given, training on any batch, the semantic
branch."""

import copy
import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from assignment_cases import make_batch, select
from mmdet.models.dense_heads import CondInstBboxHead
from mmdet.registry import DATASETS, MODELS
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.config import Config
from mmengine.structures import InstanceData
from reference import Settings, anchor_points, assign
from tiny_condinst import (
    HEADS,
    SEMANTIC_MASK_HEAD,
    condinst_config,
    ellipses,
    make_condinst,
    make_masked_images,
    with_masks,
)
from tiny_detectors import METAS, collate, head_config, make_head, random_maps, random_outputs, truth_of
from torch.nn.functional import conv2d

from o2f.assign.centre_region import AnchorGrid, candidate_points
from o2f.models.condinst import mask_centroids, semantic_target

CPU = torch.device('cpu')
SIZE = (64, 96)
POTO = dict(
    score_factor='none',
    selection=dict(type='HungarianSelection'),
    degrees=dict(type='ConstantDegrees', t=1.0),
    box_weight='uniform',
)


def condinst_head(**changes):
    """A one-to-few CondInst head of 8 channels."""
    return MODELS.build(head_config(**{**dict(type='OneToFewCondInstHead'), **changes}))


def instances_of(boxes, masks=None) -> InstanceData:
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    found = InstanceData(bboxes=boxes, labels=torch.arange(len(boxes)) % 3)
    found.masks = ellipses(boxes, SIZE) if masks is None else masks
    return found


def random_truth(seed: int) -> list:
    """Two images of 64 x 96 with masks, and one without an instance."""
    rng = np.random.default_rng(seed)
    images = []
    for number in (5, 0, 3):
        corner = rng.uniform((0, 0), (60, 40), (number, 2))
        images.append(instances_of(np.hstack((corner, corner + rng.uniform(8, 40, (number, 2)))).clip(0, (96, 64) * 2)))
    return images


# --- Omega --------------------------------------------------------------------------------------------------


def slow_centroid(mask: np.ndarray) -> tuple:
    """Means of the columns and rows of a mask's pixels, pixel by pixel."""
    pixels = [(x, y) for y, row in enumerate(mask) for x, value in enumerate(row) if value]
    return sum(x for x, _ in pixels) / len(pixels), sum(y for _, y in pixels) / len(pixels)


def test_centroids_equal_a_slow_loop():
    found = random_truth(0)[0]
    expected = torch.tensor([slow_centroid(mask) for mask in found.masks.masks])
    torch.testing.assert_close(mask_centroids(found, CPU), expected)
    middles = (found.bboxes[:, :2] + found.bboxes[:, 2:]) / 2
    assert (mask_centroids(found, CPU) - middles).abs().amax(dim=1).min() > 0.5  # not the box's middle by chance


def test_a_mask_of_a_million_pixels_is_exact():
    """Sums of indices are beyond single precision there."""
    masks = np.zeros((1, 1000, 1500), dtype=np.uint8)
    masks[0, :, 1:] = 1
    masks[0, 0, 1] = 0
    found = instances_of([[0, 0, 1500, 1000]], BitmapMasks(masks, 1000, 1500))
    pixels = 1499 * 1000 - 1
    expected = [(750.0 * 1499 * 1000 - 1) / pixels, 499.5 * 1499 * 1000 / pixels]
    assert mask_centroids(found, CPU)[0].tolist() == pytest.approx(expected, rel=1e-7)


def test_centroids_of_polygons_and_of_nothing():
    """Polygons are drawn; a mask without a pixel has its box's middle; an image without instances has none."""
    square = [np.array([10.0, 20.0, 30.0, 20.0, 30.0, 40.0, 10.0, 40.0])]
    polygons = instances_of([[0, 0, 96, 64]], PolygonMasks([square], *SIZE))
    assert mask_centroids(polygons, CPU)[0].tolist() == [19.5, 29.5]  # of pixels 10 to 29 and 20 to 39
    nothing = instances_of([[10, 10, 30, 50]], BitmapMasks(np.zeros((1, *SIZE), np.uint8), *SIZE))
    assert mask_centroids(nothing, CPU).tolist() == [[20, 30]]
    for masks in (BitmapMasks(np.zeros((0, *SIZE), np.uint8), *SIZE), PolygonMasks([], *SIZE)):
        assert mask_centroids(instances_of([], masks), CPU).shape == (0, 2)


@pytest.mark.parametrize('seed', range(5))
def test_omega_is_the_centre_region_of_mmdetections_condinst(seed):
    """With no limit on sizes its positives for one instance are the points of Omega."""
    grid = AnchorGrid(((8, 12), (4, 6), (2, 3)), (8, 16, 32))
    points = anchor_points(grid.shapes, grid.strides)
    rule = SimpleNamespace(num_classes=3, center_sampling=True, center_sample_radius=1.5, strides=grid.strides)
    ranges = torch.tensor([[-1.0, 1e8]]).expand(len(points), 2)
    truth = random_truth(seed)[0]
    index, inside = candidate_points(truth.bboxes, grid, 1.5, mask_centroids(truth, CPU))
    for instance in range(len(truth)):
        _, _, expected, _ = CondInstBboxHead._get_targets_single(
            rule, truth[[instance]], torch.tensor([point[:2] for point in points]), ranges, [96, 24, 6]
        )
        assert index[instance][inside[instance]].tolist() == expected.tolist()


def batch_with_masks(seed: int):
    """A batch of random predictions on three images, what is in them, and the reference's view of it."""
    predicted = make_batch('uneven', seed=3 * seed + 1)  # 8 classes on strides 8, 16 and 32
    truth = random_truth(seed)
    shapes = ((8, 12), (4, 6), (2, 3))
    number = sum(height * width for height, width in shapes)
    generator = torch.Generator().manual_seed(seed)
    batch = dataclasses.replace(
        predicted,
        cls_logits=torch.randn(3, number, 3, generator=generator),
        centerness_logits=torch.randn(3, number, generator=generator),
        distances=torch.rand(3, number, 4, generator=generator) * 30,
        shapes=shapes,
        strides=(8, 16, 32),
        instances=[list(zip(map(tuple, image.bboxes.tolist()), image.labels.tolist())) for image in truth],
        centres=[[slow_centroid(mask) for mask in image.masks.masks] for image in truth],
    )
    return batch, truth


@pytest.mark.parametrize('centre', ['mask', 'box'])
@pytest.mark.parametrize('seed', range(4))
def test_positives_equal_the_reference(seed, centre):
    """Every anchor that the slow reference selects, certain and ambiguous alike, reaches the mask head with its image's
    instance, its point, stride, logits and mask weights."""
    batch, truth = batch_with_masks(seed)
    params = torch.randn(3, batch.cls_logits.shape[1], 169)
    outputs = *batch.head_outputs(), batch.maps(params)
    head = condinst_head(region_centre=centre)
    head.loss_by_feat(*outputs, truth, METAS[:1] * len(truth))
    found = head.get_positive_infos()

    expected = assign(batch if centre == 'mask' else dataclasses.replace(batch, centres=None), Settings())
    points = torch.tensor(anchor_points(batch.shapes, batch.strides))
    first = 0
    for image, infos in enumerate(found):
        of_image = [positive for kept in expected for positive in kept if positive.image == image]
        pairs = list(zip(infos.pos_assigned_gt_inds.tolist(), infos.pos_inds.tolist()))
        assert pairs == [(positive.instance - first, positive.anchor) for positive in of_image]
        first += len(truth[image])
        anchors = infos.pos_inds
        assert torch.equal(infos.points, points[anchors, :2]) and torch.equal(infos.strides, points[anchors, 2])
        assert torch.equal(infos.param_preds, params[image, anchors])
        assert torch.equal(infos.scores, batch.cls_logits[image, anchors])
        assert torch.equal(infos.centernesses.squeeze(1), batch.centerness_logits[image, anchors])
    assert [len(infos) > 6 for infos in found] == [True, False, True]


def test_the_centre_matters():
    """Round the box's middle other anchors are selected than round the centroid."""
    batch, _ = batch_with_masks(0)
    anchors = [
        select(each, Settings())[0].anchor.tolist() for each in (batch, dataclasses.replace(batch, centres=None))
    ]
    assert anchors[0] != anchors[1]


def test_losses_are_those_of_the_plain_head():
    """Round the boxes' middles the classification and box losses are those of OneToFewHead."""
    batch, truth = batch_with_masks(1)
    outputs = batch.head_outputs()
    plain = make_head().loss_by_feat(*outputs, truth, METAS[:1] * len(truth))
    params = batch.maps(torch.zeros(3, batch.cls_logits.shape[1], 169))
    found = condinst_head(region_centre='box').loss_by_feat(*outputs, params, truth, METAS[:1] * len(truth))
    assert found.keys() == plain.keys() and all(torch.equal(found[name], plain[name]) for name in plain)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="bbox_head: region_centre must be 'mask' or 'box', not 'middle'"):
        condinst_head(region_centre='middle')
    with pytest.raises(ValueError, match="bbox_head: threshold must be 'classification' or 'joint', not 'cls'"):
        condinst_head(threshold='cls')
    with pytest.raises(ValueError, match='bbox_head: box_weight must be'):
        condinst_head(box_weight='iou')


# --- the head's outputs -------------------------------------------------------------------------------------


def test_outputs_are_those_of_the_plain_head_and_mask_weights():
    """With the same weights; the controller is a 3x3 convolution of the regression tower."""
    plain, head, maps = make_head(), condinst_head(), random_maps()
    missing, unexpected = head.load_state_dict(plain.state_dict(), strict=False)
    assert (sorted(missing), unexpected) == (['controller.bias', 'controller.weight'], [])
    *outputs, params = head(maps)
    for found, expected in zip(outputs, plain(maps)):
        assert all(torch.equal(*pair) for pair in zip(found, expected))
    for map_, level in zip(params, maps):
        for module in head.reg_convs:
            level = module(level)
        expected = conv2d(level, head.controller.weight, head.controller.bias, padding=1)
        torch.testing.assert_close(map_, expected)
        assert map_.shape[1] == 169


def test_candidates_are_those_of_the_plain_head():
    """With the threshold on the joint score: the same boxes, scores and labels, with what is drawn from each: its
    point, stride and mask weights."""
    outputs = random_outputs()
    params = [torch.randn(2, 169, *map_.shape[2:]) for map_ in outputs[0]]
    cfg = Config(dict(score_thr=0.05, nms_pre=20, max_per_img=100, min_bbox_size=0, nms=None))
    settings = dict(batch_img_metas=METAS, rescale=False, with_nms=False)
    plain = make_head(test_cfg=cfg).predict_by_feat(*outputs, **settings)
    for image, (found, expected) in enumerate(
        zip(condinst_head(test_cfg=cfg, threshold='joint').predict_by_feat(*outputs, params, **settings), plain)
    ):
        assert len(expected) > 20
        assert all(torch.equal(found[name], expected[name]) for name in ('bboxes', 'scores', 'labels'))
        for point, stride, weights, score in zip(found.points, found.strides, found.param_preds, found.scores):
            level = (8, 16, 32).index(int(stride))
            column, row = ((point / stride) - 0.5).long().tolist()
            assert torch.equal(weights, params[level][image, :, row, column])
            cls_logits, factor = (outputs[part][level][image, :, row, column].sigmoid() for part in (0, 2))
            assert (cls_logits * factor - score).abs().min() < 1e-6


@pytest.mark.parametrize('nms_pre', [5, 20, 1000])
def test_the_threshold_applies_to_the_classification_score(nms_pre):
    """As released: per level the ``nms_pre`` points of the highest joint score, of these every class with a
    classification score above 0.05, whatever its joint score, ranked by the joint score. Against a slow loop."""
    outputs = random_outputs()
    params = [torch.randn(2, 169, *map_.shape[2:]) for map_ in outputs[0]]
    cfg = Config(dict(score_thr=0.05, nms_pre=nms_pre, max_per_img=100, min_bbox_size=-1, nms=None))
    found = condinst_head(test_cfg=cfg).predict_by_feat(
        *outputs, params, batch_img_metas=METAS, rescale=False, with_nms=False
    )
    for image in range(2):
        expected = []
        for logits, _, factors in zip(*outputs):
            cls, joint = logits[image].sigmoid(), logits[image].sigmoid() * factors[image].sigmoid()
            places = [(y, x) for y in range(cls.shape[1]) for x in range(cls.shape[2])]
            best = sorted(places, key=lambda place: -joint[:, place[0], place[1]].max())[:nms_pre]
            level = [(joint[c, y, x].item(), c) for y, x in best for c in range(3) if cls[c, y, x] > 0.05]
            expected += sorted(level, reverse=True)
        assert [label for _, label in expected] == found[image].labels.tolist()
        assert [score for score, _ in expected] == pytest.approx(found[image].scores.tolist())
        assert nms_pre < 20 or min(expected)[0] < 0.05  # such a score is no candidate of the plain head


# --- training -----------------------------------------------------------------------------------------------


def losses_of(model, images) -> dict:
    return model(**model.data_preprocessor(copy.deepcopy(collate(images)), training=True), mode='loss')


def test_gradients_of_masks_reach_controller_and_branch():
    """The mask loss alone trains the controller, the regression tower before it, and the mask branch."""
    model = make_condinst('one_to_few').train()
    losses_of(model, make_masked_images(2))['loss_mask'].backward()
    of_masks = (model.bbox_head.controller, model.bbox_head.reg_convs, model.mask_head.mask_feature_head)
    for parameter in [parameter for module in of_masks for parameter in module.parameters()]:
        assert parameter.grad.isfinite().all()
    for module in (model.bbox_head.controller, *(model.mask_head.mask_feature_head.convs_all_levels)):
        assert next(module.parameters()).grad.any()
    assert model.bbox_head.conv_cls.weight.grad is None
    assert model.mask_head.semantic_pred.weight.grad is None


@pytest.mark.parametrize('score', ['centerness', 'none'])
@pytest.mark.parametrize('name', ['all', 'one_empty', 'all_empty', 'without_area', 'between_points'])
def test_every_parameter_gets_a_gradient(name, score):
    """Whatever is in the images, as distributed training needs it, with one-to-few targets and with POTO's."""
    model = make_condinst('one_to_few', box_head=POTO if score == 'none' else None).train()
    images = make_masked_images(2)
    for image, truth in zip(images, truth_of(name)):
        image['data_samples'].gt_instances = with_masks(truth, SIZE)
    losses = losses_of(model, images)
    minimised = {name for name in losses if 'loss' in name}
    assert minimised == {'loss_cls', 'loss_bbox', 'loss_mask', 'loss_semantic'}
    assert all(loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()
    for part in (model.bbox_head, model.mask_head, model.neck):
        for parameter_name, parameter in part.named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all(), parameter_name
    assert (losses['loss_mask'] > 0) == (name in ('all', 'one_empty'))


@pytest.mark.parametrize('shares', ['neck', 'towers', 'predictors'])
def test_a_second_branch_leaves_the_masks_alone(shares):
    """Whatever it shares, CondInst's own losses are those of a detector without it, and the second's have no masks."""
    images = make_masked_images(2)
    alone = make_condinst('one_to_few').train()
    dual = make_condinst('one_to_few', box_head=dict(second=dict(shares=shares))).train()
    dual.load_state_dict(alone.state_dict(), strict=False)
    expected, found = losses_of(alone, images), losses_of(dual, images)
    assert {name: loss for name, loss in found.items() if not name.startswith('second_')} == expected
    assert {name for name in found if name.startswith('second_')} == {'second_loss_cls', 'second_loss_bbox'}


def test_a_second_branch_takes_the_centres_of_masks_too():
    model = make_condinst('one_to_few', box_head=dict(second=dict(shares='towers'))).train()
    centres = {}
    for name, head in (('main', model.bbox_head), ('second', model.bbox_head.second)):
        select = head.selection.candidates
        head.selection.candidates = lambda *args, name=name, select=select: (
            centres.setdefault(name, args[3].centres),
            select(*args),
        )[1]
    losses_of(model, make_masked_images(2))
    assert torch.equal(centres['main'], centres['second'])


def test_every_positive_teaches_its_mask():
    """The mask loss is the mean dice loss over certain and ambiguous anchors alike."""
    model = make_condinst('one_to_few').train()
    drawn = {}
    model.mask_head.register_forward_hook(lambda module, inputs, outputs: drawn.update(infos=inputs[1], masks=outputs))
    images = make_masked_images(3)
    loss = losses_of(model, images)['loss_mask']
    losses = []
    for image, infos, masks in zip(images, drawn['infos'], drawn['masks'][0]):
        truth = image['data_samples'].gt_instances.masks.masks[:, 2::4, 2::4]
        for instance, logits in zip(infos.pos_assigned_gt_inds.tolist(), masks):
            p, target = logits.detach().sigmoid().double(), torch.tensor(truth[instance]).double()
            overlap, total = (p * target).sum(), (p**2).sum() + (target**2).sum() + 1e-5
            losses.append(1 - 2 * overlap / total)
    assert len(losses) > 3 * sum(len(image['data_samples'].gt_instances) for image in images)  # many are ambiguous
    assert loss.item() == pytest.approx(2 * sum(losses).item() / len(losses), rel=1e-5)


def test_padded_images():
    """Images of other sizes than the batch: masks are padded like the pixels, and the losses stay finite."""
    model = make_condinst('one_to_few').train()
    images = make_masked_images(1, (64, 96)) + make_masked_images(2, (51, 70), seed=1)[1:]
    losses = losses_of(model, images)
    assert all(loss.isfinite() for loss in losses.values()) and losses['loss_mask'] > 0


def test_a_step_learns_the_masks():
    """A few steps on one batch lower the mask and the semantic loss."""
    model = make_condinst('one_to_few').train()
    images = make_masked_images(2)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    seen = []
    for _ in range(30):
        losses = losses_of(model, images)
        seen.append([losses[name].item() for name in ('loss_mask', 'loss_semantic')])
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    assert all(last < 0.7 * first for first, last in zip(seen[0], seen[-1]))


def test_the_graph_of_a_batch_is_let_go():
    """What the mask head was given is not kept until the next batch."""
    model = make_condinst('one_to_few').train()
    losses_of(model, make_masked_images(2))
    copy.deepcopy(model)  # fails on tensors with a graph


def test_starting_weights_of_the_plain_head_are_drawn_first():
    """The controller and the mask head take nothing from the random numbers of what they are added to."""
    torch.manual_seed(0)
    plain = make_head()
    torch.manual_seed(0)
    head = condinst_head()
    assert all(torch.equal(tensor, head.state_dict()[name]) for name, tensor in plain.state_dict().items())


# --- the semantic branch ------------------------------------------------------------------------------------


def test_semantic_target_equals_a_slow_loop():
    """At every 8th pixel from 4 on, the class of the smallest instance that covers it, or the background."""
    found = random_truth(2)[0]
    target = semantic_target(found, 3, 8)
    masks, labels = found.masks.masks.astype(bool), found.labels.tolist()
    for row in range(8):
        for column in range(12):
            covering = [(mask.sum(), label) for mask, label in zip(masks, labels) if mask[8 * row + 4, 8 * column + 4]]
            assert target[row, column] == (min(covering)[1] if covering else 3)
    assert len(set(target.flatten().tolist())) >= 3
    assert torch.equal(semantic_target(random_truth(2)[1], 3, 8), torch.full((8, 12), 3))


def test_semantic_loss_by_hand():
    """The focal loss of every pixel and class of the first map, over the pixels that show an instance."""
    model = make_condinst('one_to_few').train()
    head, truth = model.mask_head, random_truth(3)
    x = random_maps(batch=3)
    loss = head._semantic_loss(x[0], truth)
    p = head.semantic_pred(head.semantic_convs(x[0])).sigmoid().double()
    targets = torch.stack([semantic_target(image, 3, 8) for image in truth])
    positive = targets.unsqueeze(1) == torch.arange(3).view(1, 3, 1, 1)
    expected = torch.where(positive, -0.25 * (1 - p) ** 2 * p.log(), -0.75 * p**2 * (1 - p).log()).sum()
    assert loss.item() == pytest.approx((expected / (targets < 3).sum()).item(), rel=1e-5)


def test_the_semantic_branch_is_for_training_alone():
    """Without it predictions are the same, and MMDetection's one-to-many model has none."""
    model = make_condinst('one_to_few')
    del model.mask_head.semantic_convs, model.mask_head.semantic_pred
    data = model.data_preprocessor(collate(make_masked_images(1)))
    assert len(model.predict(data['inputs'], data['data_samples'])[0].pred_instances) > 0
    losses = losses_of(make_condinst('one_to_many').train(), make_masked_images(2))
    assert losses.keys() == {'loss_cls', 'loss_bbox', 'loss_centerness', 'loss_mask'}


def test_scores_start_at_a_hundredth():
    """As those of the detection head, so that the many background pixels do not drown the first steps."""
    torch.manual_seed(0)
    model = MODELS.build(condinst_config('one_to_few'))
    model.init_weights()
    assert model.mask_head.semantic_pred.bias.sigmoid().tolist() == pytest.approx([0.01] * 3)
    assert HEADS['one_to_few'][1]['type'] == type(model.mask_head).__name__


def test_initial_weights_are_those_of_the_released_head():
    """A normal distribution of standard deviation 0.01 for every convolution of the box and mask heads."""
    torch.manual_seed(0)
    settings = dict(SEMANTIC_MASK_HEAD, semantic_channels=64)
    settings['mask_feature_head'] = dict(settings['mask_feature_head'], in_channels=32, feat_channels=64)
    head = MODELS.build(settings)
    head.init_weights()
    convolutions = {name: module for name, module in head.named_modules() if isinstance(module, torch.nn.Conv2d)}
    assert {name.split('.')[0] for name in convolutions} == {'mask_feature_head', 'semantic_convs', 'semantic_pred'}
    for name, module in convolutions.items():
        assert module.weight.std().item() == pytest.approx(0.01, rel=0.2), name
        assert name == 'semantic_pred' or module.bias is None or not module.bias.any(), name


# --- data ---------------------------------------------------------------------------------------------------


def test_coco_with_masks_loads_them_in_any_pipeline(tmp_path):
    """Polygons and run-length codes alike, though the pipeline asks for boxes alone."""
    square = [[10.0, 20.0, 30.0, 20.0, 30.0, 40.0, 10.0, 40.0]]
    code = dict(size=[64, 96], counts=[64 * 50, 64 * 10, 64 * 36])  # columns 50 to 59
    annotations = [
        dict(id=i + 1, image_id=1, category_id=1, iscrowd=0, area=400, bbox=box, segmentation=segmentation)
        for i, (box, segmentation) in enumerate([([10, 20, 20, 20], square), ([50, 0, 10, 64], code)])
    ]
    images = [dict(id=1, file_name='1.jpg', height=64, width=96)]
    content = dict(images=images, annotations=annotations, categories=[dict(id=1, name='cat')])
    (tmp_path / 'truth.json').write_text(json.dumps(content))
    dataset = DATASETS.build(
        dict(
            type='CocoWithMasks',
            ann_file=str(tmp_path / 'truth.json'),
            data_prefix=dict(img=''),
            metainfo=dict(classes=('cat',)),
            pipeline=[dict(type='LoadAnnotations', with_bbox=True)],
        )
    )
    info = dataset.get_data_info(0)
    masks = dataset.pipeline(dict(info, ori_shape=(64, 96)))['gt_masks'].masks
    assert masks.shape == (2, 64, 96) and 350 < masks[0].sum() < 500
    assert masks[1].sum() == 640 and masks[1][:, 50:60].all()


def test_masks_stay_polygons_where_a_pipeline_says_so(tmp_path):
    square = [[10.0, 20.0, 30.0, 20.0, 30.0, 40.0, 10.0, 40.0]]
    annotation = dict(id=1, image_id=1, category_id=1, iscrowd=0, area=400, bbox=[10, 20, 20, 20], segmentation=square)
    images = [dict(id=1, file_name='1.jpg', height=64, width=96)]
    content = dict(images=images, annotations=[annotation], categories=[dict(id=1, name='cat')])
    (tmp_path / 'truth.json').write_text(json.dumps(content))
    pipeline = [dict(type='LoadAnnotations', with_bbox=True, poly2mask=False)]
    files = dict(ann_file=str(tmp_path / 'truth.json'), data_prefix=dict(img=''), metainfo=dict(classes=('cat',)))
    dataset = DATASETS.build(dict(type='CocoWithMasks', **files, pipeline=pipeline))
    masks = dataset.pipeline(dict(dataset.get_data_info(0), ori_shape=(64, 96)))['gt_masks']
    assert masks.masks[0][0].tolist() == square[0]
