"""Gathers what the report shows, from stored files alone."""

from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence, Tuple

from analysis import layout, results, words
from analysis.bootstrap import SAMPLES
from analysis.plans import Plan
from analysis.readings import missing_cells
from analysis.report import grids, pictures
from analysis.report.configs import Settings, keepers, shared
from analysis.report.origins import Origin, origins
from analysis.report.trainings import FINISHED, Training, load_trainings
from analysis.report.verdict_views import ClaimView, view
from analysis.verdicts import claims_of, judge

Warn = Callable[[str], None]


@dataclass(frozen=True)
class TableView:
    """A table: its plan, the tables to show (caption, rows), what is said below them, its claims and its curves."""

    plan: Plan
    grids: List[Tuple[str, grids.Table]]
    notes: List[str]
    incomplete: int
    claims: List[ClaimView]
    curves: List[pictures.Picture]


@dataclass(frozen=True)
class Contents:
    """All that the page shows. ``figures`` are those that stand apart from the tables, ``settings`` what most configs
    share, ``config_of`` for each run the first one of the same config, ``origin_of`` what the origin of each finished
    run is called, ``warnings`` what was left out."""

    profile: str
    tables: List[TableView]
    claims: List[ClaimView]
    figures: List[pictures.Picture]
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


def gather(
    runs: Path, profile: str, names: Optional[Sequence[str]] = None, warn: Warn = lambda line: None, samples=SAMPLES
) -> Contents:
    """Read, judge and draw all that there is.

    Args:
        runs (Path): folder of the runs.
        profile (str): their profile.
        names (sequence, optional): the tables; all that have a plan where it is not given, and then a plan that is
            broken is left out.
        warn (callable): told once, in a line, of each file that is broken and left out.
        samples (int): how many samples of the test images the claims' intervals are made of.

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
    judged = judge(runs, profile, [plan.name for plan in plans], samples)
    for line in [*(line for each in found for line in each.warnings), *broken, *judged.warnings]:
        tell(line)
    drawn = pictures.draw_all(runs, profile, None if names is None else [plan.name for plan in plans], tell)
    claims = [view(verdict) for verdict in judged.verdicts]
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
        config_of=keepers(configs),
        origins=found_origins,
        origin_of=origin_of,
        warnings=told,
    )


def _plans(runs: Path, profile: str, names: Optional[Sequence[str]], tell: Warn) -> List[Plan]:
    """The plans whose claims can be read, too."""
    plans = []
    for name in names or results.plan_names(runs, profile):
        try:
            plan = results.load_plan(runs, profile, name)
            claims_of(plan, runs)
            plans.append(plan)
        except results.UserError as error:
            if names:
                raise
            tell(f'{error}: left out')
    if not plans:
        raise results.no_plans(runs, profile)
    return plans


def _table(
    plan: Plan, found: results.Results, states: Dict[str, bool], claims: List[ClaimView], drawn: List[pictures.Picture]
) -> TableView:
    paper, difference = layout.paper(plan), layout.difference(plan, found)
    laid_out = [
        (words.measured_title(plan), layout.measured(plan, found), states),
        (words.paper_title(plan), paper, {}),
        (words.difference_title(), difference, {}),
    ]
    return TableView(
        plan,
        [(title, grids.html_table(plan, grid, links)) for title, grid, links in laid_out if grid],
        [note for note in [words.best_note(plan), words.caption(plan), *words.notes(plan, found)] if note],
        missing_cells(plan, found),
        [claim for claim in claims if claim.verdict.table == plan.name],
        [each for each in drawn if each.entry.name in (f'curves-{plan.name}', f'losses-{plan.name}')],
    )
