import json

import pytest

from experiments.data.synthetic.backbone import train_backbone
from experiments.spec.synthetic import BackboneSpec


def test_a_scene_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / 'annotations').mkdir()
    (tmp_path / 'train2017').mkdir()
    (tmp_path / 'train2017/1.jpg').write_bytes(b'no image')
    truth = dict(
        images=[dict(id=1, file_name='1.jpg')], annotations=[dict(image_id=1, category_id=1, bbox=[0, 0, 9, 9])]
    )
    (tmp_path / 'annotations/instances_train2017.json').write_text(json.dumps(truth))
    with pytest.raises(OSError, match=r'1\.jpg cannot be read as an image'):
        train_backbone(BackboneSpec(scenes=tmp_path.name), tmp_path, tmp_path)
