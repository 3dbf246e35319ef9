"""A function in a process with torch: whatever happens there, the caller gets one line and waits for nothing."""

import os
import time

import pytest

from experiments.launchers.local import in_process
from experiments.store.errors import UserError
from o2f.errors import InputError


def reports(report):
    """More than a pipe holds."""
    for number in range(100_000):
        report('x' * 100, number)


def refuses(report):
    raise InputError('no such image')


def dies(report):
    os._exit(9)


def test_a_stop_between_reports():
    def stop(text, number):
        raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        in_process(reports, stop)
    assert time.monotonic() - started < 60


@pytest.mark.parametrize('function, says', [(refuses, 'no such image'), (dies, r'was ended \(status 9\)')])
def test_an_end_without_a_result(function, says):
    with pytest.raises(UserError, match=says):
        in_process(function, print)
