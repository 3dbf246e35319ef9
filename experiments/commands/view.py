"""Shows the progress of runs: a live table on a terminal, plain lines elsewhere."""

import os
import sys
import time
from typing import Dict, List, Optional, TextIO

from experiments.store.runs import DONE, FAILED, QUEUED, REQUEUED, RUNNING, STOPPED, WAITING, Status

_READINGS = ('without_nms/AP', 'with_nms/AP')


def open_view(labels: Dict[str, str], stream: Optional[TextIO] = None) -> 'PlainView':
    """A view of the runs in ``labels`` (run id -> name): live if the stream, by default stderr, is a terminal."""
    stream = stream or sys.stderr
    return LiveView(labels, stream) if stream.isatty() else PlainView(labels, stream)


def format_ap(status: Status) -> str:
    """AP without / with NMS in percent, as in the paper's tables; empty before the first evaluation."""
    if not status.metrics:
        return ''
    values = [status.metrics.get(key) for key in _READINGS]
    return '/'.join('–' if value is None else f'{100 * value:.1f}' for value in values)


def format_left(seconds: Optional[float]) -> str:
    """Seconds as h:mm:ss or m:ss; empty if not known."""
    if seconds is None:
        return ''
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours}:{minutes:02}:{seconds:02}' if hours else f'{minutes}:{seconds:02}'


class PlainView:
    """One line for each epoch that ends, each run that ends and each step of preparation, with a time stamp."""

    def __init__(self, labels: Dict[str, str], stream: TextIO) -> None:
        self.labels = labels
        self.stream = stream
        self.begin = time.monotonic()
        self.seen: Dict[str, tuple] = {}

    def __enter__(self) -> 'PlainView':
        return self

    def __exit__(self, *_) -> None:
        """Do nothing: this view holds no resources."""

    def say(self, text: str) -> None:
        """Print one line. If nobody reads any more, the trainings go on without."""
        try:
            print(f'[{format_left(time.monotonic() - self.begin):>7}] {text}', file=self.stream, flush=True)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())

    def progress(self, what: str, done: int, total: int) -> None:
        """Print the progress of a preparation: a line at every fifth of it."""
        fifth = 5 * done // total
        if self.seen.get(what) != (fifth,):
            self.seen[what] = (fifth,)
            self.say(f'preparing {what}: {done}/{total}')

    def show(self, statuses: Dict[str, Status]) -> None:
        """Print what has changed since the last call."""
        done = sum(status.state == DONE for status in statuses.values())
        for run_id, status in statuses.items():
            news = (status.state, status.epoch if status.epochs else 0) if status.state == RUNNING else (status.state,)
            if self.seen.get(run_id) != news and status.state in (RUNNING, REQUEUED, DONE, FAILED):
                self.seen[run_id] = news
                self.say(f'{done}/{len(statuses)} done  {self.labels[run_id]}  {_words(status)}')


def _words(status: Status) -> str:
    if status.state == FAILED:
        return f'failed: {status.message}'
    epoch = f'epoch {status.epoch}/{status.epochs}' if status.epochs else 'starting'
    parts = [epoch if status.state == RUNNING else status.state]
    if format_ap(status):
        parts.append(f'AP {format_ap(status)}')
    if status.state == RUNNING and status.left_s is not None:
        parts.append(f'{format_left(status.left_s)} left')
    return '  '.join(parts)


class LiveView(PlainView):
    """A table that rich redraws in place."""

    def __enter__(self) -> 'LiveView':
        from rich.console import Console
        from rich.live import Live

        self.live = Live(console=Console(file=self.stream), refresh_per_second=4, transient=False)
        self.live.__enter__()
        return self

    def __exit__(self, *error) -> None:
        self.live.__exit__(*error)

    def say(self, text: str) -> None:
        self.live.console.print(text, highlight=False, markup=False)

    def progress(self, what: str, done: int, total: int) -> None:
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        line = Table.grid(padding=(0, 1))
        line.add_row(f'preparing {what}', ProgressBar(total=total, completed=done, width=40), f'{done}/{total}')
        self.live.update(line)

    def show(self, statuses: Dict[str, Status]) -> None:
        from rich.table import Table

        done = sum(status.state == DONE for status in statuses.values())
        table = Table(
            title=f'{done} of {len(statuses)} runs done, {format_left(time.monotonic() - self.begin)}',
            title_justify='left',
            expand=False,
        )
        table.add_column('run')
        for name in ('state', 'epoch', 'AP without/with NMS', 'left'):
            table.add_column(name, justify='right', no_wrap=True)
        shown = self._fitting(statuses)
        for run_id in shown:
            self._add_row(table, run_id, statuses[run_id])
        hidden = [status.state for run_id, status in statuses.items() if run_id not in shown]
        if hidden:
            counts = ', '.join(f'{hidden.count(state)} {state}' for state in dict.fromkeys(hidden))
            table.caption, table.caption_justify = f'not shown: {counts}', 'left'
        self.live.update(table)

    def _fitting(self, statuses: Dict[str, Status]) -> List[str]:
        """The runs that fit the terminal, in plan order. Running and failed ones have priority, then ended ones."""
        room = max(self.live.console.size.height - 8, 4)  # the title, header, rules and caption take 8 lines
        order = [RUNNING, FAILED, REQUEUED, DONE, STOPPED, QUEUED, WAITING]
        first = sorted(statuses, key=lambda run_id: order.index(statuses[run_id].state))[:room]
        return [run_id for run_id in statuses if run_id in first]

    def _add_row(self, table, run_id: str, status: Status) -> None:
        from rich.text import Text

        epoch = f'{status.epoch}/{status.epochs}' if status.epochs else ''
        styles = {RUNNING: 'bold', FAILED: 'red', DONE: 'green', STOPPED: 'yellow', REQUEUED: 'yellow'}
        left = format_left(status.left_s) if status.state == RUNNING else ''
        label = Text(self.labels[run_id], no_wrap=True, overflow='ellipsis')  # no markup, on one line
        cells = label, status.state, epoch, format_ap(status), left
        table.add_row(*cells, style=styles.get(status.state, 'dim'))
