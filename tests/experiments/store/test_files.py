"""A file appears whole or not at all, also on a full disk."""

import os

import pytest

from experiments.store.errors import UserError
from experiments.store.files import ASIDE, can_be_written, obstacle, read_json, write_json, write_whole


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / 'a.json'
    write_json(path, {'x': 1})
    write_json(path, {'x': 2})
    assert read_json(path) == {'x': 2} and os.listdir(tmp_path) == ['a.json']


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='needs the device /dev/full')
def test_a_full_disk_leaves_the_old_file_and_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr('secrets.token_hex', lambda _: '0')
    path = tmp_path / 'a.json'
    write_json(path, {'x': 1})
    os.symlink('/dev/full', tmp_path / f'{ASIDE}a.json.{os.getpid()}.0')  # where the new content is written aside
    with pytest.raises(UserError, match='a.json: No space left on device. Free some space'):
        write_whole(path, 'new')
    assert read_json(path) == {'x': 1} and os.listdir(tmp_path) == ['a.json']


def test_a_full_quota_leaves_the_old_file_and_is_named(mounted):
    """EDQUOT comes from a FUSE mount, because a kernel may know no quotas of disks."""
    folder = mounted(1000)
    path = folder / 'a.json'
    write_json(path, {'x': 1})
    with pytest.raises(UserError, match='a.json: Disk quota exceeded. Free some space'):
        write_whole(path, 'new' * 1000)
    assert read_json(path) == {'x': 1} and not list(folder.glob(f'{ASIDE}*'))
    write_json(path, {'x': 2})
    assert read_json(path) == {'x': 2}


def test_a_full_disk_is_an_obstacle_even_where_empty_files_can_be_made(tmp_path, mount):
    mount(tmp_path / 'small', 'size=4k')
    assert can_be_written(tmp_path / 'small')
    with pytest.raises(OSError, match='No space'):
        (tmp_path / 'small' / 'filler').write_bytes(bytes(1 << 20))
    assert 'small: No space left on device. Free some space' in obstacle(tmp_path / 'small')
    (tmp_path / 'small' / 'empty').touch()


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match='No such file or directory'):
        write_whole(tmp_path / 'none' / 'a', 'x')


def test_damaged_json_is_named(tmp_path):
    path = tmp_path / 'a.json'
    assert read_json(path) is None
    for damaged in (b'{"x": ', b'\xff\xfe'):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match='a.json cannot be read .*: delete it and run again'):
            read_json(path)
