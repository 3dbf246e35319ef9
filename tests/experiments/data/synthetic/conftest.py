"""A few images of each kind, drawn once for all tests here."""

import pytest

import o2f  # noqa: F401  (answers for mmcv's compiled operations before a test imports MMDetection)
from experiments.data.synthetic.coco import write_coco
from experiments.data.synthetic.crowd import CrowdSpec, write_crowd
from experiments.data.synthetic.scenes import SceneSpec

SCENES = SceneSpec(seed=5, train=6, val=4)
CROWD = CrowdSpec(seed=5, train=5, val=3, ignore=0.6)


@pytest.fixture(scope='session')
def scene_spec():
    return SCENES


@pytest.fixture(scope='session')
def crowd_spec():
    return CROWD


@pytest.fixture(scope='session')
def coco_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('coco')
    write_coco(SCENES, folder)
    return folder


@pytest.fixture(scope='session')
def crowd_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('crowd')
    write_crowd(CROWD, folder)
    return folder


@pytest.fixture(scope='session')
def contents():
    """Maps a folder to {path inside it: bytes}."""
    return lambda folder: {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob('*') if p.is_file()}
