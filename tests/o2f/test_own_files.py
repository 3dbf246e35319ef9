"""Annotation files as people write them: labels by name, ids by place. A model that returns the truth has AP 1."""

import copy
import json
import random

import cv2
import numpy as np
import pytest
import torch
from mmcv.transforms import LoadImageFromFile
from mmdet.evaluation import CocoMetric
from mmdet.registry import DATASETS
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from PIL import Image
from pycocotools import mask as rle

from o2f.datasets import LoadNamedImage
from o2f.errors import InputError
from o2f.evaluation.coco import BACKENDS, DetectionLists
from o2f.evaluation.metric import TwoReadingsMetric
from o2f.io.coco_file import read_coco
from o2f.io.dataset_check import Source, inspect, inspect_config
from o2f.io.images import read_image

CLASSES = ('cat', 'dog', 'Fisch')
PIPELINE = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True), dict(type='PackDetInputs')]


@pytest.fixture
def content():
    """Four images of 60 x 50 pixels with two objects each; ids have gaps."""
    draw = random.Random(0)
    images = [dict(id=10 * n, file_name=f'{n}.png', width=60, height=50) for n in range(1, 5)]
    annotations = []
    for image in images:
        for x in (3, 33):
            box = [x, draw.randint(0, 20), draw.randint(12, 25), draw.randint(12, 25)]
            category = (3, 5, 9)[len(annotations) % 3]
            annotations.append(
                dict(id=len(annotations) + 1, image_id=image['id'], category_id=category, bbox=box, iscrowd=0)
                | dict(area=box[2] * box[3])
            )
    categories = [dict(id=n, name=name) for n, name in zip((3, 5, 9), CLASSES)]
    return dict(images=images, annotations=annotations, categories=categories)


def written(folder, content, encoding='utf-8'):
    """The annotation file and the folder of its images."""
    (folder / 'images').mkdir()
    for image in content['images']:
        name = image.get('file_name')
        cv2.imwrite(str(folder / 'images' / name), np.full((50, 60, 3), 90, np.uint8))
    (folder / 'truth.json').write_bytes(json.dumps(content).encode(encoding))
    return folder / 'truth.json', folder / 'images'


def load(path, images, classes, **settings):
    init_default_scope('mmdet')
    config = dict(type='CocoDataset', ann_file=str(path), data_prefix=dict(img=str(images)), pipeline=PIPELINE)
    return DATASETS.build({**config, 'metainfo': dict(classes=classes), **settings})


def samples_of(dataset):
    """What a model finds that returns exactly the truth as the loader has labelled it."""
    samples = []
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        objects = [entry for entry in info['instances'] if not entry['ignore_flag']]
        found = InstanceData(
            bboxes=torch.tensor([entry['bbox'] for entry in objects], dtype=torch.float64).reshape(-1, 4),
            labels=torch.tensor([entry['bbox_label'] for entry in objects], dtype=torch.long),
            scores=torch.linspace(0.9, 0.5, len(objects), dtype=torch.float64),
        )
        samples.append(dict(img_id=info['img_id'], ori_shape=(50, 60), pred_instances=found, pred_instances_nms=found))
    return samples


def oracle(path, images, classes, **settings):
    dataset = load(path, images, classes, test_mode=True)
    metric = TwoReadingsMetric(str(path), **settings)
    metric.dataset_meta = dataset.metainfo
    metric.process({}, samples_of(dataset))
    return metric.evaluate(size=len(dataset))


def swap_categories(content):
    content['categories'].reverse()


def uuids(content):
    for number, entry in enumerate(content['annotations']):
        entry['id'] = f'3f2504e0-4f89-{number:04d}'


def text_images(content):
    for entry in content['images']:
        entry['id'] = f'{entry["id"]:04d}'
    for entry in content['annotations']:
        entry['image_id'] = f'{entry["image_id"]:04d}'


def named_images(content):
    text_images(content)
    for entry in [*content['images'], *content['annotations']]:
        key = 'id' if 'file_name' in entry else 'image_id'
        entry[key] = f'img-{entry[key]}'


def text_categories(content):
    for entry in content['categories']:
        entry['id'] = f'c{entry["id"]}'
    for entry in content['annotations']:
        entry['category_id'] = f'c{entry["category_id"]}'


def mixed_ids(content):
    """The first image and category have text, the others numbers."""
    for entry, key in ((content['images'][0], 'image_id'), (content['categories'][0], 'category_id')):
        was, entry['id'] = entry['id'], 'first'
        for annotation in content['annotations']:
            annotation[key] = 'first' if annotation[key] == was else annotation[key]


def no_ids(content):
    for entry in content['annotations']:
        del entry['id']


def equal_ids(content):
    for entry in content['annotations']:
        entry['id'] = 7


def from_zero(content):
    for entry in content['annotations']:
        entry['id'] -= 1


def huge_ids(content):
    for number, entry in enumerate(content['annotations']):
        entry['id'] = 2**63 + number
    content['images'][0]['id'] = 2**40
    for entry in content['annotations']:
        entry['image_id'] = 2**40 if entry['image_id'] == 10 else entry['image_id']


def negative_ids(content):
    for entry in content['annotations']:
        entry['id'] = -entry['id']


def floats(content):
    for entry in content['annotations']:
        entry['image_id'], entry['category_id'] = float(entry['image_id']), float(entry['category_id'])


def nothing_but_boxes(content):
    for entry in content['annotations']:
        del entry['area'], entry['iscrowd']
    for entry in content['images']:
        del entry['width'], entry['height']


def nulls(content):
    for entry in content['annotations']:
        entry['area'] = entry['iscrowd'] = entry['segmentation'] = None
    for entry in content['images']:
        entry['width'] = entry['height'] = None


def area_of_zero(content):
    for entry in content['annotations']:
        entry['area'] = 0


def crowd_in_text(content):
    for entry in content['annotations']:
        entry['iscrowd'] = '0'


def polygons_alone(content):
    for entry in content['annotations']:
        x, y, width, height = entry.pop('bbox')
        entry['segmentation'] = [[x, y, x + width, y, x + width, y + height, x, y + height]]


def out_of_the_image(content):
    content['annotations'][1]['bbox'] = [40, 10, 23, 20]
    content['annotations'][3]['bbox'] = [-4, -3, 23, 20]


def useless_boxes(content):
    """One without area, one outside of its image, and one that is to be ignored."""
    first = content['annotations'][0]
    for number, box in enumerate(([5, 5, 0, 9], [70, 5, 9, 9])):
        content['annotations'].append({**first, 'id': 50 + number, 'bbox': box})
    content['annotations'].append({**first, 'id': 60, 'bbox': [5, 5, 30, 40], 'area': 1200, 'ignore': 1})


def crowd(content):
    first = content['annotations'][0]
    content['annotations'].append({**first, 'id': 60, 'bbox': [0, 0, 60, 50], 'area': 3000, 'iscrowd': 1})


def roboflow_root(content):
    content['categories'].insert(0, dict(id=0, name='animals', supercategory='none'))


def unused_categories(content):
    content['categories'][1:1] = [dict(id=4, name='cow'), dict(id=100, name='bird')]


def shuffled(content):
    for part in content.values():
        random.Random(1).shuffle(part)


KINDS = [
    swap_categories,
    uuids,
    text_images,
    named_images,
    text_categories,
    mixed_ids,
    no_ids,
    equal_ids,
    from_zero,
    huge_ids,
    negative_ids,
    floats,
    nothing_but_boxes,
    nulls,
    area_of_zero,
    crowd_in_text,
    polygons_alone,
    out_of_the_image,
    useless_boxes,
    crowd,
    roboflow_root,
    unused_categories,
    shuffled,
]


@pytest.mark.parametrize('backend', ['faster_coco_eval', pytest.param('pycocotools', marks=pytest.mark.slow)])
@pytest.mark.parametrize('change', KINDS, ids=lambda change: change.__name__)
def test_the_truth_has_ap_1(content, tmp_path, change, backend):
    """Whatever the file is like, in any order of the classes, without and with NMS."""
    change(content)
    files = written(tmp_path, content)
    for classes in (CLASSES, CLASSES[::-1], ('dog', 'Fisch', 'cat')):
        metrics = oracle(*files, classes, backend=backend)
        assert metrics['without_nms/AP'] == metrics['with_nms/AP'] == pytest.approx(1, abs=1e-9)
        assert metrics['without_nms/AR'] == pytest.approx(1) and metrics['without_nms/duplicates'] == 0


@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-16'])
def test_a_byte_order_mark(content, tmp_path, encoding):
    assert oracle(*written(tmp_path, content, encoding), CLASSES)['without_nms/AP'] == pytest.approx(1)


def test_labels_follow_classes(content, tmp_path):
    """By name, for training and validation files of other orders alike; and other classes are left out."""
    files = written(tmp_path, content)
    (tmp_path / 'val').mkdir()
    other = copy.deepcopy(content)
    swap_categories(other)
    others = written(tmp_path / 'val', other)
    names = {3: 'cat', 5: 'dog', 9: 'Fisch'}
    classes = ('Fisch', 'cat')
    for paths in (files, others):
        dataset = load(*paths, classes, test_mode=True)
        for index in range(len(dataset)):
            info = dataset.get_data_info(index)
            expected = [names[a['category_id']] for a in content['annotations'] if a['image_id'] == info['img_id']]
            found = [classes[entry['bbox_label']] for entry in info['instances']]
            assert found == [name for name in expected if name in classes]
    assert oracle(*others, classes)['without_nms/AP'] == pytest.approx(1)


def test_mmdetections_metric_goes_by_name_too(content, tmp_path):
    """Where a config keeps CocoMetric, the settings' hook gives it the order of the classes."""
    from types import SimpleNamespace

    from o2f.safeguards import SettingsCheckHook

    files = written(tmp_path, content)
    dataset = load(*files, CLASSES[::-1], test_mode=True)
    metric = CocoMetric(str(files[0]))
    metric.dataset_meta = dataset.metainfo
    runner = SimpleNamespace(
        model=torch.nn.Module(),
        val_dataloader=SimpleNamespace(dataset=dataset),
        val_evaluator=SimpleNamespace(metrics=[metric]),
    )
    SettingsCheckHook().before_val(runner)
    metric.process({}, samples_of(dataset))
    assert metric.evaluate(size=4)['coco/bbox_mAP'] == 1


@pytest.mark.parametrize(
    'change, classes, says',
    [
        (lambda c: None, ('cat', 'dog', 'fisch'), "has no category 'fisch' (did you mean 'Fisch'?)"),
        (lambda c: c['categories'].pop(), CLASSES, "has no category 'Fisch'"),
        (lambda c: None, 'cat', 'a comma is needed'),
        (
            lambda c: c['categories'].append(dict(id=0, name='cat')),
            CLASSES,
            "has 2 categories named 'cat', with ids 3, 0",
        ),
        (lambda c: None, None, "has no category 'person'; it has 'cat', 'dog', 'Fisch': write the classes (metainfo"),
    ],
)
def test_classes_are_checked_at_the_start(content, tmp_path, change, classes, says):
    """By loader and metric, before anything is trained."""
    content['annotations'] = content['annotations'][:2]
    change(content)
    files = written(tmp_path, content)
    settings = {} if classes else dict(metainfo=None)
    with pytest.raises(InputError) as error:
        load(*files, classes, **settings)
    assert says in str(error.value) and str(files[0]) in str(error.value) or 'comma' in says
    if classes:
        with pytest.raises(InputError, match='.'):
            TwoReadingsMetric(str(files[0])).dataset_meta = dict(classes=classes)


@pytest.mark.parametrize(
    'change, says',
    [
        (lambda c: c.update(images=[], annotations=[]), 'nothing to train on: 0 images'),
        (
            lambda c: [image.update(width=20) for image in c['images']],
            'nothing to train on: 4 images, 4 under 32 pixels',
        ),
        (
            lambda c: c.update(annotations=[]),
            'nothing to train on: 4 images, 0 under 32 pixels, 4 without a usable object',
        ),
        (
            lambda c: [a.update(bbox=[side / 60 for side in a['bbox']]) for a in c['annotations']],
            'the boxes look like fractions of the image',
        ),
    ],
    ids=['no image', 'tiny', 'no object', 'fractions'],
)
def test_nothing_to_train_on(content, tmp_path, change, says):
    change(content)
    files = written(tmp_path, content)
    with pytest.raises(InputError) as error:
        load(*files, CLASSES, filter_cfg=dict(filter_empty_gt=True, min_size=32))
    assert says in str(error.value)


TRIANGLE = [11, 6, 40, 6, 40, 24]
RUNS = dict(size=[50, 60], counts=[600, 100, 2300])
DIAGONAL = rle.encode(np.eye(50, 60, dtype=np.uint8, order='F'))
TEXT_OF_RUNS = dict(size=[50, 60], counts=DIAGONAL['counts'].decode())
BAD_MASKS = {
    'missing': (None, 'no segmentation'),
    'no list': (True, 'a segmentation True'),
    'no area': ([[5, 5, 9, 5, 7, 5]], 'a segmentation [[5, 5, 9, 5, 7, 5]] without an area'),
    'empty': ([[]], r'a segmentation [[]] without a polygon of three points'),
    'a box': ([[10, 5, 30, 20]], 'a segmentation [[10, 5, 30, 20]] without a polygon of three points'),
    'flat': (TRIANGLE, 'a segmentation with 11, which is no polygon'),
    'points': ([[[11, 6], [40, 6], [40, 24]]], 'a segmentation with [[11, 6], [40, 6], [40, 24]], which is no polygon'),
    'odd': ([TRIANGLE[:-1] + [24, 11]], 'which is no polygon'),
    'not finite': ([[*TRIANGLE[:-1], float('nan')]], 'which is no polygon'),
    'fractions': (
        [[side / 60 for side in TRIANGLE]],
        'a segmentation outside of its bbox: it reaches from 0.183333, 0.1 to 0.666667, 0.4',
    ),
    'another size': (
        dict(RUNS, size=[60, 50]),
        'run lengths of size [60, 50], and its image has height and width [50,',
    ),
    'short runs': (dict(RUNS, counts=[600, 100]), 'run lengths that do not fill its image'),
    'long runs': (dict(RUNS, counts=[600, 100, 9999]), 'run lengths that do not fill its image'),
    'broken runs': (dict(RUNS, counts=[600.0, 100.0, 2300.0]), 'that do not fill its image with whole numbers'),
    'text in runs': (dict(RUNS, counts=['a']), 'run lengths that do not fill its image'),
    'garbled runs': (dict(RUNS, counts='garbage!!'), 'run lengths that cannot be read'),
    'half of the runs': (dict(RUNS, counts=TEXT_OF_RUNS['counts'][:9]), 'run lengths that do not fill its image'),
    'half of the size': (dict(RUNS, size=[50]), 'without counts and size'),
    'no runs': (dict(size=[50, 60]), 'without counts and size'),
    'no pixel': (dict(RUNS, counts=[3000]), 'run lengths without a pixel'),
}


def with_masks(content):
    """The content with a mask for each object, that of its box."""
    for entry in content['annotations']:
        x, y, width, height = entry['bbox']
        entry['segmentation'] = [[x, y, x + width, y, x + width, y + height, x, y + height]]
    return content


@pytest.mark.parametrize('given, says', BAD_MASKS.values(), ids=BAD_MASKS)
def test_masks_that_cannot_be_used(content, tmp_path, given, says):
    """Named at the start by loader, metric and check alike, and not left out without a word."""
    content = with_masks(content)
    content['annotations'][0]['segmentation'] = given
    files = written(tmp_path, content)
    lines = {
        training: [finding.says for finding in inspect(Source(*files, masks=True, training=training)).of('refused')]
        for training in (True, False)
    }
    for training, ending in ((True, 'or train a detector of boxes'), (False, 'or evaluate boxes alone')):
        with pytest.raises(InputError) as error:
            load(*files, CLASSES, type='CocoWithMasks', test_mode=not training)
        assert lines[training] == [str(error.value)] and str(error.value).endswith(ending)
    metric = TwoReadingsMetric(str(files[0]), metric=['bbox', 'segm'])
    with pytest.raises(InputError) as error:
        metric.dataset_meta = dict(classes=CLASSES)
    assert [str(error.value)] == lines[False]
    box = content['annotations'][0]['bbox']
    assert f'{files[0]}: the object at bbox {box} of image 10 has ' in lines[True][0] and says in lines[True][0]


@pytest.mark.parametrize('given', [[TRIANGLE], [[], TRIANGLE, [1, 2, 3, 4]], RUNS, TEXT_OF_RUNS], ids=str)
def test_masks_that_can_be_used(content, tmp_path, given):
    """A polygon of under three points is left out beside others."""
    content = with_masks(content)
    content['annotations'][0]['segmentation'] = given
    files = written(tmp_path, content)
    assert not inspect(Source(*files, masks=True)).of('refused')
    steps = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)]
    masks = load(*files, CLASSES, type='CocoWithMasks', pipeline=steps)[0]['gt_masks']
    pixels = {dict: 100 if given is RUNS else 50, list: 29 * 18 / 2}[type(given)]
    assert masks.masks[0].sum() == pytest.approx(pixels, abs=3)
    metric = TwoReadingsMetric(str(files[0]), metric=['bbox', 'segm'])
    metric.dataset_meta = dict(classes=CLASSES)
    kept = metric.evaluation.truth.dataset['annotations'][0]['segmentation']
    assert kept == ([TRIANGLE] if isinstance(given, list) else given)


def test_masks_that_no_training_needs(content, tmp_path):
    """Objects of other classes, and those marked ignore."""
    content = with_masks(content)
    content['annotations'][0].update(segmentation=None, ignore=1)  # a cat
    content['annotations'][1]['segmentation'] = None  # a dog
    files = written(tmp_path, content)
    assert load(*files, ['cat', 'Fisch'], type='CocoWithMasks')
    assert not inspect(Source(*files, ('cat', 'Fisch'), masks=True)).of('refused')
    assert not inspect(Source(*files, ('Fisch',), masks=True, training=False)).of('refused')
    for backend in BACKENDS:
        for garbage in (None, [1, 2, 3], dict(counts='x')):
            content['annotations'][1]['segmentation'] = garbage
            files[0].write_text(json.dumps(content))
            metric = TwoReadingsMetric(str(files[0]), metric=['bbox', 'segm'], backend=backend)
            metric.dataset_meta = dict(classes=['Fisch'])
            fish = [entry for entry in content['annotations'] if entry['category_id'] == 9]
            columns = zip(*((e['image_id'], 9, 0.5, e['area'], e['segmentation']) for e in fish))
            encoded = [list(column) for column in columns]
            encoded[-1] = [rle.merge(rle.frPyObjects(polygons, 50, 60)) for polygons in encoded[-1]]
            found = metric.evaluation.metrics('segm', DetectionLists(*encoded), [10, 20, 30, 40], [9])
            assert found['AP'] == pytest.approx(1)


def test_a_crowd_as_coco_has_it(content, tmp_path):
    """Its run lengths are numbers. It may have them where objects are loaded as polygons."""
    content = with_masks(content)
    content['annotations'][0].update(segmentation=RUNS, iscrowd=1)
    files = written(tmp_path, content)
    for poly2mask in (True, False):
        steps = [PIPELINE[0], dict(type='LoadAnnotations', with_bbox=True, poly2mask=poly2mask)]
        assert load(*files, CLASSES, type='CocoWithMasks', pipeline=steps)[0]['gt_ignore_flags'].tolist() == [
            True,
            False,
        ]
        assert not inspect(Source(*files, masks=True, polygons_only=not poly2mask)).of('refused')
    TwoReadingsMetric(str(files[0]), metric=['bbox', 'segm']).dataset_meta = dict(classes=CLASSES)


def test_masks_of_images_without_sizes(content, tmp_path):
    """The metric cannot measure them: the check says so for validation data, and only if masks are evaluated."""
    content = with_masks(content)
    for image in content['images']:
        del image['width'], image['height']
    files = written(tmp_path, content)
    [line] = [finding.says for finding in inspect(Source(*files, masks=True, training=False)).of('refused')]
    assert 'image 10 has no width and height, which masks need' in line
    with pytest.raises(InputError, match='image 10 has no width and height, which masks need'):
        TwoReadingsMetric(str(files[0]), metric=['bbox', 'segm']).dataset_meta = dict(classes=CLASSES)
    assert not inspect(Source(*files, masks=True)).of('refused')
    assert not inspect(Source(*files, training=False)).of('refused')


def test_the_check_knows_what_the_metric_needs(content, tmp_path):
    """Masks, even if the loader of the validation data loads none."""
    path, images = written(tmp_path, content)
    dataset = dict(type='CocoDataset', ann_file=str(path), data_prefix=dict(img=str(images)), pipeline=PIPELINE)
    dataset['metainfo'] = dict(classes=CLASSES)
    config = dict(val_dataloader=dict(dataset=dataset), val_evaluator=dict(metric=['bbox', 'segm']))
    [report], _ = inspect_config(config)
    assert 'no segmentation' in report.of('refused')[0].says
    [report], _ = inspect_config(dict(config, val_evaluator=dict(metric='bbox')))
    assert not report.of('refused')


def test_run_lengths_with_polygons_alone(content, tmp_path):
    content = with_masks(content)
    content['annotations'][0]['segmentation'] = RUNS
    files = written(tmp_path, content)
    steps = [dict(type='LoadAnnotations', with_bbox=True, poly2mask=False)]
    with pytest.raises(InputError) as error:
        load(*files, CLASSES, type='CocoWithMasks', pipeline=steps)
    assert 'of image 10 has run lengths, which poly2mask=False cannot load' in str(error.value)
    [line] = [finding.says for finding in inspect(Source(*files, masks=True, polygons_only=True)).of('refused')]
    assert line == str(error.value)


def test_an_image_that_cannot_be_read_is_named(content, tmp_path):
    files = written(tmp_path, content)
    (files[1] / '2.png').write_bytes(b'')
    dataset = load(*files, CLASSES)
    with pytest.raises(InputError, match='2.png cannot be read'):
        dataset[1]


@pytest.mark.parametrize('ending', ['tga', 'ico', 'sgi', 'png', 'jpg', 'gif'])
def test_the_check_and_the_loader_decode_alike(content, tmp_path, ending):
    """OpenCV does not know the first three."""
    files = written(tmp_path, content)
    path = files[1] / f'1.{ending}'
    pixels = np.random.default_rng(0).integers(0, 255, (50, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **(dict(sizes=[(60, 50)]) if ending == 'ico' else {}))
    loaded = LoadNamedImage().transform(dict(img_path=str(path)))
    assert np.array_equal(loaded['img'], read_image(path)) and loaded['ori_shape'] == loaded['img_shape'] == (50, 60)
    if ending in ('tga', 'ico', 'sgi', 'png'):
        assert np.array_equal(loaded['img'], pixels[..., ::-1])
    if ending in ('png', 'jpg', 'gif'):
        assert np.array_equal(loaded['img'], LoadImageFromFile().transform(dict(img_path=str(path)))['img'])


@pytest.mark.parametrize('harm', ['half', 'integers', 'floats'])
def test_an_image_that_the_check_refuses_is_not_trained_on(content, tmp_path, harm):
    files = written(tmp_path, content)
    path = files[1] / '1.png'
    if harm == 'half':
        whole = cv2.imencode('.jpg', np.random.default_rng(0).integers(0, 255, (50, 60, 3), dtype=np.uint8))[1]
        path.write_bytes(whole.tobytes()[: whole.size // 2])
    else:
        values = np.full((50, 60), 40000, dict(integers=np.int32, floats=np.float32)[harm])
        Image.fromarray(values).save(path, 'tiff')
    [line] = [finding.says for finding in inspect(Source(*files)).of('refused')]
    with pytest.raises(InputError) as error:
        load(*files, CLASSES)[0]
    assert line == f'{error.value}: replace it, or take its entry out'


@pytest.mark.parametrize(
    'settings, shape', [(dict(color_type='grayscale'), (50, 60)), (dict(to_float32=True), (50, 60, 3))]
)
def test_settings_of_the_loader_are_kept(content, tmp_path, settings, shape):
    path = written(tmp_path, content)[1] / '1.png'
    expected = LoadImageFromFile(**settings).transform(dict(img_path=str(path)))['img']
    loaded = LoadNamedImage(**settings).transform(dict(img_path=str(path)))['img']
    assert np.array_equal(loaded, expected) and loaded.dtype == expected.dtype and loaded.shape == shape


@pytest.mark.parametrize('area, clipped', [(90 * 20, 50 * 20), (1799.6, 50 * 20), (700, 700), (None, 50 * 20)], ids=str)
def test_the_area_of_a_clipped_box(content, tmp_path, area, clipped):
    """It is that of what is left, and stays if it is a mask's."""
    content['annotations'][0].update(bbox=[10, 5, 90, 20], area=area)
    entry = read_coco(written(tmp_path, content)[0]).annotations[0]
    assert (entry['bbox'], entry['area']) == ([10, 5, 50, 20], clipped)


def test_an_image_of_another_size_is_said(content, tmp_path):
    files = written(tmp_path, content)
    cv2.imwrite(str(files[1] / '1.png'), np.zeros((60, 50, 3), np.uint8))
    with pytest.warns(UserWarning, match=r'1.png is loaded with 50 x 60 pixels, and its annotations are for 60 x 50'):
        load(*files, CLASSES)[0]


# --- the metric's arguments ---------------------------------------------------------------------------------


def test_more_objects_than_coco_counts(tmp_path, caplog):
    """150 of a class in an image: COCO counts 100; max_dets or proposal_nums count all."""
    boxes = [[4 * (n % 15), 5 * (n // 15), 3, 4] for n in range(150)]
    content = dict(
        images=[dict(id=1, file_name='a.png', width=60, height=50)],
        annotations=[dict(id=n, image_id=1, category_id=1, bbox=box) for n, box in enumerate(boxes)],
        categories=[dict(id=1, name='cat')],
    )
    files = written(tmp_path, content)
    logged = []
    from mmengine.logging import MMLogger

    logger = MMLogger.get_current_instance()
    logger.warning, warned = logged.append, logger.warning
    try:
        assert oracle(*files, ('cat',))['without_nms/AP'] == pytest.approx(0.66, abs=0.01)
        assert len(logged) == 1 and 'set max_dets=150' in logged[0]
        for settings in (dict(max_dets=500), dict(proposal_nums=(100, 300, 1000))):
            metrics = oracle(*files, ('cat',), **settings)
            assert metrics['without_nms/AP'] == pytest.approx(1)
        assert metrics['without_nms/AR@100'] == pytest.approx(100 / 150) and metrics['without_nms/AR@1000'] == 1
        assert len(logged) == 1
    finally:
        logger.warning = warned


def test_a_table_by_class(content, tmp_path):
    """One class is found, one has no object, one is missed."""
    content['annotations'] = [entry for entry in content['annotations'] if entry['category_id'] != 5]
    files = written(tmp_path, content)
    metric = TwoReadingsMetric(str(files[0]), classwise=True)
    metric.dataset_meta = dict(classes=CLASSES)
    samples = samples_of(load(*files, CLASSES, test_mode=True))
    for sample in samples:
        sample['pred_instances'] = sample['pred_instances'][sample['pred_instances'].labels != 2]
    metric.process({}, samples)
    metrics = metric.evaluate(size=4)
    assert metrics['without_nms/cat_precision'] == pytest.approx(1) and metrics['without_nms/Fisch_precision'] == 0
    assert metrics['with_nms/Fisch_precision'] == pytest.approx(1) and np.isnan(metrics['with_nms/dog_precision'])


def test_results_in_files(content, tmp_path):
    """With the file's own ids, loadable by pycocotools; format_only needs no annotations and computes nothing."""
    from pycocotools.coco import COCO

    named_images(content)
    swap_categories(content)
    files = written(tmp_path, content)
    samples = samples_of(load(*files, CLASSES, test_mode=True))
    bare = tmp_path / 'bare.json'
    bare.write_text(json.dumps(dict(images=content['images'], categories=content['categories'])))
    metric = TwoReadingsMetric(str(bare), format_only=True, outfile_prefix=str(tmp_path / 'out' / 'test'))
    metric.dataset_meta = dict(classes=CLASSES)
    metric.process({}, samples)
    assert metric.evaluate(size=4) == {}
    for name in ('test.bbox.json', 'test.with_nms.bbox.json'):
        found = json.loads((tmp_path / 'out' / name).read_text())
        truth = [(a['image_id'], a['category_id'], a['bbox']) for a in content['annotations']]
        assert sorted((r['image_id'], r['category_id'], r['bbox']) for r in found) == sorted(truth)
        assert len(COCO(str(files[0])).loadRes(found).anns) == len(truth)
    with pytest.raises(InputError, match='format_only needs outfile_prefix'):
        TwoReadingsMetric(str(bare), format_only=True)


@pytest.mark.parametrize('backend', BACKENDS)
def test_thresholds_and_items(content, tmp_path, backend):
    files = written(tmp_path, content)
    metrics = oracle(*files, CLASSES, iou_thrs=0.5, metric_items=['mAP', 'mAP_50', 'mAP_75'], backend=backend)
    assert metrics.pop('with_nms/AP75') != metrics.pop('without_nms/AP75')  # both NaN: 0.75 is none of the thresholds
    assert set(metrics) == {f'{nms}/{name}' for nms in ('without_nms', 'with_nms') for name in ('AP', 'AP50')}
    assert all(value == pytest.approx(1) for value in metrics.values())


@pytest.mark.parametrize(
    'settings, says',
    [
        (dict(metric='proposal'), r"metric: \['proposal'\] must be 'bbox' or 'segm'"),
        (dict(iou_thrs=[0.5, 50]), 'iou_thrs .* must be numbers above 0, at most 1'),
        (dict(max_dets=0.5), 'must be whole numbers above 0'),
        (dict(metric_items=['mAP_99']), "metric_items has 'mAP_99', and there are AP, AP50"),
    ],
)
def test_arguments_that_mean_nothing(content, tmp_path, settings, says):
    files = written(tmp_path, content)
    with pytest.raises(InputError, match=says):
        TwoReadingsMetric(str(files[0]), **settings)


def test_what_is_put_right_is_counted(content, tmp_path):
    nothing_but_boxes(content)
    out_of_the_image(content)
    path, images = written(tmp_path, content)
    file = read_coco(path, images)
    counts = {kind: tally.count for kind, tally in file.changes.items()}
    assert counts == dict(area=8, iscrowd=8, sizes=4, clipped=2) and not file.faults
    assert file.annotations[1]['bbox'] == [40, 10, 20, 20] and file.annotations[3]['bbox'] == [0, 0, 19, 17]
