"""What is shown while runs go: plain lines into a pipe, a table on a terminal."""

import io
import os
import pty

from experiments.commands.view import LiveView, format_ap, format_left, open_view
from experiments.store.runs import DONE, FAILED, RUNNING, WAITING, Status

METRICS = {'without_nms/AP': 0.2512, 'with_nms/AP': None}


def read_all(terminal, until):
    shown = b''
    while until.encode() not in shown:
        shown += os.read(terminal, 4096)
    return shown.decode()


def test_formats():
    assert format_ap(Status(RUNNING, metrics=METRICS)) == '25.1/–' and format_ap(Status(WAITING)) == ''
    assert [format_left(seconds) for seconds in (None, 0, 61.4, 3600)] == ['', '0:00', '1:01', '1:00:00']


def test_plain_lines_tell_only_what_is_new():
    stream = io.StringIO()
    with open_view({'a': 'cell a', 'b': 'cell b'}, stream) as view:
        running = Status(RUNNING, 2, 12, 65, METRICS)
        for done in range(101):
            view.progress('scenes', done, 100)
        for _ in range(3):
            view.show({'a': running, 'b': Status(WAITING)})
        view.show({'a': Status(DONE, 12, 12, 0, METRICS), 'b': Status(FAILED, message='no luck')})
    lines = [line.split('] ')[1] for line in stream.getvalue().splitlines()]
    assert lines == [
        *(f'preparing scenes: {n}/100' for n in (0, 20, 40, 60, 80, 100)),
        '0/2 done  cell a  epoch 2/12  AP 25.1/–  1:05 left',
        '1/2 done  cell a  done  AP 25.1/–',
        '1/2 done  cell b  failed: no luck',
    ]


def test_a_terminal_gets_a_table():
    ours, theirs = pty.openpty()
    with open(theirs, 'w') as stream:
        with open_view({'a': 'cell a'}, stream) as view:
            assert isinstance(view, LiveView)
            view.progress('scenes', 1, 2)
            view.show({'a': Status(RUNNING, 2, 12, 65, METRICS)})
        shown = read_all(ours, until='1:05')
    os.close(ours)
    for text in ('0 of 1 runs done', 'cell a', 'running', '2/12', '25.1/–', '1:05'):
        assert text in shown


def test_a_long_grid_fits_the_terminal():
    """Of hundreds of runs a small terminal gets those that run, that failed and that ended, and a count of the rest."""
    view = LiveView({str(i): f'cell {i}' for i in range(200)}, io.StringIO())
    states = {str(i): Status(WAITING) for i in range(200)}
    states.update({'150': Status(RUNNING, 1, 12), '7': Status(FAILED), '3': Status(DONE)})
    with view:
        view.live.console.size = (80, 14)
        shown = view._fitting(states)
        assert {'150', '7', '3'} <= set(shown) and len(shown) == 6 and shown == sorted(shown, key=int)
        view.show(states)
    text = view.stream.getvalue()
    assert 'cell 150' in text and 'not shown: 194 waiting' in text


def test_nobody_reads_any_more(tmp_path):
    """As with ``2>&1 | head -1``: the trainings go on without a word."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, 'w') as stream, open_view({'a': 'cell a'}, stream) as view:
        for epoch in (1, 2):
            view.show({'a': Status(RUNNING, epoch, 12, 65, METRICS)})


def test_names_are_no_markup_and_take_one_line():
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, 'w') as stream:
        with open_view({'a': '[/x] [bold]' + 'long ' * 40}, stream) as view:
            view.show({'a': Status(FAILED, message='no luck')})
        shown = read_all(ours, until='failed')
    assert '[/x] [bold]' in shown and '…' in shown
