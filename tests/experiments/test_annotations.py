"""Annotations are checked before a training depends on them: one clear line names the file and the entry."""

import copy
import json

import pytest

from experiments.annotations import check_coco, check_datasets
from experiments.errors import UserError
from experiments.places import places
from experiments.resolve import load_profile

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
        (changed(lambda c: c['images'][0].update(file_name='b.jpg')), 'names the image b.jpg, which is not in'),
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
    config = load_profile('paper').to_dict()
    for split in ('train2017', 'val2017'):
        (tmp_path / 'coco' / split).mkdir(parents=True)
        (tmp_path / 'coco' / split / 'a.jpg').write_bytes(b'')
    (tmp_path / 'coco' / 'annotations').mkdir()
    (tmp_path / 'coco' / 'annotations' / 'instances_train2017.json').write_text(json.dumps(with_box(1, 1, 0, 5)))
    with pytest.raises(UserError, match='instances_val2017.json is missing'):
        check_datasets(config, places(config, tmp_path), set())
    (tmp_path / 'coco' / 'annotations' / 'instances_val2017.json').write_text(json.dumps(SOUND))
    check_datasets(config, places(config, tmp_path), set())
