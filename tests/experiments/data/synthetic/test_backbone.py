"""A backbone learns from objects that no detector sees, and its weights fit MMDetection's."""

import json
from dataclasses import replace

import pytest
import torch

from experiments.data.annotations import sha256
from experiments.data.synthetic.backbone import _build, _crops, train_backbone
from experiments.data.synthetic.scenes import draw_scene
from experiments.spec.config import resolve
from experiments.spec.paths import generated
from experiments.spec.synthetic import CropSpec
from experiments.store.errors import UserError


@pytest.fixture(params=[(), ('swin-t',)], ids=['ResNet', 'Swin'])
def specs(request):
    """The specs of scenes and backbone of the smoke profile, with fewer crops."""
    made = generated(resolve('smoke', request.param, {'generate.backbone.images': 6}, 0, 'test').config)
    return made['SCENES'][1], made['BACKBONE'][1]


def test_no_detector_sees_its_scenes(specs):
    scenes, backbone = specs
    for split in ('train', 'val'):
        others = [draw_scene(scenes, each, 0).image for each in ('train', 'val')]
        assert all((draw_scene(backbone.scenes, split, 0).image != other).any() for other in others)
    assert (backbone.scenes.train, backbone.scenes.val) == (6, 1)


def test_a_crop_shows_its_object(specs, tmp_path):
    """The box of the object, and a tenth of its longer side around it."""
    _, backbone = specs
    crops, labels = _crops(backbone, 'train', tmp_path)
    scene = draw_scene(backbone.scenes, 'train', 0)
    count = len(scene.instances)
    assert labels[:count].tolist() == [instance.category - 1 for instance in scene.instances]
    x, y, width, height = scene.instances[0].box
    column, row = int(x + width / 2), int(y + height / 2)
    middle = crops[0][backbone.crop // 2 - 1 : backbone.crop // 2 + 1, backbone.crop // 2 - 1 : backbone.crop // 2 + 1]
    around = scene.image[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3]
    assert around.min() <= middle.numpy().mean() <= around.max()


def test_weights_and_accuracy(specs, tmp_path):
    _, spec = specs
    spec = replace(spec, epochs=1, batch=8)
    steps = []
    train_backbone(spec, tmp_path, tmp_path, lambda done, total: steps.append((done, total)))
    backbone, _, prefix = _build(spec)
    weights = torch.load(tmp_path / 'backbone.pth')
    assert {name.removeprefix(prefix) for name in weights} == set(backbone.state_dict())
    assert 0 <= json.loads((tmp_path / 'accuracy.json').read_text())['val_crops'] <= 1
    assert steps[-1][0] == steps[-1][1] == len(steps)


def test_fewer_objects_than_a_batch_are_learned_and_none_are_refused(specs, tmp_path):
    _, spec = specs
    spec = replace(spec, epochs=2, batch=1000)
    steps = []
    train_backbone(spec, tmp_path, tmp_path, lambda done, total: steps.append((done, total)))
    assert steps == [(1, 2), (2, 2)]
    crops = CropSpec('train.json', 'val.json', 'images', 'images', 'a', 'b', ('cat',))
    for source, says in ((crops, 'val.json'), (replace(spec.scenes, val=0), 'val scenes')):
        if source is crops:
            image = dict(id=1, file_name='a.jpg', width=9, height=9)
            content = dict(images=[image], categories=[dict(id=1, name='cat')], annotations=[])
            (tmp_path / 'val.json').write_text(json.dumps(content))
            source = replace(source, val_sha256=sha256(tmp_path / 'val.json'))
        with pytest.raises(UserError, match=f'{says}: no object of 2 pixels or more to pre-train the backbone on'):
            _crops(replace(spec, scenes=source), 'val', tmp_path)
