"""Fills the templates: one page, with its style, script and pictures inside."""

import re
from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from analysis import verdict_words, words
from analysis.findings import FAILS, HOLDS, UNDECIDED
from analysis.report import curves, trainings, verdict_views
from analysis.report.configs import difference
from analysis.report.contents import Contents
from analysis.report.origins import duration, wall_seconds
from analysis.report.trainings import FINISHED, Training

#: What all logs together may hold, in bytes, and one of them; of each its last lines are shown.
_LOGS, _LOG = 400_000, 2_000
_READINGS = ('without_nms', 'with_nms')


def render(contents: Contents) -> str:
    """The page as HTML."""
    return _environment().get_template('report.html').render(report=contents, **_counts(contents))


@lru_cache(maxsize=None)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader('analysis.report'),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        raised=_raised,
        duration=duration,
        signed=verdict_words.signed,
        anchor=lambda text: re.sub('[^A-Za-z0-9_.-]+', '-', text),
    )
    environment.globals.update(
        SIGNS=verdict_views.SIGNS,
        SCALE=verdict_views.SCALE,
        BOX=(curves.WIDTH, curves.HEIGHT),
        READINGS=_READINGS,
        FINISHED=FINISHED,
        AGAIN=trainings.AGAIN,
        difference=difference,
        profile_words=words.profile,
        wall_seconds=wall_seconds,
        first_of_config=_first_of_config,
        metric_rows=_metric_rows,
        curves_of=_curves_of,
        log_tail=_log_tail,
    )
    return environment


def _counts(contents: Contents) -> dict:
    """Numbers of the summary."""
    verdicts = [claim.verdict.verdict for claim in contents.claims]
    finished = contents.finished
    started = sorted(day for each in finished if (day := str(each.provenance.get('started', ''))[:10]))
    return dict(
        verdict_counts={verdict: verdicts.count(verdict) for verdict in (HOLDS, FAILS, UNDECIDED)},
        seeds=sorted({training.seed for training in contents.trainings}),
        seconds=sum(map(wall_seconds, finished)),
        days=list(dict.fromkeys([started[0], started[-1]])) if started else [],
        devices=list(dict.fromkeys(each.provenance['device'] for each in finished)),
        commits=list(dict.fromkeys(each.provenance['commit'] or 'unknown' for each in finished)),
        logs=min(_LOG, _LOGS // max(1, len(contents.trainings))),
    )


def _raised(text: str) -> Markup:
    """'T^max' as T with a raised max."""
    return Markup(re.sub(r'\b([A-Za-z])\^([A-Za-z]+)\b', r'\1<sup>\2</sup>', str(escape(text))))


def _first_of_config(training: Training, contents: Contents) -> str:
    """The run whose section holds what sets this one's config apart: of a cell's seeds the first that is kept."""
    configs = {each.id: each.config for each in contents.trainings}
    return next(run for _, run in sorted(training.siblings.items()) if configs.get(run) or run == training.id)


def _metric_rows(training: Training) -> list:
    """Name of each metric with its values in both readings, in percent as shown, a dash for what is not there."""
    names = dict.fromkeys(key.rpartition('/')[2] for key in training.metrics)
    return [(name, *(_shown(training.percent(reading, name)) for reading in _READINGS)) for name in names]


def _shown(number) -> str:
    return '–' if number is None else f'{number:.1f}'


def _curves_of(training: Training) -> list:
    """The small curves of a run: its first metric, its loss, its positives."""
    epochs, name = training.epochs, training.metric
    metrics = [
        (words, [None if (value := epoch.metrics.get(f'{reading}/{name}')) is None else 100 * value for epoch in epochs])
        for words, reading in (('without NMS', 'without_nms'), ('with NMS', 'with_nms'))
    ]
    losses = [('sum', [epoch.losses.get('loss') for epoch in epochs])]
    positives = [(kind, [epoch.positives.get(kind) for epoch in epochs]) for kind in ('certain', 'ambiguous')]
    drawn = [
        curves.curves(name.replace('_', ' '), '%', metrics),
        curves.curves('Loss', '', losses),
        curves.curves('Positives per instance', '', positives),
    ]
    return [each for each in drawn if each]


def _log_tail(training: Training, size: int) -> str:
    """As many of the last lines as ``size`` characters hold, at least one, which may be cut."""
    kept, room = [], size
    for line in reversed(training.log):
        if kept and len(line) + 1 > room:
            break
        kept.append(line[:size])
        room -= len(line) + 1
    return '\n'.join(reversed(kept))
