"""The report: gathers the stored results, and renders the templates."""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence, Tuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from analysis import results
from analysis.claims import explain
from analysis.claims.finding import FAILS, HOLDS, UNDECIDED
from analysis.claims.judge import Verdict, judge
from analysis.report import runs, views
from analysis.report.runs import (
    FINISHED,
    Origin,
    Settings,
    Training,
    difference,
    duration,
    load_trainings,
    origins,
    representative,
    shared,
)
from analysis.report.views import ClaimView, view
from analysis.tables import layout, notes
from experiments.spec.schema import READINGS, StoredPlan
from experiments.store.errors import UserError

Warn = Callable[[str], None]


@dataclass(frozen=True)
class TableView:
    """A table: its plan, the tables to show (caption, rows), the notes below them, its claims and its curves."""

    plan: StoredPlan
    grids: List[Tuple[str, views.HtmlTable]]
    notes: List[str]
    incomplete: int
    claims: List[ClaimView]
    curves: List[views.Picture]


@dataclass(frozen=True)
class Contents:
    """The content of the page. ``figures`` are those that belong to no table. ``settings`` are those that most configs
    share. ``config_of`` gives for each run the first run with the same config, ``origin_of`` the name of each finished
    run's origin. ``warnings`` has a line for each file that was left out, and for what else is wrong with the files."""

    profile: str
    tables: List[TableView]
    claims: List[ClaimView]
    figures: List[views.Picture]
    trainings: List[Training]
    settings: Settings
    config_of: Dict[str, str]
    origins: List[Origin]
    origin_of: Dict[str, str]
    warnings: List[str]

    @property
    def finished(self) -> List[Training]:
        """The runs that have a result."""
        return [training for training in self.trainings if training.state == FINISHED]

    @property
    def left_out(self) -> List[str]:
        """The warnings about files that were left out."""
        return [line for line in self.warnings if ': left out' in line]


def gather(runs: Path, profile: str, names: Optional[Sequence[str]] = None, warn: Warn = lambda line: None) -> Contents:
    """Read, judge and draw all stored results.

    Args:
        runs (Path): folder of the runs.
        profile (str): their profile.
        names (sequence, optional): the tables; default: all that have a plan. By default a broken plan is left out.
        warn (callable): called once with a line for each broken file, which is left out.

    Raises:
        UserError: there is no plan, or one of ``names`` is missing or broken.
    """
    told: List[str] = []

    def tell(line: str) -> None:
        if line not in told:
            told.append(line)
            warn(line)

    plans = _plans(runs, profile, names, tell)
    found = [results.load_results(runs, profile, plan) for plan in plans]
    trainings, broken = load_trainings(runs, profile, plans, found)
    verdicts, broken_files = judge(runs, profile, [plan.name for plan in plans])
    for line in [*(line for each in found for line in each.warnings), *broken, *broken_files]:
        tell(line)
    drawn = views.draw_all(runs, profile, None if names is None else [plan.name for plan in plans], tell)
    claims = [view(verdict) for verdict in verdicts]
    states = {run: training.state == FINISHED for run, training in trainings.items()}
    tables = [_table(plan, each, states, claims, drawn) for plan, each in zip(plans, found)]
    configs = {run: training.config for run, training in trainings.items()}
    found_origins, origin_of = origins(trainings.values())
    return Contents(
        profile=profile,
        tables=tables,
        claims=claims,
        figures=[each for each in drawn if not any(each in table.curves for table in tables)],
        trainings=list(trainings.values()),
        settings=shared([config for config in configs.values() if config]),
        config_of=representative(configs),
        origins=found_origins,
        origin_of=origin_of,
        warnings=told,
    )


def _plans(runs: Path, profile: str, names: Optional[Sequence[str]], tell: Warn) -> List[StoredPlan]:
    """The plans that can be read."""
    plans = []
    for name in names or results.plan_names(runs, profile):
        try:
            plans.append(results.load_plan(runs, profile, name))
        except UserError as error:
            if names:
                raise
            tell(f'{error}: left out')
    if not plans:
        raise results.no_plans(runs, profile)
    return plans


def _table(
    plan: StoredPlan,
    found: results.Results,
    states: Dict[str, bool],
    claims: List[ClaimView],
    drawn: List[views.Picture],
) -> TableView:
    paper, difference = layout.paper(plan), layout.difference(plan, found)
    laid_out = [
        (notes.measured_title(plan), layout.measured(plan, found), states),
        (notes.paper_title(plan), paper, {}),
        (notes.difference_title(), difference, {}),
    ]
    return TableView(
        plan,
        [(title, views.html_table(plan, grid, links)) for title, grid, links in laid_out if grid],
        [note for note in [notes.best_note(plan), notes.caption(plan), *notes.notes(plan, found)] if note],
        found.missing_cells,
        [claim for claim in claims if claim.verdict.plan.name == plan.name],
        [each for each in drawn if each.entry.name in (f'curves-{plan.name}', f'losses-{plan.name}')],
    )


#: Size limits in bytes of all logs together, and of one log. The last lines of each are shown.
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
        signed=explain.signed,
        anchor=lambda text: re.sub('[^A-Za-z0-9_.-]+', '-', text),
    )
    environment.globals.update(
        SIGNS=views.SIGNS,
        SCALE=views.SCALE,
        BOX=(views.WIDTH, views.HEIGHT),
        READINGS=READINGS,
        FINISHED=FINISHED,
        AGAIN=runs.AGAIN,
        difference=difference,
        than=explain.than,
        profile_words=notes.profile,
        training_seconds=results.training_seconds,
        percent=runs.percent,
        breakdown_rows=views.breakdown_rows,
        metric_rows=views.metric_rows,
        curves_of=views.curves_of,
        log_tail=views.log_tail,
    )
    return environment


#: Whose claims these are, as :func:`explain.apart` sorts them.
_KINDS = ('paper', 'studies', 'settings')


def _kind(plan: StoredPlan) -> str:
    return _KINDS[2 if plan.overrides else 1 if plan.question else 0]


def _counts(contents: Contents) -> dict:
    """The numbers of the summary. The paper's claims, those of studies and those with other settings are counted apart;
    the first that there are come first, with the number of their tables."""
    apart = explain.apart([claim.verdict for claim in contents.claims])
    kinds = [(kind, _verdict_counts(verdicts)) for kind, verdicts in zip(_KINDS, apart) if verdicts]
    finished = contents.finished
    sources = [each.provenance for each in finished if each.provenance]
    started = sorted(day for source in sources if (day := str(source.started or '')[:10]))
    return dict(
        kinds=kinds,
        shown=sum(bool(kinds) and _kind(table.plan) == kinds[0][0] for table in contents.tables),
        seeds=notes.in_words(sorted({training.seed for training in contents.trainings})),
        seconds=sum(results.training_seconds(training.epochs) for training in finished),
        days=list(dict.fromkeys([started[0], started[-1]])) if started else [],
        devices=list(dict.fromkeys(source.device for source in sources)),
        commits=list(dict.fromkeys(source.commit or 'unknown' for source in sources)),
        logs=min(_LOG, _LOGS // max(1, len(contents.trainings))),
    )


def _raised(text: str) -> Markup:
    """'T^max' as T with a raised max."""
    return Markup(re.sub(r'\b([A-Za-z])\^([A-Za-z]+)\b', r'\1<sup>\2</sup>', str(escape(text))))


def _verdict_counts(verdicts: List[Verdict]) -> Dict[str, int]:
    found = [each.verdict for each in verdicts]
    return {verdict: found.count(verdict) for verdict in (HOLDS, FAILS, UNDECIDED)}
