"""File systems without locks, or whose locks hold on one machine only: said before anything starts."""

import pytest

from experiments.store.errors import UserError
from experiments.store.files import _locks_of_one_machine, _mount_of, check_locks, locked
from experiments.store.runs import RunFolder


def test_without_locks_nothing_starts(mounted, suite_at):
    lockless = mounted()
    with pytest.raises(UserError, match='has no locks .*: have it mounted with locks'):
        check_locks(lockless)
    with pytest.raises(UserError, match='has no locks'), locked(lockless / 'lock', 1.0):
        pass
    (lockless / 'run').mkdir()
    (lockless / 'run' / 'lock').touch()
    assert 'has no locks' in RunFolder(lockless / 'run').status().message
    suite = suite_at(lockless / 'runs')
    done = suite.run('table3', '--profile', 'smoke', check=2)
    [line] = done.stderr.splitlines()
    assert line.startswith(f'run.py: the file system of {lockless}/runs/smoke has no locks')
    assert not suite.folders()


def test_a_disk_of_this_machine_has_locks(tmp_path):
    assert check_locks(tmp_path / 'runs' / 'smoke') == '' and list((tmp_path / 'runs' / 'smoke').iterdir()) == []


@pytest.mark.parametrize(
    'mount, kind, alone',
    [
        ('rw,relatime - nfs4 server:/home rw,vers=4.2,local_lock=none', 'nfs4', False),
        ('rw,relatime - nfs server:/home rw,vers=3,nolock,local_lock=all', 'nfs', True),
        ('rw,relatime - nfs server:/home rw,vers=3,local_lock=flock', 'nfs', True),
        ('rw,relatime - lustre mds:/work rw,flock', 'lustre', False),
        ('rw,relatime - lustre mds:/work rw,localflock', 'lustre', True),
        ('rw,relatime - fuse.sshfs me@host: rw,user_id=0', 'fuse.sshfs', True),
        ('rw,relatime - cifs //server/share rw,nobrl', 'cifs', True),
        ('rw,relatime - ext4 /dev/sda1 rw', 'ext4', False),
    ],
)
def test_locks_that_hold_on_one_machine_are_known_by_the_mount(tmp_path, mount, kind, alone):
    """The kernel of the tests has no NFS and no Lustre, so their lines of mountinfo are files here."""
    point = str(tmp_path).replace(' ', r'\040')
    around = '22 1 0:1 / / rw - xfs none rw', '32 22 0:3 / /elsewhere rw - tmpfs none rw'
    lines = [around[0], f'31 22 0:2 / {point} {mount}', around[1]]
    (tmp_path / 'mountinfo').write_text(''.join(f'{line}\n' for line in lines))
    found, options = _mount_of(tmp_path / 'runs', tmp_path)
    assert found == kind and _locks_of_one_machine(found, options) is alone
    assert _mount_of(tmp_path, tmp_path / 'nowhere') == ('', set())
