"""Files from elsewhere: nothing in them is run, none leads out of its folder, and none fills the memory."""

import json
import os
import zipfile

import numpy as np
import pytest
import yaml
from test_fuzz import COCO, CROWD, RUNS

from analysis.results import load_plan
from experiments.spec.table_file import load_table
from experiments.store.errors import UserError
from experiments.store.files import read_arrays
from o2f.errors import InputError
from o2f.io.dataset_check import LONGEST_LINE, Source, inspect


class Evil:
    """Unpickled, it leaves a mark."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f'touch {self.mark}',)


def one_line(caught, path):
    assert str(path) in str(caught.value) and '\n' not in str(caught.value) and len(str(caught.value)) < 600


def test_a_tag_of_python(tmp_path):
    mark, path = tmp_path / 'ran', tmp_path / 'table.yaml'
    path.write_text(f'title: x\naxes: !!python/object/apply:os.system ["touch {mark}"]\n')
    with pytest.raises(
        UserError, match='line 2: not valid YAML: could not determine a constructor for the tag'
    ) as caught:
        load_table(str(path))
    one_line(caught, path)
    assert not mark.exists()
    yaml.unsafe_load(path.read_text())
    assert mark.exists()  # it would have run


def test_aliases_that_multiply(tmp_path):
    """Thirty lines that stand for a thousand million values."""
    path = tmp_path / 'table.yaml'
    lines = ['a0: &a0 [x, x]'] + [f'a{i}: &a{i} [*a{i - 1}, *a{i - 1}]' for i in range(1, 30)]
    for text in ('\n'.join(lines), 'title: &a [*a]'):
        path.write_text(text)
        with pytest.raises(UserError, match='not valid YAML: it stands for more than 100000 values') as caught:
            load_table(str(path))
        one_line(caught, path)


@pytest.mark.parametrize('name', ['../secret.jpg', '/etc/passwd', 'a/../../secret.jpg', 'x\0y.jpg', 7, ['a.jpg']])
def test_an_image_outside_of_its_folder(tmp_path, name):
    images, path = tmp_path / 'images', tmp_path / 'annotations.json'
    (images / 'a').mkdir(parents=True)
    (tmp_path / 'secret.jpg').touch()
    entry = dict(COCO['images'][0], file_name=name)
    path.write_text(json.dumps(dict(COCO, images=[entry])))
    with pytest.raises(InputError, match="which is no path within|has no 'file_name'") as caught:
        inspect(Source(path, images)).require()
    one_line(caught, path)
    path = tmp_path / 'annotation_train.odgt'
    path.write_text(json.dumps(dict(CROWD, ID='../secret')))
    with pytest.raises(InputError, match='is no path within its folder') as caught:
        inspect(Source(path, images)).require()
    one_line(caught, path)


def test_a_line_without_end(tmp_path):
    path = tmp_path / 'annotation_train.odgt'
    with open(path, 'wb') as file:
        for _ in range(100):
            file.write(b'[' * 2**20)
    (tmp_path / 'images').mkdir()
    with pytest.raises(InputError, match='line 1 has 100 MiB: each image has a line of its own') as caught:
        inspect(Source(path, tmp_path / 'images')).require()
    one_line(caught, path)
    assert path.stat().st_size > LONGEST_LINE


@pytest.mark.parametrize('run', ['../../../etc', '/etc', '..', '.', ''])
def test_a_plan_whose_run_is_elsewhere(tmp_path, run):
    content = json.loads((RUNS / 'desk' / 'tables' / 'table1.json').read_text())
    content['cells'][0]['runs'] = {'0': run}
    path = tmp_path / 'desk' / 'tables' / 'table1.json'
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match='which is no id of a run') as caught:
        load_plan(tmp_path, 'desk', 'table1')
    one_line(caught, path)


def test_pickles_among_arrays(tmp_path):
    mark, path = tmp_path / 'ran', tmp_path / 'arrays.npz'
    np.savez(path, about=np.array([Evil(mark)], dtype=object))
    with pytest.raises(ValueError, match='cannot be read .*allow_pickle'):
        read_arrays(path)
    assert not mark.exists()
    with np.load(path, allow_pickle=True) as file:
        file['about']
    assert mark.exists()  # it would have run


def test_arrays_that_unfold(tmp_path):
    """Two megabytes that would be two gigabytes."""
    path = tmp_path / 'arrays.npz'
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive, archive.open('a.npy', 'w') as file:
        for _ in range(2**10 + 1):
            file.write(bytes(2**20))
    assert path.stat().st_size < 2**22
    with pytest.raises(ValueError, match='it unfolds to 1.0 GiB'):
        read_arrays(path)
