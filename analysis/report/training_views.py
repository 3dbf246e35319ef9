"""What the section of a run shows: its metrics, its curves and the end of its log."""

from typing import List, Optional, Tuple

from analysis.report.curves import Curves, curves
from analysis.report.trainings import READINGS, Training, percent


def metric_rows(training: Training) -> List[Tuple[str, str, str]]:
    """Name of each metric with its values in both readings, in percent as shown, a dash for what is not there."""
    names = dict.fromkeys(key.rpartition('/')[2] for key in training.metrics)
    without, with_nms = READINGS
    return [
        (
            name,
            _shown(percent(training.metrics, without, name)),
            _shown(percent(training.metrics, with_nms, name)),
        )
        for name in names
    ]


def _shown(number: Optional[float]) -> str:
    return '–' if number is None else f'{number:.1f}'


def curves_of(training: Training) -> List[Curves]:
    """The small curves of a run: its first metric, its loss, its positives."""
    epochs, name = training.epochs, training.metric
    metrics = [
        (reading.replace('_', ' ').replace('nms', 'NMS'), [percent(epoch.metrics, reading, name) for epoch in epochs])
        for reading in READINGS
    ]
    losses = [('sum', [epoch.losses.get('loss') for epoch in epochs])]
    positives = [(kind, [epoch.positives.get(kind) for epoch in epochs]) for kind in ('certain', 'ambiguous')]
    drawn = [
        curves(name.replace('_', ' '), '%', metrics),
        curves('Loss', '', losses),
        curves('Positives per instance', '', positives),
    ]
    return [each for each in drawn if each]


def log_tail(training: Training, size: int) -> str:
    """As many of the last lines as ``size`` characters hold, at least one, which may be cut."""
    kept: List[str] = []
    room = size
    for line in reversed(training.log):
        if kept and len(line) + 1 > room:
            break
        kept.append(line[:size])
        room -= len(line) + 1
    return '\n'.join(reversed(kept))
