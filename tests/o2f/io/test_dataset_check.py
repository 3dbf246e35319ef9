"""Datasets are looked at before a training depends on them: one clear line names the file and the entry."""

import copy
import dataclasses
import json

import cv2
import numpy as np
import pytest
from PIL import Image

from o2f.errors import InputError
from o2f.io.dataset_check import (
    CHANGED,
    NOTED,
    REFUSED,
    Report,
    Source,
    compare,
    inspect,
    inspect_config,
    model_settings,
    other_file,
)
from o2f.io.images import read_image

SOUND = {
    'images': [{'id': 1, 'file_name': 'a.jpg', 'width': 40, 'height': 30}],
    'annotations': [{'id': 5, 'image_id': 1, 'category_id': 2, 'bbox': [1, 2, 10.5, 20], 'area': 200, 'iscrowd': 0}],
    'categories': [{'id': 2, 'name': 'cat'}],
}


@pytest.fixture
def files(tmp_path):
    images = tmp_path / 'images'
    images.mkdir()
    cv2.imwrite(str(images / 'a.jpg'), np.zeros((30, 40, 3), np.uint8))
    return tmp_path / 'instances.json', images


def look(files, content, **settings):
    files[0].write_text(content if isinstance(content, str) else json.dumps(content))
    return inspect(Source(*files, **{'min_size': 0, **settings}))


def check(files, content, **settings):
    return look(files, content, **settings).require()


def said(report, kind):
    return [finding.says for finding in report.of(kind)]


def changed(change):
    content = copy.deepcopy(SOUND)
    change(content)
    return content


def with_box(*box):
    return changed(lambda content: content['annotations'][0].update(bbox=list(box)))


def test_sound_files_pass(files):
    assert not check(files, SOUND).findings
    assert not check(files, with_box(-0.5, 0, 41, 30.9)).findings  # COCO's own boxes leave the image by a rounding


@pytest.mark.parametrize(
    'box, says',
    [
        ((1, 2, 0, 5), '1 annotations have no area and are skipped (first: annotation 5 (a.jpg): bbox [1, 2, 0, 5])'),
        ((1, 2, 5, -1), '1 annotations have no area and are skipped'),
        ((35, 2, 10, 5), '1 annotations reach out of their image and are clipped to it'),
        ((-3, 2, 10, 5), '1 annotations reach out of their image and are clipped to it'),
        ((50, 2, 10, 5), '1 annotations lie outside of their image and are skipped'),
        ((1, 2, 0.5, 5), '1 objects of under 1 pixel, or with area 0, are not trained on'),
    ],
)
def test_what_is_changed_is_counted(files, box, says):
    """MMDetection does the same without a word."""
    content = with_box(*box)
    content['annotations'].append({**SOUND['annotations'][0], 'id': 6})
    report = check(files, content)
    assert [line[: len(says)] for line in said(report, CHANGED)] == [says]
    alone = look(files, with_box(*box))
    assert bool(said(alone, REFUSED)) == ('clipped' not in says)  # then nothing is left to train on


@pytest.mark.parametrize(
    'content, says',
    [
        ('{"images": [', 'is not JSON'),
        ('[]', "the list 'images' is missing"),
        (changed(lambda c: c.pop('categories')), "the list 'categories' is missing"),
        (changed(lambda c: c['images'][0].update(file_name='b.jpg')), "names the image 'b.jpg', which is not in"),
        (changed(lambda c: c['images'][0].update(file_name='x\\\\a.jpg')), 'write folders in names with / instead of'),
        (changed(lambda c: c['images'][0].update(file_name='b.jpg', width=0)), 'has no width and height above 0'),
        (changed(lambda c: c['images'].append(dict(c['images'][0]))), 'both have the id 1: give each its own'),
        (changed(lambda c: c['images'][0].pop('id')), 'images[0] has no id'),
        (changed(lambda c: c['images'][0].pop('file_name')), "image 1 has no 'file_name'"),
        (changed(lambda c: c['categories'].append({'id': 2, 'name': 'dog'})), 'two categories have the id 2'),
        (
            changed(lambda c: c['categories'].append({'id': 3, 'name': 'cat'})),
            "has 2 categories named 'cat', with ids 2, 3",
        ),
        (changed(lambda c: c['categories'][0].update(name=7)), 'category 2 has no name in text'),
        (changed(lambda c: c['annotations'][0].pop('bbox')), 'annotation 5 (a.jpg): bbox None must be four numbers'),
        (changed(lambda c: c['annotations'][0].update(iscrowd='no')), "iscrowd 'no' must be 0 or 1"),
        (changed(lambda c: c['annotations'][0].update(image_id='1')), "image '1', which the file does not list, but 1"),
        (
            changed(lambda c: c['annotations'][0].update(image_id=[1])),
            "is of image '[1]', which the file does not list",
        ),
        (changed(lambda c: c.update(images=[], annotations=[])), 'it lists no image'),
        (changed(lambda c: c.update(annotations=[])), 'nothing to train on: 1 images, 0 under 0 pixels, 1 without'),
        (with_box(0.1, 0.2, 0.5, 0.5), 'the boxes look like fractions of the image'),
        (changed(lambda c: c['annotations'][0].update(image_id=9)), 'annotation 5 is of image 9'),
        (changed(lambda c: c['annotations'][0].update(category_id=9)), 'annotation 5 has category 9'),
        (changed(lambda c: c['annotations'].append('x')), "annotations[1] is no mapping: 'x'"),
        (with_box(1, 2, 3), 'must be four numbers'),
        (with_box(1, 2, 3, None), 'must be four numbers'),
        (with_box(1, 2, float('nan'), 5), 'must be four numbers'),
    ],
)
def test_a_broken_file_is_named(files, content, says):
    with pytest.raises(InputError) as error:
        check(files, content)
    assert says in str(error.value) and str(files[0]) in str(error.value) and '\n' not in str(error.value)


def test_missing_files_are_named(files):
    with pytest.raises(InputError, match='instances.json is missing: put the annotations there'):
        inspect(Source(*files)).require()
    files[1].joinpath('a.jpg').unlink()
    files[1].rmdir()
    with pytest.raises(InputError, match='images: the images of .* are not there'):
        check(files, SOUND)


CROWD_IDS = ('273271,c9db000d5146c15', '284193,faa9000f2678b5e')
PERSON = {
    'tag': 'person',
    'hbox': [60, 5, 12, 14],
    'vbox': [50, 0, 30, 70],
    'fbox': [48, -6, 34, 130],  # a whole body leaves the image
    'head_attr': {'ignore': 0, 'occ': 1, 'unsure': 0},
    'extra': {'box_id': 0, 'occ': 1},
}
MASK = {'tag': 'mask', **dict.fromkeys(('hbox', 'vbox', 'fbox'), [0, 0, 9, 9]), 'head_attr': {}, 'extra': {'ignore': 1}}


def crowd_line(name=CROWD_IDS[0], **changes):
    """A line of an .odgt file with one person, changed."""
    return json.dumps({'ID': name, 'gtboxes': [MASK, {**PERSON, **changes}]})


@pytest.fixture
def crowd_files(tmp_path):
    """CrowdHuman's layout with two images: where to write the annotations, and the folder of the images."""
    (tmp_path / 'Images').mkdir()
    for name in CROWD_IDS:
        cv2.imwrite(str(tmp_path / 'Images' / f'{name}.jpg'), np.zeros((60, 80, 3), np.uint8))
    return tmp_path / 'annotation_train.odgt', tmp_path / 'Images'


def check_crowd(files, *lines):
    files[0].write_text(''.join(f'{line}\n' for line in lines))
    return inspect(Source(*files)).require()


def without(key):
    return json.dumps({'ID': CROWD_IDS[0], 'gtboxes': [{name: v for name, v in PERSON.items() if name != key}]})


def test_sound_crowds_pass(crowd_files):
    nobody = json.dumps({'ID': CROWD_IDS[1], 'gtboxes': []})
    check_crowd(crowd_files, crowd_line(), nobody)
    for box in ([1, 2, 0, 5], [1, 2, 5, -1]):
        [flat] = said(check_crowd(crowd_files, crowd_line(fbox=box), nobody), CHANGED)
        assert flat.startswith('1 full boxes have no area and are not learned') and 'gtboxes[1]' in flat
    check_crowd(crowd_files, without('extra'))
    sizes = crowd_files[0].with_name('id_hw_train.json')
    sizes.write_text(json.dumps({name: [600, 800] for name in CROWD_IDS}))
    check_crowd(crowd_files, crowd_line(), nobody)


@pytest.mark.parametrize(
    'line, says',
    [
        (crowd_line(CROWD_IDS[1])[:-3], "line 2 is not JSON (Expecting ',' delimiter)"),
        ('', 'line 2 is not JSON'),
        ('[]', "line 2 lacks the image's 'ID'"),
        (json.dumps({'ID': 7, 'gtboxes': []}), "line 2 lacks the image's 'ID'"),
        (json.dumps({'ID': CROWD_IDS[1]}), f"line 2: image {CROWD_IDS[1]} lacks the list 'gtboxes'"),
        (crowd_line('273271,gone'), "names the image '273271,gone.jpg', which is not in"),
        (crowd_line(), f'line 2: the image {CROWD_IDS[0]} is on line 1 already'),
        (without('fbox'), "line 2, gtboxes[0] lacks the key 'fbox'"),
        (without('vbox'), "lacks the key 'vbox'"),
        (without('tag'), "lacks the key 'tag'"),
        (json.dumps({'ID': CROWD_IDS[1], 'gtboxes': ['x']}), "line 2, gtboxes[0] lacks the key 'tag'"),
        (crowd_line(fbox=[1, 2, 3]), 'line 2, gtboxes[1]: fbox [1, 2, 3] must be four numbers'),
        (crowd_line(hbox=[1, 2, 3, None]), 'hbox [1, 2, 3, None] must be four numbers'),
        (crowd_line(vbox='large'), 'vbox large must be four numbers'),
        (crowd_line(fbox=[1, 2, 3, float('nan')]), 'must be four numbers'),
        (crowd_line(extra=None), 'gtboxes[1]: extra None must be a mapping'),
        (crowd_line(head_attr=[1]), 'head_attr [1] must be a mapping'),
    ],
)
def test_a_broken_line_is_named(crowd_files, line, says):
    with pytest.raises(InputError) as error:
        check_crowd(crowd_files, crowd_line(), line, crowd_line(CROWD_IDS[1]))
    assert says in str(error.value) and str(crowd_files[0]) in str(error.value) and '\n' not in str(error.value)


def test_missing_files_of_a_crowd_are_named(crowd_files):
    with pytest.raises(InputError, match='annotation_train.odgt is missing: put the annotations there'):
        inspect(Source(*crowd_files)).require()
    crowd_files[0].write_bytes(b'{"ID": "\xff"}\n')
    with pytest.raises(InputError, match='line 1 is not JSON'):
        inspect(Source(*crowd_files)).require()
    crowd_files[0].write_text(crowd_line())
    with pytest.raises(InputError, match='nowhere: the images of .*annotation_train.odgt are not there'):
        inspect(Source(crowd_files[0], crowd_files[1] / 'nowhere')).require()


@pytest.mark.parametrize(
    'sizes, says',
    [
        ('{"273', 'id_hw_train.json is not JSON'),
        ('{}', f'id_hw_train.json lacks height and width of image {CROWD_IDS[0]}: delete the file'),
        (json.dumps({CROWD_IDS[0]: [600]}), 'lacks height and width'),
        (json.dumps({CROWD_IDS[0]: [600, 0]}), 'lacks height and width'),
    ],
)
def test_a_broken_file_of_sizes_is_named(crowd_files, sizes, says):
    crowd_files[0].with_name('id_hw_train.json').write_text(sizes)
    with pytest.raises(InputError) as error:
        check_crowd(crowd_files, crowd_line())
    assert says in str(error.value)


# --- what is worth knowing ----------------------------------------------------------------------------------


def test_a_line_for_what_would_surprise(files):
    """Classes that are left out, small and empty images, crowds, objects listed twice."""
    content = copy.deepcopy(SOUND)
    first = content['annotations'][0]
    content['categories'] += [{'id': 7, 'name': 'dog'}, {'id': 8, 'name': 'cow'}]
    content['annotations'] += [
        {**first, 'id': 6, 'category_id': 7},
        {**first, 'id': 7},
        {**first, 'id': 8, 'iscrowd': 1, 'bbox': [0, 0, 9, 9]},
        {**first, 'id': 9, 'ignore': 1},
    ]
    for number, size in ((2, (40, 30)), (3, (20, 10))):
        name = f'{number}.png'
        cv2.imwrite(str(files[1] / name), np.zeros((*size[::-1], 3), np.uint8))
        content['images'].append(dict(id=number, file_name=name, width=size[0], height=size[1]))
    content['annotations'].append({**first, 'id': 10, 'image_id': 3, 'bbox': [1, 1, 5, 5]})
    report = look(files, content, classes=('cow', 'cat'), min_size=16)
    changed_lines, noted = said(report, CHANGED), said(report, NOTED)
    assert changed_lines == [
        "1 objects of other classes are left out: 'dog' (1)",
        '1 objects marked ignore are not trained on or counted',
        '1 images with a side under 16 pixels are left out of training (first: 3.png)',
        '1 images without an object of the classes are left out of training',
    ]
    assert (
        len(noted) == 3 and noted[0].startswith('1 crowd regions') and noted[1].startswith('1 objects are listed twice')
    )
    assert noted[2] == "no object of 1 class(es): 'cow'" and report.objects == dict(cow=0, cat=3)


@pytest.mark.parametrize(
    'classes, says',
    [
        (('dog',), "has none of the classes 'dog'; it has 'cat', 'White cell'"),
        (('cat', 'white cell'), "has no category 'white cell' (did you mean 'White cell'?)"),
        (('cat', 'Cat'), "has no category 'Cat' (did you mean 'cat'?)"),
        ('cat', "classes is the text 'cat': with one class a comma is needed, classes=('cat',)"),
        (('cat', 'cat'), "classes has 'cat' twice"),
        (('cat', 3), 'classes has 3, which is no text'),
    ],
)
def test_classes_that_do_not_fit(files, classes, says):
    content = changed(lambda c: c['categories'].append({'id': 9, 'name': 'White cell'}))
    with pytest.raises(InputError) as error:
        check(files, content, classes=classes)
    assert says in str(error.value)


def test_two_categories_of_one_name_that_no_class_has(files):
    """Roboflow's root category is harmless under a name of its own."""
    content = changed(lambda c: c['categories'].extend([{'id': 8, 'name': 'x'}, {'id': 9, 'name': 'x'}]))
    assert check(files, content, classes=('cat',)).objects == dict(cat=1)


def test_corners_for_width_and_height(files):
    content = changed(lambda c: c['annotations'].extend({**c['annotations'][0], 'id': 6 + n} for n in range(9)))
    for number, entry in enumerate(content['annotations']):
        entry['bbox'] = [20, 10, 30 + number % 5, 25]
    assert any('are they corners x1, y1, x2, y2?' in line for line in said(look(files, content), NOTED))


def rotated(path, orientation):
    """The image with EXIF data that turn it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.open(path).save(path, exif=exif)


def test_exif_that_turns_an_image(files):
    rotated(files[1] / 'a.jpg', 6)
    [line] = said(look(files, SOUND), NOTED)
    assert 'a.jpg has 30 x 40 pixels, not 40 x 30' in line and 'EXIF data turn the image' in line
    upright = changed(lambda c: c['images'][0].update(width=30, height=40))
    assert not look(files, upright).findings
    without = changed(lambda c: [c['images'][0].pop(key) for key in ('width', 'height')])
    assert said(look(files, without), CHANGED)[0].startswith('1 images lack width and height')
    [line] = said(look(files, without), NOTED)  # nothing says which way round the boxes are
    assert 'a.jpg has the EXIF orientation 6: the image is turned' in line


def test_a_swapped_size_without_exif_is_refused(files):
    """Its boxes would be clipped to the wrong sides."""
    for orientation in (1, 3):
        rotated(files[1] / 'a.jpg', orientation)
        [line] = said(look(files, changed(lambda c: c['images'][0].update(width=30, height=40))), REFUSED)
        assert 'a.jpg has 40 x 30 pixels, not 30 x 40' in line


@pytest.mark.parametrize('orientation, size', [(2, (40, 30)), (3, (40, 30)), (4, (40, 30)), (6, (30, 30))])
def test_exif_that_keeps_the_size(files, orientation, size):
    cv2.imwrite(str(files[1] / 'a.jpg'), np.zeros((*size[::-1], 3), np.uint8))
    rotated(files[1] / 'a.jpg', orientation)
    [line] = said(look(files, changed(lambda c: c['images'][0].update(width=size[0]))), NOTED)
    assert f'a.jpg has the EXIF orientation {orientation}: the image is turned or mirrored' in line


@pytest.mark.parametrize('ending', ['jpg', 'png', 'webp', 'tif', 'avif'])
@pytest.mark.parametrize('orientation', [1, 3, 5, 6, 8])
def test_sizes_that_are_missing_are_those_of_the_loaded_image(files, ending, orientation):
    path = files[1] / f'a.{ending}'
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new('RGB', (40, 30)).save(path, exif=exif)
    content = changed(lambda c: c['images'].__setitem__(0, dict(id=1, file_name=path.name)))
    report = look(files, content)
    height, width = read_image(path).shape[:2]
    assert report.shapes.tolist() == [[width, height]] and not report.of(REFUSED)


def test_polygons_without_a_box(files):
    """The check reads the box around them as the loader does, and says so."""
    content = changed(lambda c: c['annotations'][0].update(segmentation=[[5, 5, 20, 5, 20, 25]]))
    del content['annotations'][0]['bbox']
    report = check(files, content, masks=True)
    assert said(report, CHANGED)[0].startswith('1 annotations lack a bbox, which is taken around their polygons')
    assert report.boxes.tolist() == [[15, 20]]


@pytest.mark.parametrize('harm', ['empty', 'text', 'half', 'other'])
def test_images_that_cannot_be_used(files, harm):
    path = files[1] / 'a.jpg'
    whole = path.read_bytes()
    path.write_bytes(dict(empty=b'', text=b'no image', half=whole[: len(whole) // 2], other=whole)[harm])
    if harm == 'other':
        cv2.imwrite(str(path), np.zeros((31, 40, 3), np.uint8))
    [line] = said(look(files, SOUND), REFUSED)
    assert str(path) in line and line.endswith(('take its entry out', 'fetch the image again'))


@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-16', 'utf-32'])
def test_encodings(files, encoding):
    files[0].write_bytes(json.dumps(changed(lambda c: c['categories'][0].update(name='猫'))).encode(encoding))
    assert inspect(Source(*files, min_size=0)).require().objects == {'猫': 1}


def test_an_encoding_that_nothing_names(files):
    files[0].write_bytes(json.dumps(SOUND).replace('cat', 'Käfer').encode('latin-1'))
    with pytest.raises(InputError, match='instances.json is not UTF-8'):
        inspect(Source(*files)).require()


@pytest.mark.parametrize(
    'change',
    [
        lambda content: content.update(annotations=[]),
        lambda content: content['annotations'][0].update(iscrowd=1),
        lambda content: content['annotations'][0].update(ignore=1),
        lambda content: (
            content['categories'].append({'id': 3, 'name': 'dog'}) or content['annotations'][0].update(category_id=3)
        ),
    ],
)
def test_validation_data_without_an_object_are_refused(files, change):
    report = look(files, changed(change), training=False, classes=('cat',))
    [says] = said(report, REFUSED)
    assert says == f"{files[0]}: nothing to evaluate on: 1 images without a usable object of 'cat': add the objects"


def test_a_crowd_without_a_person_is_nothing_to_evaluate_on(crowd_files):
    cv2.imwrite(str(crowd_files[1] / f'{CROWD_IDS[0]}.jpg'), np.zeros((30, 40, 3), np.uint8))
    crowd_files[0].write_text(crowd_line(tag='mask').replace('"person"', '"mask"'))
    assert "without a usable object of 'person'" in said(inspect(Source(*crowd_files, training=False)), REFUSED)[0]


def test_two_files_together(tmp_path, files):
    """A class that only one has, and an image in both."""
    (tmp_path / 'val').mkdir()
    cv2.imwrite(str(tmp_path / 'val' / 'b.png'), np.ones((30, 40, 3), np.uint8))
    (tmp_path / 'val' / 'c.jpg').write_bytes((files[1] / 'a.jpg').read_bytes())
    content = copy.deepcopy(SOUND)
    content['images'] = [dict(SOUND['images'][0], id=n, file_name=name) for n, name in enumerate(('b.png', 'c.jpg'), 1)]
    content['categories'] = [{'id': 4, 'name': 'dog'}, {'id': 2, 'name': 'cat'}]
    content['annotations'][0]['category_id'] = 4
    val = look((tmp_path / 'val.json', tmp_path / 'val'), content, training=False)
    found = [finding.says for finding in compare(check(files, SOUND), val)]
    assert len(found) == 3 and "have none here: 'cat'" in found[0] and 'with objects here have none in' in found[1]
    assert '1 images are also in' in found[2] and 'c.jpg is' in found[2]


@pytest.mark.parametrize('settings', [dict(data_root='s3://bucket'), dict(backend_args=dict(backend='petrel'))])
def test_what_is_not_local_is_not_looked_at(settings):
    """mmengine reads it through a backend, and the first epoch tells whether it is there."""
    loader = dict(dataset=dict(type='CocoDataset', ann_file='train.json', **settings))
    assert inspect_config(dict(train_dataloader=loader, val_dataloader=loader)) == ([], [])
    local = dict(dataset=dict(type='CocoDataset', ann_file='train.json', backend_args=dict(backend='local')))
    assert len(inspect_config(dict(train_dataloader=local, val_dataloader=loader))[0]) == 1


def test_labels_in_another_order_are_refused(tmp_path):
    """The detector would learn some and be measured by others."""
    train, val = (Report(Source(tmp_path / f'{name}.json', tmp_path)) for name in ('train', 'val'))
    for classes, number in ((('cat', 'dog'), 0), (('dog', 'cat'), 2), (('cat',), 0), (None, 0)):
        train.source = dataclasses.replace(train.source, classes=('cat', 'dog'))
        val.source = dataclasses.replace(val.source, classes=classes)
        found = [finding for finding in compare(train, val) if finding.kind == REFUSED]
        assert [finding.count for finding in found] == [number] * (number > 0)
    train.source, val.source = (dataclasses.replace(val.source, classes=c) for c in (('cat', 'dog'), ('dog', 'cat')))
    assert "class 'dog' has another label than in" in compare(train, val)[0].says


def test_an_evaluator_of_another_file_is_refused(tmp_path):
    """A copy of the file is none."""
    for name, text in (('val', '{}'), ('copy', '{}'), ('test', '{"a": 1}')):
        (tmp_path / f'{name}.json').write_text(text)
    loader = dict(dataset=dict(type='CocoDataset', data_root=str(tmp_path), ann_file='val.json'))
    for name, wrong in (('val', False), ('copy', False), ('test', True), ('missing', False)):
        file = str(tmp_path / f'{name}.json')
        for evaluator in (dict(ann_file=file), [dict(type='Other'), dict(ann_file=file)]):
            assert (other_file(loader, evaluator) is not None) == wrong
    assert other_file(loader, None) is None
    says = other_file(loader, dict(ann_file=str(tmp_path / 'test.json')))
    assert says == f'the evaluator reads {tmp_path}/test.json, and its loader {tmp_path}/val.json: ' + (
        'give ann_file of both the same file'
    )


def test_what_the_check_needs_of_a_config():
    """Any of it may be missing; a scale may be one number."""
    dataset = dict(type='CocoDataset', ann_file='val.json', pipeline=[dict(type='Resize', scale=640)])
    config = dict(val_dataloader=dict(dataset=dataset), val_evaluator=dict(type='TwoReadingsMetric'))
    config['model'] = dict(bbox_head=dict(strides=[8]), test_cfg=dict(max_per_img=100))
    assert model_settings(config) == dict(scale=(640, 640), strides=[8], max_per_img=100, max_dets=100)
    for evaluator in ([], None):
        assert model_settings(dict(config, val_evaluator=evaluator)) is None
