"""Each fault that the doctor is there for, in small files of the real formats, and the command itself."""

import argparse
import hashlib
import os
import re
import socket
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_datasets import write_tiny_coco, write_tiny_crowdhuman

import o2f  # noqa: F401  (before MMDetection)
from experiments.commands.doctor import data, machine, software
from experiments.commands.doctor.checks import FAILS, NOTE, OK, WARNING
from experiments.commands.estimate.counts import PUBLISHED, Published
from experiments.run import main
from experiments.spec.config import compose, resolve

COCO = 'annotations/instances_val2017.json'


def config(*use, **overrides):
    return resolve('paper', use, {key.replace('__', '.'): value for key, value in overrides.items()}, 0, 'test').config


def states(findings):
    return [finding.state for finding in findings]


@pytest.fixture
def folder(tmp_path):
    write_tiny_coco(tmp_path / 'coco')
    write_tiny_crowdhuman(tmp_path / 'CrowdHuman')
    return tmp_path


def test_whole_data_are_counted_and_decoded(folder):
    found = list(data.data([config(), config('crowdhuman')], folder))
    assert not any(finding.state == FAILS for finding in found)
    text = '\n'.join(finding.line() for finding in found)
    # Two images each are not what is published.
    assert '2 images, 9 instances, but 118287 images, 860001 instances are published' in text
    assert text.count('2 images are there; 2 of them were decoded') == 4
    assert text.count('sha256') == 4 and 'id_hw_' not in text
    (folder / 'CrowdHuman' / 'id_hw_train.json').unlink()
    [note] = [finding for finding in data.data([config('crowdhuman')], folder) if finding.state == NOTE]
    assert 'id_hw_train.json is not there: the first run opens every image once' in note.says


def test_published_numbers_are_recognised(folder, monkeypatch):
    monkeypatch.setitem(PUBLISHED, 'instances_val2017.json', Published(2, 8))
    [counted] = [
        finding
        for finding in data.data([config()], folder)
        if 'images, ' in finding.says and 'val' in finding.what and 'decoded' not in finding.says
    ]
    assert counted.state == OK and counted.says == '2 images, 8 instances, as published'


def _truncate(path):
    path.write_bytes(path.read_bytes()[:-40])


def _corrupt(path):
    path.write_bytes(path.read_bytes()[:60])


def _shrink(path):
    path.write_bytes(cv2.imencode('.jpg', np.zeros((8, 9, 3), np.uint8))[1].tobytes())


def test_a_file_of_ones_own_is_not_said_to_be_cocos(folder):
    own = config(val_dataloader__dataset__ann_file='annotations/own.json')
    [fails] = [finding for finding in data.data([own], folder) if finding.state == FAILS]
    assert 'own.json is missing' in fails.says and fails.says.endswith(' (--data names another folder)')


@pytest.mark.parametrize(
    'file, harm, says',
    [
        (COCO, os.unlink, 'instances_val2017.json is missing: .*from cocodataset.org'),
        (COCO, _truncate, 'is not JSON'),
        ('val2017/000000000139.jpg', os.unlink, "names the image '000000000139.jpg', which is not in"),
        ('val2017/000000000139.jpg', _corrupt, '000000000139.jpg cannot be read: .*: replace it'),
        ('val2017/000000000139.jpg', _shrink, '000000000139.jpg has 9 x 8 pixels, not 200 x 120'),
    ],
)
def test_a_fault_of_coco_is_named(folder, file, harm, says):
    harm(folder / 'coco' / file)
    fails = [finding for finding in data.data([config()], folder) if finding.state == FAILS]
    assert len(fails) == 1
    assert re.search(says, fails[0].says), fails[0].says


def test_faults_of_crowdhuman_are_named(folder):
    _truncate(folder / 'CrowdHuman' / 'annotation_train.odgt')
    for image in (folder / 'CrowdHuman' / 'Images').glob('284193*'):
        _corrupt(image)
    fails = [finding.says for finding in data.data([config('crowdhuman')], folder) if finding.state == FAILS]
    assert len(fails) == 2 and 'annotation_train.odgt, line 2 is not JSON' in fails[0]
    assert re.search(r'cannot be read: .* \(1 more\): replace it', fails[1])


def test_weights_missing_offline_damaged_and_whole(tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    with socket.socket() as closed:  # nobody listens there
        closed.bind(('127.0.0.1', 0))
        url = f'http://127.0.0.1:{closed.getsockname()[1]}/tiny-01234567.pth'
        asked = config(model__backbone__init_cfg__checkpoint=url)
        [missing] = data.weights([asked])
    place = tmp_path / 'hub' / 'checkpoints' / 'tiny-01234567.pth'
    assert missing.state == FAILS and f'fetch {url} on another machine and put it at {place}' in missing.says
    place.parent.mkdir(parents=True)
    place.write_bytes(b'not these weights')
    [damaged] = data.weights([asked])
    assert damaged.state == FAILS and 'its sha256 is not 01234567' in damaged.says
    name = f'tiny-{hashlib.sha256(b"whole").hexdigest()[:8]}.pth'
    place.with_name(name).write_bytes(b'whole')
    [found] = data.weights([config(model__backbone__init_cfg__checkpoint=url.replace('tiny-01234567.pth', name))])
    assert found.state == OK


def test_a_disk_that_is_too_small(tmp_path):
    """The real disk, against a run that would write more than any has."""
    huge = compose('paper', (), 'test').to_dict()
    huge['train_cfg']['max_epochs'] = 10**12
    *_, last = machine.folders(tmp_path / 'runs', tmp_path, {'a': huge}, 1)
    assert last.state == FAILS and 'or name another folder with --runs' in last.says
    *_, last = machine.folders(tmp_path / 'runs', tmp_path, {}, 1)
    assert last.state == OK


def test_room_on_the_disk():
    assert machine.space(10**9, 2 * 10**9, 'runs', 1).state == FAILS
    assert machine.space(10**9, 9 * 10**8, 'runs', 1).state == WARNING
    assert machine.space(10**9, 10**8, 'runs', 1).state == OK


def test_a_folder_that_cannot_be_written(tmp_path):
    found = list(machine.folders(Path('/proc/o2f/runs'), tmp_path, {}, 1))  # not even by root
    assert states(found) == [FAILS, OK] and 'name another with --runs' in found[0].says


def test_versions_against_the_known_ones(tmp_path):
    known = tmp_path / 'constraints.txt'
    known.write_text("torch==0.1\nnumpy==9.9 ; python_version < '3'\nno-such-package==1\n# a comment\n")
    assert software.known_versions(known) == {'torch': '0.1', 'no-such-package': '1'}
    lines = {finding.what: finding for finding in software.packages(known)}
    assert lines['torch'].state == NOTE and lines['torch'].says.endswith('; 0.1 is known to work')
    assert lines['numpy'].state == OK
    assert software.python((3, 9, 1)).state == FAILS and software.python((3, 12, 0)).state == OK


def command(capsys, *args):
    status = main(['doctor', *map(str, args)])
    return status, capsys.readouterr()


def test_the_command_at_the_desk(capsys, suite):
    status, printed = command(capsys, 'table3', '--profile', 'smoke', '--runs', suite.runs, '--data', suite.data)
    assert status == 0 and printed.err == ''
    assert 'is made by the first run that needs it' in printed.out or 'is whole' in printed.out
    assert '16 run(s) to do need about' in printed.out and ' 0 that would make a run fail' in printed.out


def test_the_command_without_data_and_cluster(capsys, tmp_path):
    asked = ('table5', '--profile', 'paper', '--runs', tmp_path, '--data', tmp_path)
    status, printed = command(capsys, *asked, '--launcher', 'slurm', '--cluster', tmp_path / 'nowhere.yaml')
    assert status == 1 and printed.err == ''
    assert re.search(r'FAILS    instances_train2017.json .* is missing', printed.out)
    assert re.search('FAILS    Slurm ', printed.out)


def test_a_ray_cluster_that_does_not_answer(need_ray):
    asked = dict(launcher='ray', ray_address='nonsense', cluster=None)
    found = [finding for finding in machine.launchers(argparse.Namespace(**asked)) if finding.what == 'Ray']
    assert states(found) == [FAILS] and 'give HOST:PORT or auto' in found[0].says


def test_cells_that_share_a_file_share_its_checks(folder):
    assert list(data.data([config(), config('3x'), config('r101')], folder)) == list(data.data([config()], folder))
