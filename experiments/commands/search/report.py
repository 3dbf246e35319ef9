"""The results of a search as a Markdown table, best setting first."""

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence

from experiments.commands.search.space import Setting
from experiments.launchers.ray import trial
from experiments.launchers.ray.launcher import End
from experiments.store.runs import RunFolder

READINGS = ('without_nms/AP', 'with_nms/AP')


@dataclass(frozen=True)
class Found:
    """The outcome of a setting.

    Attributes:
        setting (Setting): the setting.
        end (End): how its trial ended.
        metrics (dict): the metrics of its last epoch, by key.
        stored (bool): whether its result existed before the search.
    """

    setting: Setting
    end: End
    metrics: Dict[str, Optional[float]]
    stored: bool

    @property
    def words(self) -> str:
        """How its trial ended, in words."""
        if self.end.state == trial.TRAINING:
            return f'stopped by ASHA after epoch {self.end.epoch}'
        if self.end.state == trial.DONE:
            return 'stored' if self.stored else 'trained'
        return 'failed'


def found(setting: Setting, end: End, folder: RunFolder, stored: bool) -> Found:
    """Read the outcome of a setting's trial from its folder."""
    by_epoch = {entry['epoch']: entry['metrics'] for entry in folder.epochs()}
    return Found(setting, end, by_epoch.get(end.epoch, {}), stored)


def rank(all_found: Sequence[Found], metric: str, mode: str) -> List[Found]:
    """Sort finished trials first, then stopped ones (later stops first), then failed ones. Within these, the best
    ``metric`` comes first: the highest for ``mode`` 'max', the lowest for 'min'."""
    order = [trial.DONE, trial.TRAINING, trial.FAILED]

    def place(entry: Found) -> tuple:
        value = entry.metrics.get(metric)
        by_metric = 0 if value is None else -value if mode == 'max' else value
        return order.index(entry.end.state), -entry.end.epoch, value is None, by_metric

    return sorted(all_found, key=place)


def render(name: str, ranked: Sequence[Found], metric: str) -> str:
    """The report.

    Args:
        name (str): the table and profile, for the heading.
        ranked (sequence[Found]): the outcomes in the order to print.
        metric (str): the metric of the search.
    """
    count = {state: sum(entry.end.state == state for entry in ranked) for state in (trial.DONE, trial.TRAINING)}
    stored = sum(entry.stored for entry in ranked)
    keys = list(dict.fromkeys((metric, *READINGS)))
    axes = list(ranked[0].setting.at)
    rows = [[*axes, *(f'{key} in %' for key in keys), 'epochs', 'run', '']]
    rows += [_row(entry, axes, keys) for entry in ranked]
    failed = len(ranked) - sum(count.values())
    return '\n'.join(
        [
            f'## Search of {name}',
            '',
            f'{len(ranked)} settings by {metric}: {count[trial.DONE]} trained to the end ({stored} of them before), '
            f'{count[trial.TRAINING]} stopped by ASHA, {failed} failed.',
            '',
            *_lines(rows, len(axes)),
            '',
            'What was stopped early is no result. Its run goes on from there when it is tried again, or asked for as a '
            'cell.',
        ]
    )


def _row(entry: Found, axes: List[str], keys: List[str]) -> List[str]:
    values = [entry.metrics.get(key) for key in keys]
    return [
        *(str(entry.setting.at[axis]) for axis in axes),
        *('–' if value is None else f'{100 * value:.1f}' for value in values),
        str(entry.end.epoch),
        entry.setting.run.id,
        entry.words,
    ]


def _lines(rows: List[List[str]], texts: int) -> List[str]:
    """A padded Markdown table of a header and rows. The first ``texts`` columns and the last one are text."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    last = len(widths) - 1

    def line(row: Sequence[Any]) -> str:
        return '| ' + ' | '.join(cell.ljust(width) for cell, width in zip(row, widths)) + ' |'

    rule = ['-' * width if i < texts or i >= last - 1 else '-' * (width - 1) + ':' for i, width in enumerate(widths)]
    return [line(rows[0]), line(rule), *map(line, rows[1:])]
