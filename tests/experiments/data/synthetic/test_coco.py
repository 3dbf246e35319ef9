import json

import cv2
import numpy as np
import pytest
from pycocotools import mask as rle
from pycocotools.coco import COCO

from experiments.data.synthetic.coco import segmentation, write_coco, write_jpeg
from experiments.data.synthetic.scenes import SPLITS, draw_scene
from experiments.data.synthetic.shapes import NAMES


@pytest.fixture(scope='module', params=SPLITS)
def split(request):
    return request.param


@pytest.fixture
def coco(coco_folder, split):
    return COCO(coco_folder / 'annotations' / f'instances_{split}2017.json')


def test_twice_the_same_bytes_and_honest_progress(scene_spec, coco_folder, contents, tmp_path):
    seen = []
    write_coco(scene_spec, tmp_path, lambda done, total: seen.append((done, total)))
    assert contents(tmp_path) == contents(coco_folder)
    assert seen == [(n, 10) for n in range(1, 11)]


def test_files_lie_where_coco_has_them(coco_folder, contents):
    names = [f'train2017/{n:012d}.jpg' for n in range(1, 7)] + [f'val2017/{n:012d}.jpg' for n in range(7, 11)]
    assert sorted(contents(coco_folder)) == sorted(names + [f'annotations/instances_{s}2017.json' for s in SPLITS])


def test_documents_are_complete(coco_folder, split):
    document = json.loads((coco_folder / 'annotations' / f'instances_{split}2017.json').read_text())
    assert set(document) == {'info', 'licenses', 'images', 'annotations', 'categories'}
    assert [c['name'] for c in document['categories']] == list(NAMES)
    assert [c['id'] for c in document['categories']] == list(range(1, 9))
    ids = [a['id'] for a in document['annotations']]
    assert len(set(ids)) == len(ids)


def test_written_images_are_the_drawn_ones(scene_spec, coco_folder, coco, split):
    for index, image in enumerate(coco.loadImgs(coco.getImgIds())):
        scene = draw_scene(scene_spec, split, index)
        path = coco_folder / f'{split}2017' / image['file_name']
        assert path.read_bytes() == cv2.imencode('.jpg', scene.image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
        written = cv2.imread(str(path))
        assert written.shape == (image['height'], image['width'], 3)
        assert np.abs(written.mean(2) - scene.image.mean(2)).mean() < 5  # JPEG smooths mostly the noise in colours
        assert len(coco.getAnnIds(image['id'])) == len(scene.instances)


def test_masks_match_boxes_and_areas(scene_spec, coco, split):
    for index, image_id in enumerate(coco.getImgIds()):
        for annotation, instance in zip(coco.imgToAnns[image_id], draw_scene(scene_spec, split, index).instances):
            mask = coco.annToMask(annotation).astype(bool)
            assert np.array_equal(mask, instance.mask)
            assert annotation['area'] == mask.sum() and annotation['iscrowd'] == 0
            assert annotation['bbox'] == rle.toBbox(coco.annToRLE(annotation)).tolist() == list(instance.box)


def test_a_mask_that_no_polygon_can_hold_becomes_rle():
    ringed, thin, plain = (np.zeros((12, 12), bool) for _ in range(3))
    ringed[2:9, 2:9], ringed[4:6, 4:6] = True, False
    thin[5, 3:9] = True
    plain[2:9, 3:5] = True
    assert isinstance(segmentation(ringed)['counts'], str)
    assert np.array_equal(rle.decode(segmentation(ringed)), ringed)
    for mask in (thin, plain):
        polygons = rle.merge(rle.frPyObjects(segmentation(mask), 12, 12))
        assert np.array_equal(rle.decode(polygons), mask)


def test_an_image_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(OSError):
        write_jpeg(tmp_path / 'nowhere' / 'a.jpg', np.zeros((8, 8, 3), np.uint8))


def test_mmdetection_reads_it(coco_folder, coco, split):
    from mmdet.datasets import CocoDataset

    dataset = CocoDataset(
        data_root=str(coco_folder),
        ann_file=f'annotations/instances_{split}2017.json',
        data_prefix={'img': f'{split}2017'},
        metainfo={'classes': NAMES},
        pipeline=[],
    )
    assert len(dataset) == len(coco.getImgIds())
    for info in dataset:
        annotations = coco.imgToAnns[info['img_id']]
        assert [i['bbox_label'] + 1 for i in info['instances']] == [a['category_id'] for a in annotations]
        assert cv2.imread(info['img_path']) is not None
