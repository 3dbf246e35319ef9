"""Fills the templates: one page, with its style, script and pictures inside."""

import re
from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from analysis import verdict_words, words
from analysis.findings import FAILS, HOLDS, UNDECIDED
from analysis.report import curves, training_views, trainings, verdict_views
from analysis.report.configs import difference
from analysis.report.contents import Contents
from analysis.report.origins import duration, wall_seconds
from analysis.report.trainings import FINISHED

#: What all logs together may hold, in bytes, and one of them; of each its last lines are shown.
_LOGS, _LOG = 250_000, 2_000


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
        auto_reload=False,
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
        READINGS=trainings.READINGS,
        FINISHED=FINISHED,
        AGAIN=trainings.AGAIN,
        difference=difference,
        profile_words=words.profile,
        wall_seconds=wall_seconds,
        percent=trainings.percent,
        metric_rows=training_views.metric_rows,
        curves_of=training_views.curves_of,
        log_tail=training_views.log_tail,
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
