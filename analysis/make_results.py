"""Write docs/results.md from the published results: python analysis/make_results.py [--runs results] [--out docs].

The page has every claim's verdict, every table beside the paper's, the figures, and the command that trains any cell
again. Notes written by hand, ``<runs>/notes/<name>.md``, are inserted: ``head`` at the top, the note of a table under
it, the note of a study above its table. The three claims that README.md shows are printed in the same form. Outcomes of
studies go into docs/studies.md, whose questions and designs are written by hand, between its marks
``<!-- outcome of NAME -->``.
"""

import argparse
import re
import sys
from pathlib import Path
from typing import Dict, List, Optional, Tuple

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a script: the packages are in the parent folder

from analysis import cli, figures, results  # noqa: E402
from analysis.claims import explain, judge  # noqa: E402
from analysis.claims.finding import FAILS, HOLDS, UNDECIDED  # noqa: E402
from analysis.tables import render  # noqa: E402
from analysis.tables.errors import errors_table  # noqa: E402
from experiments.machine import print_in_any_locale  # noqa: E402
from experiments.spec.schema import Epoch, StoredPlan  # noqa: E402
from experiments.store.errors import UserError  # noqa: E402
from experiments.store.files import HOME  # noqa: E402

#: Figures of the pages, each under the table of the same runs. Figures of images are PNG, a third of the size of SVG.
FIGURES = {
    'table3': ['gap.svg'],
    'table5': ['fig7.png'],
    'table8': ['fig9.png'],
    'table9': ['fig8.png'],
    'fig5': ['fig5.svg', 'mechanism.svg', 'fig6.svg'],
    'scaling': ['scaling.svg'],
    'crowding': ['crowding.svg'],
}
#: The paper's main claims: soft labels help, the gap to NMS closes, and a detector with NMS is beaten.
HEADLINE = ('suitable-soft-labels-improve', 'small-t-min-narrows-the-gap', 'o2f-beats-fcos-with-nms')
#: The figure of all tables together.
FIDELITY = 'fidelity.png'
_TITLES = {HOLDS: 'What holds', FAILS: 'What does not', UNDECIDED: 'What is undecided'}


def main(argv: Optional[List[str]] = None) -> int:
    """Run the command line. Returns the exit status: 0, or 2 for a user's error."""
    return cli.run(_write, _arguments(argv), 'make_results.py')


def _arguments(argv: Optional[List[str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='make_results.py', description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    cli.add_stored(parser, HOME / 'results')
    parser.add_argument('--out', type=Path, default=HOME / 'docs', help='folder of the page (default: %(default)s)')
    return parser.parse_args(argv)


def _write(args: argparse.Namespace) -> int:
    text, pictures, short = page(args.runs, args.profile)
    pages = {args.out / 'results.md': text}
    studies = args.out / 'studies.md'
    if studies.is_file():
        pages[studies], of_studies = studies_page(_text(studies), args.runs)
        pictures |= of_studies
    for name, content in pictures.items():
        cli.write_and_say(args.out / 'images' / name, content)
    for path, words in pages.items():
        cli.write_and_say(path, words.encode('utf-8'))
    print(short)
    return 0


def page(runs: Path, profile: str) -> Tuple[str, Dict[str, bytes], str]:
    """The page as Markdown, its pictures by file name, and the table of ``HEADLINE``. Pictures that cannot be drawn are
    left out and named.

    Raises:
        UserError: there are no plans of the paper's tables, or a plan is broken, or a note is not UTF-8.
    """
    plans = _of_paper(runs, profile)
    names = [plan.name for plan in plans]
    verdicts, warnings = judge.judge(runs, profile, names)
    stored = [results.load_results(runs, profile, plan) for plan in plans]
    epochs = {run: of_run for plan in plans for run, of_run in results.load_epochs(runs, profile, plan)[0].items()}
    for warning in dict.fromkeys([*warnings, *(line for each in stored for line in each.warnings)]):
        cli.warner('make_results.py')(warning)
    pictures = _pictures([FIDELITY, *(file for name in names for file in FIGURES.get(name, []))], runs, profile)
    parts = [f'# Results (profile {profile})', _note(runs, 'head'), *_fidelity(pictures, runs, profile)]
    parts += [*_summary(verdicts), _machines(stored, epochs)]
    for plan, found in zip(plans, stored):
        of_table = [verdict for verdict in verdicts if verdict.plan.name == plan.name]
        shown = [_picture(file, runs, profile) for file in FIGURES.get(plan.name, []) if file in pictures]
        parts += [render.render(plan, found).strip(), *shown, _note(runs, plan.name), _errors(plan, runs)]
        parts += [_claims(of_table), _again(plan, runs)]
    return '\n\n'.join(part for part in parts if part) + '\n', pictures, explain.headline(verdicts, HEADLINE)


def _of_paper(runs: Path, profile: str) -> List[StoredPlan]:
    """The plans of the page. Studies have a page of their own, and a table with ``--set`` is not the paper's.

    Raises:
        UserError: there are none, or a plan is broken.
    """
    names = results.plan_names(runs, profile)
    plans = [results.load_plan(runs, profile, name) for name in names]
    found = [plan for plan in plans if not plan.question and not plan.overrides]
    if not names:
        raise results.no_plans(runs, profile)
    if not found:
        raise UserError(
            f'results.md is about tables as the paper has them, and {Path(runs) / profile / "tables"} has only studies '
            f'or tables with --set ({", ".join(names)}): make_tables.py and check_claims.py show these'
        )
    return found


_OUTCOME = re.compile(r'(<!-- outcome of ([\w-]+) -->\n).*?(<!-- end -->)', re.DOTALL)


def studies_page(text: str, runs: Path) -> Tuple[str, Dict[str, bytes]]:
    """The page of the studies, with the outcome of each in every profile in which it was published, and its pictures by
    file name.

    Args:
        text (str): the page as it is.
        runs (Path): folder of the runs.

    Raises:
        UserError: a plan is broken.
    """

    pictures: Dict[str, bytes] = {}

    def outcome(mark: re.Match) -> str:
        profiles = sorted(path.parents[1].name for path in Path(runs).glob(f'*/tables/{mark[2]}.json'))
        parts = [_outcome(mark[2], runs, profile, pictures) for profile in profiles]
        return f'{mark[1]}\n' + '\n\n'.join(parts or ['No run of this study is published yet.']) + f'\n\n{mark[3]}'

    return _OUTCOME.sub(outcome, text), pictures


def _outcome(name: str, runs: Path, profile: str, pictures: Dict[str, bytes]) -> str:
    """A study's verdicts, its note, its table and what was run, in one profile; without a heading, as the page has one.

    Adds its pictures, named by the profile.
    """
    plan = results.load_plan(runs, profile, name)
    found = results.load_results(runs, profile, plan)
    verdicts, warnings = judge.judge(runs, profile, [name])
    for warning in dict.fromkeys([*warnings, *found.warnings]):
        cli.warner('make_results.py')(warning)
    epochs = results.load_epochs(runs, profile, plan)[0]
    what = _machines([found], epochs).partition('\n\n')[2]
    head = f'**Profile {profile}. {explain.counts(verdicts)}.** {what}'
    drawn = _pictures(FIGURES.get(name, []), runs, profile)
    pictures.update({f'{profile}-{file}': content for file, content in drawn.items()})
    shown = [_picture(file, runs, profile, f'{profile}-') for file in drawn]
    parts = [head, _note(runs, name), render.body(plan, found).strip(), *shown, _claims(verdicts), _again(plan, runs)]
    return '\n\n'.join(part for part in parts if part)


def _note(runs: Path, name: str) -> str:
    """The note written by hand, or ''."""
    path = Path(runs) / 'notes' / f'{name}.md'
    return _text(path).strip() if path.exists() else ''


def _text(path: Path) -> str:
    """The content of a text written by hand.

    Raises:
        UserError: it is not UTF-8.
    """
    try:
        return path.read_text(encoding='utf-8')
    except UnicodeDecodeError as error:
        raise UserError(f'{path}: it is not UTF-8 ({error}): save it as UTF-8') from error


def _summary(found: List[judge.Verdict]) -> List[str]:
    """The claims by verdict, each with the deciding comparison."""
    parts = [f'**{explain.counts(found)}.** How that is judged: [claims.md](claims.md).']
    for verdict, title in _TITLES.items():
        of_verdict = [each for each in found if each.verdict == verdict]
        if of_verdict:
            parts += [f'## {title} ({len(of_verdict)})', explain.brief(of_verdict)]
    return parts


def _machines(stored: List[results.Results], epochs: Dict[str, List[Epoch]]) -> str:
    """The number of trainings, their devices and commits, and the time that they took."""
    by_run = {run: result for each in stored for run, result in each.runs.items()}
    origins = [result.provenance for result in by_run.values()]
    hours = sum(results.training_seconds(epochs.get(run, ())) for run in by_run) / 3600
    devices = ', '.join(sorted({origin.device for origin in origins}))
    commits = ', '.join(sorted({origin.commit or 'unknown' for origin in origins}))
    seeds = len({result.seed for result in by_run.values()})
    each = 'one seed' if seeds == 1 else f'up to {seeds} seeds'
    text = f'{len(by_run)} trainings, {each} per cell, {hours:.1f} hours of training and evaluation'
    return f'## What was run\n\n{text}, on {devices}; code of commits {commits}. Each `result.json` says its own.'


def _fidelity(pictures: Dict[str, bytes], runs: Path, profile: str) -> List[str]:
    """The differences of all tables against the paper's; empty if none was measured."""
    if FIDELITY not in pictures:
        return []
    entry = figures.entries(runs, profile)['fidelity']
    assert entry.caption is not None  # it has one
    table = _folded('In numbers, and of each table', entry.caption(runs, profile))
    how = 'How the differences are chosen, and what the numbers are: [claims.md](claims.md#fidelity).'
    return ["## The paper's differences, measured", _picture(FIDELITY, runs, profile), how, table]


def _pictures(files: List[str], runs: Path, profile: str) -> Dict[str, bytes]:
    drawn = {}
    for file in files:
        name, format = file.split('.')
        try:
            drawn[file] = figures.save(figures.draw(name, runs, profile), format)
        except UserError as error:
            print(f'make_results.py: {name} is left out: {error}', file=sys.stderr)
    return drawn


def _picture(file: str, runs: Path, profile: str, prefix: str = '') -> str:
    entry = figures.entries(runs, profile)[file.split('.')[0]]
    return f'![{entry.title}: {entry.alt}](images/{prefix}{file})'


def _claims(found: List[judge.Verdict]) -> str:
    """The verdicts on a table's claims with reasons. The evidence of each claim is collapsed."""
    parts = []
    for verdict in found:
        says = (
            f'**{verdict.verdict.capitalize()}**: {" ".join(verdict.claim.statement.split())} ({verdict.claim.where}).'
        )
        parts.append(f'- {says} {explain.why(verdict)}')
    if not parts:
        return ''
    evidence = '\n\n'.join(explain.evidence(verdict) for verdict in found)
    folded = _folded('The evidence: values and intervals of each comparison', evidence)
    return '\n'.join(parts) + f'\n\n{folded}'


def _errors(plan: StoredPlan, runs: Path) -> str:
    """What each error costs in the cells of a table, collapsed; '' if it is not stored."""
    warnings: List[str] = []
    of_cells = errors_table(plan, runs, warnings)
    for warning in warnings:
        cli.warner('make_results.py')(warning)
    return of_cells and _folded('AP50 that each error costs, and the calibration error, in %', of_cells)


def _folded(summary: str, text: str) -> str:
    return f'<details><summary>{summary}</summary>\n\n{text}\n\n</details>'


def _again(plan: StoredPlan, runs: Path) -> str:
    """The command that trains each cell again."""
    lines = [
        results.command(runs, plan.profile, plan.name, plan.overrides, cell.at, cell.runs, 'again')
        for cell in plan.cells
        if cell.runs
    ]
    if not lines:
        return ''
    text = '\n'.join(lines)
    return _folded('To train any cell again', f'```\n{text}\n```')


if __name__ == '__main__':
    print_in_any_locale()
    sys.exit(main())
