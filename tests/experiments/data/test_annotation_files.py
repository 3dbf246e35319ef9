"""Datasets are looked at before runs are trained on them, and results of data changed since are named."""

import json
import shutil

import pytest
from tiny_datasets import write_tiny_coco, write_tiny_crowdhuman

from experiments.data.annotations import changed_since, differing, digests, remember
from experiments.data.prepare import prepare
from experiments.spec.config import resolve
from experiments.store.errors import UserError
from experiments.store.runs import RunFolder


@pytest.fixture
def folder(tmp_path):
    write_tiny_coco(tmp_path / 'coco')
    write_tiny_crowdhuman(tmp_path / 'CrowdHuman')
    return tmp_path


def look(folder, *uses):
    said = []
    configs = [resolve('paper', use, {}, 0, 'test').config for use in uses]
    prepare(configs, folder, lambda *_: None, lambda function, *args: function(*args), say=said.append)
    return said


def test_both_layouts_pass_and_each_is_looked_at_once(folder):
    said = look(folder, (), ('3x',), ('crowdhuman',), ('r101',))
    assert sum('1 annotations have no area and are skipped' in line for line in said) == 1
    assert sum('crowd regions (iscrowd)' in line for line in said) == 2 and len(said) == len(set(said))


@pytest.mark.parametrize('name', ['instances_train2017.json', 'instances_val2017.json'])
def test_a_box_two_pixels_out_of_its_image(folder, name):
    """It is clipped and named once; what cannot be trained on is still refused."""
    path = folder / 'coco' / 'annotations' / name
    content = json.loads(path.read_text())
    content['annotations'][1]['bbox'] = [150, 10, 52, 20]
    path.write_text(json.dumps(content))
    [line] = [line for line in look(folder, ()) if 'reach out of their image' in line]
    assert f'{name}: 1 annotations reach out of their image and are clipped to it (first: annotation 2 ' in line
    content['annotations'][1]['bbox'] = [150, 10, 52]
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r'annotation 2 .* must be four numbers'):
        look(folder, ())


def test_data_that_were_changed_are_named(folder, tmp_path):
    run = resolve('paper', (), {}, 0, 'test')
    of_run = RunFolder(tmp_path / 'run')
    of_run.create(run)
    assert changed_since(run, of_run, folder) == []  # a run from before digests were stored
    path = folder / 'coco' / 'annotations' / 'instances_train2017.json'
    path.write_text(path.read_text() + ' ')
    remember(run, of_run, folder)
    path.write_text(path.read_text()[:-1])
    assert changed_since(run, of_run, folder) == []  # nothing was trained on it yet
    remember(run, of_run, folder)
    of_run.add_epoch(1, {}, {}, 1.0, 0.0)
    assert len(of_run.data()) == 2 and changed_since(run, of_run, folder) == []
    path.write_text(path.read_text() + ' ')
    assert changed_since(run, of_run, folder) == [str(path)]
    remember(run, of_run, folder)  # what it was trained on stays known
    assert changed_since(run, of_run, folder) == [str(path)]
    path.write_text(path.read_text()[:-1])
    assert changed_since(run, of_run, folder) == []  # the time is another, the content is not
    elsewhere = shutil.copytree(folder, tmp_path / 'elsewhere')
    assert changed_since(run, of_run, elsewhere) == []
    other = elsewhere / 'coco' / 'annotations' / 'instances_val2017.json'
    other.write_text(other.read_text() + ' ')
    assert changed_since(run, of_run, elsewhere) == [str(other)]
    assert digests(resolve('smoke', (), {}, 0, 'test').config, folder) == {}  # folders name generated data


def test_mixtures_of_contents_are_named(tmp_path):
    """Within a cell wherever the file lies, between cells in the same place. Cells may have files of their own."""

    def trained(name, path, sha256):
        of_run = RunFolder(tmp_path / name)
        of_run.path.mkdir()
        of_run.set_data(dict(train_dataloader=dict(path=path, sha256=sha256)))
        of_run.add_epoch(1, {}, {}, 1.0, 0.0)
        return of_run

    a, moved, changed = trained('a', 'a.json', '1'), trained('b', 'moved.json', '1'), trained('c', 'moved.json', '2')
    other = trained('d', 'other.json', '3')
    assert differing([[a, moved], [other]]) == []
    assert differing([[a], [other, RunFolder(tmp_path / 'none')]]) == []
    assert differing([[a, changed]]) == differing([[moved], [changed]]) == ['moved.json']
    (changed.path / 'data.json').write_text('{')  # it is said where it is trained
    assert differing([[a, changed]]) == []
