"""Mounts with the faults of other file systems than this machine's."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def mounted(tmp_path, unmet):
    """mounted(*options): a folder on a real mount that faulty_fuse.py serves with these options."""

    def mount(*options):
        if os.geteuid() != 0 or not os.path.exists('/dev/fuse'):
            unmet('a FUSE file system is mounted by root only, and needs /dev/fuse')
        point = tmp_path / 'mount'
        point.mkdir()
        command = [sys.executable, str(Path(__file__).with_name('faulty_fuse.py')), str(point), *map(str, options)]
        process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        stack.callback(process.kill)
        stack.callback(subprocess.run, ['umount', '-l', point], check=False, stderr=subprocess.DEVNULL)
        if process.stdout.readline() != 'mounted\n':
            unmet('FUSE file systems cannot be mounted here')
        return point

    with contextlib.ExitStack() as stack:
        yield mount
