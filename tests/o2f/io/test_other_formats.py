"""Annotations of other tools: what docs/own-data.md types converts them, and unconverted files are named."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from o2f.check import main
from o2f.io.coco_file import read_coco

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / 'docs' / 'own-data.md'
#: Two objects of an image of 64 x 48 pixels, (x, y, width, height).
CAT, DOG = (4, 8, 20, 16), (30, 10, 24, 32)

LABELME = {
    'version': '5.5.0',
    'flags': {},
    'shapes': [
        # labelme keeps corners in the order in which they were drawn
        dict(label='cat', points=[[24.0, 24.0], [4.0, 8.0]], group_id=None, description='', shape_type='rectangle'),
        dict(label='dog', points=[[30.0, 10.0], [54.0, 42.0]], group_id=None, shape_type='rectangle', flags={}),
        dict(label='cat', points=[[1, 1], [9, 1], [5, 9]], group_id=None, shape_type='polygon', flags={}),
    ],
    'imagePath': 'a.jpg',
    'imageData': None,
    'imageHeight': 48,
    'imageWidth': 64,
}
VOC = """<annotation>
	<folder>images</folder><filename>a.jpg</filename>
	<size><width>64</width><height>48</height><depth>3</depth></size>
	<object><name>cat</name><bndbox><xmin>4</xmin><ymin>8</ymin><xmax>24</xmax><ymax>24</ymax></bndbox></object>
	<object><name>dog</name><bndbox><xmin>30</xmin><ymin>10</ymin><xmax>54</xmax><ymax>42</ymax></bndbox></object>
</annotation>
"""
CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task><id>7</id><labels><label><name>cat</name></label><label><name>dog</name></label></labels></task></meta>
  <image id="0" name="a.jpg" width="64" height="48">
    <box label="cat" source="manual" occluded="0" xtl="4.00" ytl="8.00" xbr="24.00" ybr="24.00" z_order="0"></box>
    <box label="dog" source="manual" occluded="1" xtl="30.00" ytl="10.00" xbr="54.00" ybr="42.00" z_order="0"></box>
  </image>
</annotations>
"""
YOLO = '0 0.21875 0.333333333 0.3125 0.333333333\n1 0.65625 0.541666667 0.375 0.666666667\n'


@pytest.fixture
def converted(tmp_path, unmet):
    """converted(format): runs the block of the page that converts this format; returns the folder."""
    if importlib.util.find_spec('globox') is None:
        unmet('globox is not installed')
    folder = tmp_path / 'repository'
    folder.mkdir()

    def converted(kind):
        text = PAGE.read_text(encoding='utf-8')
        blocks = re.findall(r'^```\n([^$].*?)^```', text, re.M | re.S)  # those with $ show what is printed
        [block] = [block for block in blocks if f'--format {kind} ' in block]
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get('PATH', os.defpath)])
        done = subprocess.run(
            ['bash', '-euc', block], cwd=folder, env=dict(os.environ, PATH=path), capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return folder

    converted.folder = folder
    return converted


def objects(path):
    """File name, class and rounded box of every object."""
    file = read_coco(path).require()
    names = {entry['id']: entry['name'] for entry in file.categories}
    images = {entry['id']: entry['file_name'] for entry in file.images}
    return sorted(
        (images[entry['image_id']], names[entry['category_id']], tuple(round(side) for side in entry['bbox']))
        for entry in file.annotations
    )


def write_image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', (64, 48)).save(path)


TWO = [('a.jpg', 'cat', CAT), ('a.jpg', 'dog', DOG)]


def test_voc_as_on_the_page(converted, tmp_path, unmet, capsys):
    """The photographs of blood cells, and nothing wrong with them."""
    if not (ROOT.parent / 'shared' / 'data' / 'bccd').exists():
        unmet('shared/data/bccd is not beside this repository')
    (converted.folder / 'BCCD_Dataset').symlink_to(ROOT.parent / 'shared' / 'data' / 'bccd')
    folder = converted('pascalvoc') / 'bccd'
    counts = {}
    for split in ('train', 'val'):
        found = objects(folder / f'{split}.json')
        counts[split] = len({name for name, *_ in found}), len(found), sorted({label for _, label, _ in found})
    assert counts == {
        'train': (205, 2804, ['Platelets', 'RBC', 'WBC']),
        'val': (87, 1137, ['Platelets', 'RBC', 'WBC']),
    }
    # BloodImage_00000.xml has its white cell from (260, 177) to (491, 376).
    every = objects(folder / 'train.json') + objects(folder / 'val.json')
    first = [of for of in every if of[0] == 'BloodImage_00000.jpg' and of[1] == 'WBC']
    assert first in ([], [('BloodImage_00000.jpg', 'WBC', (260, 177, 231, 199))])
    assert main([str(folder / 'train.json'), str(folder / 'val.json'), '--images', str(folder / 'images')]) == 0
    printed = capsys.readouterr().out
    assert '0 refused, 2 changed, 0 worth knowing' in printed
    # globox numbers annotations in the order in which the folder lists its files.
    page, lines = (re.sub(r'annotation \d+', 'annotation', of) for of in (PAGE.read_text(encoding='utf-8'), printed))
    assert all(line.replace(f'{folder}/', 'bccd/') in page for line in lines.splitlines())


def test_yolo_as_on_the_page(converted):
    for split in ('train', 'val'):
        write_image(converted.folder / 'images' / split / 'a.jpg')
        (converted.folder / 'labels' / split).mkdir(parents=True)
        (converted.folder / 'labels' / split / 'a.txt').write_text(YOLO)
    (converted.folder / 'classes.txt').write_text('cat\ndog\n')
    folder = converted('yolov5')
    assert objects(folder / 'train.json') == objects(folder / 'val.json') == TWO


def test_cvat_as_on_the_page(converted):
    (converted.folder / 'annotations.xml').write_text(CVAT)
    assert objects(converted('cvat') / 'train.json') == TWO


def test_labelme_as_on_the_page(converted):
    """Rectangles come through whichever corner was first. Polygons do not, as the page says."""
    (converted.folder / 'photos').mkdir()
    (converted.folder / 'photos' / 'a.json').write_text(json.dumps(LABELME))
    assert objects(converted('labelme') / 'train.json') == TWO
    assert 'polygons' in PAGE.read_text(encoding='utf-8')


def test_a_path_of_windows_in_labelme_is_said(converted, tmp_path, capsys):
    (converted.folder / 'photos').mkdir()
    (converted.folder / 'photos' / 'a.json').write_text(json.dumps({**LABELME, 'imagePath': '..\\images\\a.jpg'}))
    write_image(converted.folder / 'images' / 'a.jpg')
    folder = converted('labelme')
    assert main([str(folder / 'train.json'), '--images', str(folder / 'images')]) == 1
    assert 'write folders in names with / instead of \\' in capsys.readouterr().out


def test_a_split_of_roboflow_as_exported(tmp_path, capsys):
    """Its images lie beside the annotations, and it has a root category without objects. A category of the same name
    twice is refused."""
    folder = tmp_path / 'train'
    write_image(folder / 'a_jpg.rf.0123456789abcdef.jpg')
    categories = [dict(id=0, name='animals', supercategory='none')]
    categories += [dict(id=id_, name=name, supercategory='animals') for id_, name in ((1, 'cat'), (2, 'dog'))]
    content = dict(
        info=dict(description='Exported from roboflow.com'),
        licenses=[],
        categories=categories,
        images=[dict(id=0, license=1, file_name='a_jpg.rf.0123456789abcdef.jpg', height=48, width=64)],
        annotations=[
            dict(id=id_, image_id=0, category_id=id_ + 1, bbox=box, area=box[2] * box[3], segmentation=[], iscrowd=0)
            for id_, box in enumerate((CAT, DOG))
        ],
    )
    path = folder / '_annotations.coco.json'
    path.write_text(json.dumps(content))
    assert main([str(path)]) == 0
    assert "no object of 1 class(es): 'animals'" in capsys.readouterr().out
    categories[0]['name'] = 'cat'
    path.write_text(json.dumps(content))
    assert main([str(path)]) == 1
    assert "2 categories named 'cat'" in capsys.readouterr().out
    assert main([str(folder)]) == 1
    assert f'is a split of an export of Roboflow: name {path}' in capsys.readouterr().out


RESULTS = [dict(image_id=1, category_id=1, bbox=[1, 2, 3, 4], score=0.5)]
FILES = {
    'labelme': ('a.json', json.dumps(LABELME), "labelme's file of one image"),
    'voc': ('a.xml', VOC, "Pascal VOC's XML of one image"),
    'voc with a declaration': ('a.xml', '\ufeff<?xml version="1.0"?>\n' + VOC, "Pascal VOC's XML of one image"),
    'cvat': ('annotations.xml', CVAT, "CVAT's XML: convert it with globox convert --format cvat"),
    'yolo': ('a.txt', YOLO, "YOLO's text"),
    'yolo polygon': ('a.txt', '0 0.1 0.1 0.2 0.1 0.2 0.3\n', "YOLO's text"),
    'yolo data': ('data.yaml', "train: ../train/images\nnames: ['cat', 'dog']\n", "YOLO's list of classes"),
    'via': ('via.json', json.dumps({'_via_settings': {}, '_via_img_metadata': {}}), "VIA's project"),
    'createml': ('_annotations.createml.json', json.dumps([dict(image='a.jpg', annotations=[])]), "CreateML's format"),
    'label studio': ('tasks.json', json.dumps([dict(id=1, data={}, annotations=[])]), "Label Studio's own JSON"),
    'results': ('found.json', json.dumps(RESULTS), "COCO's result format"),
    'test images': ('test.json', json.dumps(dict(images=[], categories=[])), 'a COCO file without objects'),
    'unknown': ('other.json', json.dumps({'boxes': []}), "the list 'images' is missing"),
    'no text': ('notes.txt', 'five words are in here\n', 'is not JSON'),
}


@pytest.mark.parametrize('name, text, says', FILES.values(), ids=FILES)
def test_a_file_of_another_format_is_named(tmp_path, capsys, name, text, says):
    (tmp_path / name).write_text(text, encoding='utf-8')
    assert main([str(tmp_path / name)]) == 1
    refused = [line for line in capsys.readouterr().out.splitlines() if line.startswith('  refused')]
    assert len(refused) == 1 and says in refused[0] and str(tmp_path / name) in refused[0]


@pytest.mark.parametrize(
    'name, says', [('a.xml', "Pascal VOC's"), ('a.txt', "YOLO's"), ('a.json', "labelme's"), ('', 'name the')]
)
def test_a_folder_of_another_format_is_named(tmp_path, capsys, name, says):
    if name:
        (tmp_path / name).write_text('')
    assert main([str(tmp_path)]) == 1
    assert f'{tmp_path} is a folder' in (said := capsys.readouterr().out) and says in said
