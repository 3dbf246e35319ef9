"""Annotations are checked before a training depends on them: one clear line names the file and the entry."""

import copy
import json

import pytest

from experiments.data.annotations import check_coco, check_crowdhuman, check_datasets
from experiments.spec.config import compose
from experiments.spec.paths import data_paths
from experiments.store.errors import UserError

SOUND = {
    'images': [{'id': 1, 'file_name': 'a.jpg', 'width': 40, 'height': 30}],
    'annotations': [{'id': 5, 'image_id': 1, 'category_id': 2, 'bbox': [1, 2, 10.5, 20], 'area': 200, 'iscrowd': 0}],
    'categories': [{'id': 2, 'name': 'cat'}],
}


@pytest.fixture
def files(tmp_path):
    images = tmp_path / 'images'
    images.mkdir()
    (images / 'a.jpg').write_bytes(b'')
    return tmp_path / 'instances.json', images


def check(files, content, **options):
    files[0].write_text(content if isinstance(content, str) else json.dumps(content))
    check_coco(*files, **options)


def changed(change):
    content = copy.deepcopy(SOUND)
    change(content)
    return content


def with_box(*box):
    return changed(lambda content: content['annotations'][0].update(bbox=list(box)))


def test_sound_files_pass(files):
    check(files, SOUND)
    check(files, with_box(-0.5, 0, 41, 30.9))  # COCO's own boxes leave the image by a rounding
    check(files, with_box(1, 1, 0, 5), allow_degenerate=True)


@pytest.mark.parametrize(
    'content, says',
    [
        ('{"images": [', 'is not JSON'),
        ('[]', "the list 'images' is missing"),
        (changed(lambda c: c.pop('categories')), "the list 'categories' is missing"),
        (changed(lambda c: c['images'][0].pop('width')), "an entry of 'images' (id 1) lacks the key 'width'"),
        (changed(lambda c: c['images'][0].update(height='tall')), 'which must be numbers above 0'),
        (changed(lambda c: c['images'][0].update(file_name='b.jpg')), "names the image 'b.jpg', which is not in"),
        (changed(lambda c: c['annotations'][0].pop('bbox')), "an entry of 'annotations' (id 5) lacks the key 'bbox'"),
        (changed(lambda c: c['annotations'][0].pop('id')), "an entry of 'annotations' lacks the key 'id'"),
        (changed(lambda c: c['annotations'][0].pop('area')), "lacks the key 'area'"),
        (changed(lambda c: c['annotations'][0].update(image_id=9)), 'annotation 5 is of image 9'),
        (changed(lambda c: c['annotations'][0].update(category_id=9)), 'annotation 5 has category 9'),
        (changed(lambda c: c['annotations'].append('x')), "an entry of 'annotations' lacks the key 'id'"),
        (with_box(1, 2, 3), 'must be four numbers'),
        (with_box(1, 2, 3, None), 'must be four numbers'),
        (with_box(1, 2, 0, 5), 'annotation 5: bbox [1, 2, 0, 5] has no area'),
        (with_box(1, 2, 5, -1), 'has no area'),
        (with_box(35, 2, 10, 5), 'reaches out of its image of 40 x 30 pixels'),
        (with_box(-3, 2, 10, 5), 'reaches out of its image'),
        (with_box(1, 2, float('nan'), 5), 'must be four numbers'),
    ],
)
def test_a_broken_file_is_named(files, content, says):
    with pytest.raises(UserError) as error:
        check(files, content)
    assert says in str(error.value) and str(files[0]) in str(error.value) and '\n' not in str(error.value)


def test_missing_files_are_named(files):
    with pytest.raises(UserError, match='instances.json is missing: put the annotations there'):
        check_coco(*files)
    files[1].joinpath('a.jpg').unlink()
    files[1].rmdir()
    with pytest.raises(UserError, match='images: the images of .* are not there'):
        check(files, SOUND)


def test_the_paper_profile_reads_cocos_layout(tmp_path):
    """Both splits in COCO 2017's real layout pass, the box without area that train2017 holds included."""
    config = compose('paper', [], 'test').to_dict()
    for split in ('train2017', 'val2017'):
        (tmp_path / 'coco' / split).mkdir(parents=True)
        (tmp_path / 'coco' / split / 'a.jpg').write_bytes(b'')
    (tmp_path / 'coco' / 'annotations').mkdir()
    (tmp_path / 'coco' / 'annotations' / 'instances_train2017.json').write_text(json.dumps(with_box(1, 1, 0, 5)))
    with pytest.raises(UserError, match='instances_val2017.json is missing'):
        check_datasets(config, data_paths(config, tmp_path), set())
    (tmp_path / 'coco' / 'annotations' / 'instances_val2017.json').write_text(json.dumps(SOUND))
    check_datasets(config, data_paths(config, tmp_path), set())


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
        (tmp_path / 'Images' / f'{name}.jpg').write_bytes(b'')
    return tmp_path / 'annotation_train.odgt', tmp_path / 'Images'


def check_crowd(files, *lines, **options):
    files[0].write_text(''.join(f'{line}\n' for line in lines))
    check_crowdhuman(*files, **options)


def without(key):
    return json.dumps({'ID': CROWD_IDS[0], 'gtboxes': [{name: v for name, v in PERSON.items() if name != key}]})


def test_sound_crowds_pass(crowd_files):
    nobody = json.dumps({'ID': CROWD_IDS[1], 'gtboxes': []})
    check_crowd(crowd_files, crowd_line(), nobody)
    check_crowd(crowd_files, crowd_line(fbox=[1, 1, 0, 5]), nobody, allow_degenerate=True)
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
        (crowd_line('273271,gone'), 'line 2: the image 273271,gone.jpg is not in'),
        (crowd_line(), f'line 2: the image {CROWD_IDS[0]} is on line 1 already'),
        (without('fbox'), "line 2, gtboxes[0] lacks the key 'fbox'"),
        (without('vbox'), "lacks the key 'vbox'"),
        (without('tag'), "lacks the key 'tag'"),
        (json.dumps({'ID': CROWD_IDS[1], 'gtboxes': ['x']}), "line 2, gtboxes[0] lacks the key 'tag'"),
        (crowd_line(fbox=[1, 2, 3]), 'line 2, gtboxes[1]: fbox [1, 2, 3] must be four numbers'),
        (crowd_line(hbox=[1, 2, 3, None]), 'hbox [1, 2, 3, None] must be four numbers'),
        (crowd_line(vbox='large'), 'vbox large must be four numbers'),
        (crowd_line(fbox=[1, 2, 3, float('nan')]), 'must be four numbers'),
        (crowd_line(fbox=[1, 2, 0, 5]), 'gtboxes[1]: fbox [1, 2, 0, 5] has no area'),
        (crowd_line(fbox=[1, 2, 5, -1]), 'has no area'),
        (crowd_line(extra=None), 'gtboxes[1]: extra None must be a mapping'),
        (crowd_line(head_attr=[1]), 'head_attr [1] must be a mapping'),
    ],
)
def test_a_broken_line_is_named(crowd_files, line, says):
    with pytest.raises(UserError) as error:
        check_crowd(crowd_files, crowd_line(), line, crowd_line(CROWD_IDS[1]))
    assert says in str(error.value) and str(crowd_files[0]) in str(error.value) and '\n' not in str(error.value)


def test_missing_files_of_a_crowd_are_named(crowd_files):
    with pytest.raises(UserError, match='annotation_train.odgt is missing: put the annotations there'):
        check_crowdhuman(*crowd_files)
    crowd_files[0].write_bytes(b'{"ID": "\xff"}\n')
    with pytest.raises(UserError, match='line 1 is not JSON'):
        check_crowdhuman(*crowd_files)
    with pytest.raises(UserError, match='nowhere: the images of .*annotation_train.odgt are not there'):
        check_crowdhuman(crowd_files[0], crowd_files[1] / 'nowhere')


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
    with pytest.raises(UserError) as error:
        check_crowd(crowd_files, crowd_line())
    assert says in str(error.value)


def test_the_paper_profile_reads_crowdhumans_layout(tmp_path):
    """Both splits in CrowdHuman's real layout pass, and each is checked once."""
    config = compose('paper', ['crowdhuman'], 'test').to_dict()
    folder = tmp_path / 'CrowdHuman'
    (folder / 'Images').mkdir(parents=True)
    for split, name in zip(('train', 'val'), CROWD_IDS):
        (folder / 'Images' / f'{name}.jpg').write_bytes(b'')
        with pytest.raises(UserError, match=f'annotation_{split}.odgt is missing'):
            check_datasets(config, data_paths(config, tmp_path), set())
        (folder / f'annotation_{split}.odgt').write_text(f'{crowd_line(name)}\n')
    checked = set()
    check_datasets(config, data_paths(config, tmp_path), checked)
    (folder / 'annotation_train.odgt').write_text('broken')
    check_datasets(config, data_paths(config, tmp_path), checked)
