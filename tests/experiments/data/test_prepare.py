"""What a profile generates is made once, where its placeholders point, and stands in the ids of runs that use it."""

import pytest

from experiments.data.prepare import prepare
from experiments.spec.config import resolve
from experiments.spec.paths import data_paths, generated
from experiments.store.errors import UserError


def run_of(*use, profile='smoke', **overrides):
    return resolve(profile, use, overrides, 0, 'test')


def prepared(configs, data):
    """Make the data; gives what was reported, as {what: times}."""
    seen = {}
    prepare(configs, data, lambda what, *_: seen.update({what: seen.get(what, 0) + 1}), lambda f, *args: f(*args))
    return seen


def test_a_crowd_is_generated_only_for_those_who_ask():
    plain, crowd = generated(run_of().config), generated(run_of('crowdhuman').config)
    assert set(plain) == {'SCENES', 'BACKBONE'} and set(crowd) == {'SCENES', 'BACKBONE', 'CROWD'}
    assert all(plain[key] == crowd[key] for key in plain)
    name, spec = crowd['CROWD']
    assert (spec.train, spec.val, spec.size) == (16, 8, 112) and name.startswith(f'crowd-v{spec.version}-')


def test_a_new_version_of_the_crowd_renames_only_its_runs(monkeypatch):
    from experiments.spec.synthetic import CrowdSpec

    before = run_of().id, run_of('crowdhuman').id
    monkeypatch.setattr(CrowdSpec.__init__, '__defaults__', ('next', *CrowdSpec.__init__.__defaults__[1:]))
    assert run_of().id == before[0] and run_of('crowdhuman').id != before[1]


def test_the_settings_of_the_crowd_stand_in_the_id():
    assert run_of('crowdhuman', **{'generate.crowd.train': 17}).id != run_of('crowdhuman').id
    assert run_of('crowdhuman', profile='desk').id != run_of('crowdhuman').id
    with pytest.raises(UserError, match='generate in the profile: .*trian'):
        generated(dict(generate=dict(scenes={}, backbone={}, crowd=dict(trian=3))))


def test_the_crowd_is_made_once_and_mended(data):
    """Two runs share all they can; a file that was damaged since is made again, and nothing else."""
    configs = [run_of('crowdhuman').config, run_of('crowdhuman', 'fcos').config, run_of().config]
    prepared([configs[2]], data)
    first = prepared(configs, data)
    folder = data / 'desk' / generated(configs[0])['CROWD'][0]
    assert data_paths(configs[0], data)['CROWD'] == str(folder)
    assert len(list((folder / 'Images').glob('*.jpg'))) == 24
    assert first in ({'crowd': 24}, {})  # another test may have made it
    assert prepared(configs, data) == {}
    annotations = folder / 'annotation_val.odgt'
    whole = annotations.read_bytes()
    annotations.write_bytes(whole[:-10])
    assert prepared(configs, data) == {'crowd': 24} and annotations.read_bytes() == whole


def test_what_is_not_generated_is_looked_for(tmp_path):
    with pytest.raises(UserError, match='CrowdHuman/annotation_train.odgt is missing'):
        prepared([run_of('crowdhuman', profile='paper').config], tmp_path)
    assert not list(tmp_path.iterdir())
