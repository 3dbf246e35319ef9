"""Parts of the page: verdicts as bars, metrics and curves of runs, tables as HTML, and pictures.

A curve is an SVG path of two hundred bytes, so that a thousand runs fit into one page.
"""

import base64
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence, Tuple

from PIL import Image

from analysis import figures
from analysis.claims import explain
from analysis.claims.finding import FAILS, HOLDS, UNDECIDED, Finding
from analysis.claims.judge import Verdict
from analysis.report.runs import Training, percent
from analysis.tables.layout import DASH, TableLayout
from experiments.spec.schema import READINGS, Cell, StoredPlan
from experiments.store.errors import UserError

#: The metric that counts, per object, and is no fraction.
PER_OBJECT = 'duplicates'
#: How the page draws the first and the second line of a plot.
_STYLES = ('line', 'dashes')


@dataclass(frozen=True)
class Curves:
    """One or two lines over the epochs on one scale, as SVG paths, and a description in words."""

    paths: Tuple[str, ...]
    words: str


def curves(title: str, unit: str, lines: Sequence[Tuple[str, Sequence[Optional[float]]]]) -> Optional[Curves]:
    """Draw one or two lines. Each has a name and a value per epoch, which may be None.

    Returns:
        Curves: lines in a box of ``WIDTH`` x ``HEIGHT``, whose bottom is the smallest of all values; None if there are
            no values.
    """
    lines = [(name, values) for name, values in lines if any(value is not None for value in values)]
    if not lines:
        return None
    every = [value for _, values in lines for value in values if value is not None]
    low, high, epochs = min(every), max(every), max(len(values) for _, values in lines)
    named = [f'{name} ({style})' if len(lines) > 1 else name for (name, _), style in zip(lines, _STYLES)]
    words = '; '.join(f'{name} {_ends(values)}' for name, (_, values) in zip(named, lines))
    return Curves(
        tuple(_path(values, low, high, epochs) for _, values in lines),
        f'{title}{f" in {unit}" if unit else ""} over {epochs} epoch{"s" * (epochs > 1)}: {words}',
    )


def _ends(values: Sequence[Optional[float]]) -> str:
    """The first and the last value: 'from 2.1 to 34.8'."""
    there = [value for value in values if value is not None]
    return f'from {there[0]:.3g} to {there[-1]:.3g}' if len(there) > 1 else f'{there[0]:.3g}'


def _path(values: Sequence[Optional[float]], low: float, high: float, epochs: int) -> str:
    """Straight lines between the epochs. Missing values break them. An isolated value is a short dash."""
    pieces: List[List[Tuple[int, int]]] = [[]]
    for i, value in enumerate(values):
        if value is None:
            pieces.append([])
        else:
            x = round(WIDTH * i / max(1, epochs - 1))
            pieces[-1].append((x, round(HEIGHT * (1 - (value - low) / ((high - low) or 1)))))
    return ''.join(_piece(points) for points in pieces if points)


def _piece(points: List[Tuple[int, int]]) -> str:
    """'M0 56l18-8 37-4': each point relative to the previous one. Points inside a horizontal stretch are left out."""
    corners = [
        point
        for before, point, after in zip(points[:1] + points, points, points[1:] + points[-1:])
        if point in (points[0], points[-1]) or not before[1] == point[1] == after[1]
    ]
    steps = [f'{x - x0}{" " if y >= y0 else ""}{y - y0}' for (x0, y0), (x, y) in zip(corners, corners[1:])]
    return f'M{corners[0][0]} {corners[0][1]}' + ('l' + ' '.join(steps) if steps else 'h4')


#: The sign before each verdict.
SIGNS = {HOLDS: '✓', FAILS: '✗', UNDECIDED: '?'}
#: Width of the bars' scale.
SCALE = 120


@dataclass(frozen=True)
class Bar:
    """An interval on a scale from 0 to ``SCALE``: its ends, the difference itself, the position of 0, and the ends of
    the claimed side."""

    low: float
    high: float
    effect: float
    zero: float
    claimed: Tuple[float, float]


@dataclass(frozen=True)
class ComparisonView:
    """A comparison of a claim: its finding, the finding and the paper's difference in words, and a bar if it has an
    interval."""

    found: Finding
    effect: str
    interval: str
    paper: str
    errors: str
    bar: Optional[Bar]


@dataclass(frozen=True)
class ClaimView:
    """A claim: its verdict, its name in links, the reason, the deciding comparison, all comparisons by what they judge
    (a title, '' for the paper's words), and where the noise of training comes from."""

    verdict: Verdict
    anchor: str
    why: str
    deciding: Optional[ComparisonView]
    comparisons: Tuple[Tuple[str, Tuple[ComparisonView, ...]], ...]
    noise: Tuple[str, ...]


def view(verdict: Verdict) -> ClaimView:
    """The view of a verdict."""
    comparisons = _comparisons(verdict.findings)
    deciding = explain.deciding(verdict.findings, verdict.claim.control)
    others = [(title, _comparisons(judgement.findings)) for title, judgement in explain.parts(verdict)]
    return ClaimView(
        verdict,
        f'claim-{verdict.plan.name}-{verdict.claim.id}',
        explain.why(verdict),
        next((each for each in comparisons if each.found is deciding), None),
        (('', comparisons), *others),
        tuple(explain.noise(verdict.findings)),
    )


def _comparisons(findings: Tuple[Finding, ...]) -> Tuple[ComparisonView, ...]:
    scale = _scale(findings)
    return tuple(_comparison(found, scale) for found in findings)


def _comparison(found: Finding, scale: Tuple[float, float]) -> ComparisonView:
    words = (explain.effect(found), explain.interval(found), explain.paper(found), explain.errors(found))
    return ComparisonView(found, *words, _bar(found, scale))


def _scale(findings: Tuple[Finding, ...]) -> Tuple[float, float]:
    """The ends of a claim's scale, which has 0, every interval, and a margin."""
    ends: List[float] = [0.0]
    for found in findings:
        ends += found.interval or ()
    room = 0.05 * (max(ends) - min(ends)) or 1.0
    return min(ends) - room, max(ends) + room


def _bar(found: Finding, scale: Tuple[float, float]) -> Optional[Bar]:
    if found.interval is None or found.effect is None:
        return None

    def at(value: float) -> float:
        return round(SCALE * (value - scale[0]) / (scale[1] - scale[0]), 1)

    claimed = (at(0), SCALE) if found.sign > 0 else (0, at(0))
    return Bar(at(found.interval[0]), at(found.interval[1]), at(found.effect), at(0), claimed)


def metric_rows(training: Training) -> List[Tuple[str, str, str]]:
    """Name of each metric with its values without and with NMS as text, in percent but for the number of duplicates per
    object; a dash for a missing value."""
    names = dict.fromkeys(key.rpartition('/')[2] for key in training.metrics)
    without, with_nms = READINGS
    return [(_title(name), _shown(training, without, name), _shown(training, with_nms, name)) for name in names]


def breakdown_rows(training: Training, part: str) -> List[Tuple[str, str, str]]:
    """Name of each class (part 'classes') or error ('errors') with its value without and with NMS as text, in percent.

    A dash stands for an undefined value. The list is empty if nothing is stored."""
    values = getattr(training.breakdown, part, {})
    without, with_nms = (values.get(reading, {}) for reading in READINGS)
    return [
        (name, *(DASH if value is None else f'{100 * value:.1f}' for value in (without[name], with_nms.get(name))))
        for name in without
    ]


def _title(name: str) -> str:
    return 'duplicates per object, a number' if name == PER_OBJECT else name.replace('_', ' ')


def _shown(training: Training, reading: str, name: str) -> str:
    number = percent(training.metrics, reading, name)
    if number is None:
        return '–'
    return f'{number / 100:.2f}' if name == PER_OBJECT else f'{number:.1f}'


def _reading(key: str) -> str:
    return key.replace('_', ' ').replace('nms', 'NMS')


def curves_of(training: Training) -> List[Curves]:
    """The small curves of a run: its first metric, duplicates per object, the score margin, its loss, its positives."""
    epochs, name = training.epochs, training.metric
    metrics = [(_reading(reading), [percent(epoch.metrics, reading, name) for epoch in epochs]) for reading in READINGS]
    losses = [('sum', [epoch.losses.get('loss') for epoch in epochs])]
    positives = [(kind, [epoch.positives.get(kind) for epoch in epochs]) for kind in ('certain', 'ambiguous')]
    duplicates = [
        (_reading(reading), [epoch.metrics.get(f'{reading}/{PER_OBJECT}') for epoch in epochs]) for reading in READINGS
    ]
    margins = [('without NMS', [epoch.metrics.get('without_nms/score_margin') for epoch in epochs])]
    drawn = [
        curves(name.replace('_', ' '), '%', metrics),
        curves('Duplicates per object', '', duplicates),
        curves('Score margin', '', margins),
        curves('Loss', '', losses),
        curves('Positives per instance', '', positives),
    ]
    return [each for each in drawn if each]


def log_tail(training: Training, size: int) -> str:
    """The last lines of a log, as many as fit ``size`` characters. There is at least one, which may be cut."""
    kept: List[str] = []
    room = size
    for line in reversed(training.log):
        if kept and len(line) + 1 > room:
            break
        kept.append(line[:size])
        room -= len(line) + 1
    return '\n'.join(reversed(kept))


@dataclass(frozen=True)
class Header:
    """A header of columns or rows: its text, its spans, and whether it heads a label column."""

    text: str
    columns: int = 1
    rows: int = 1
    label: bool = False


@dataclass(frozen=True)
class TableEntry:
    """A cell: its numbers and whether each is the best, the text after them, and the run that it links to."""

    numbers: Tuple[Tuple[str, bool], ...]
    rest: str
    run: Optional[str]


@dataclass(frozen=True)
class HtmlTable:
    """Rows of column headers, and the body: for each row its headers, its cells, and whether it begins a group."""

    head: List[List[Header]]
    body: List[Tuple[List[Header], List[TableEntry], bool]]


def html_table(plan: StoredPlan, grid: TableLayout, states: Dict[str, bool]) -> HtmlTable:
    """A table layout as HTML rows.

    Args:
        plan (StoredPlan): its plan.
        grid (TableLayout): the layout.
        states (dict): whether each run that has a section is finished; empty for a table without links.
    """
    spans = _spans(plan, len(grid.labels))
    labels = len(grid.labels)
    head = [[Header(text, span) for text, span in level] for level in grid.header]
    head[0][:0] = [Header(text, rows=len(grid.header), label=True) for text in grid.labels]
    body = []
    for i, row in enumerate(grid.body):
        headers = [Header(text, rows=span) for text, span in zip(row, spans) if i % span == 0]
        entries = [
            _entry(text, [j for r, c, j in grid.best if (r, c) == (i, labels + column)], _run(cell, states))
            for column, (text, cell) in enumerate(zip(row[labels:], grid.cells[i]))
        ]
        body.append((headers, entries, i in grid.breaks))
    return HtmlTable(head, body)


def _spans(plan: StoredPlan, labels: int) -> List[int]:
    """The number of rows that a label of each label column spans: the product of the axes further in."""
    if not plan.rows:
        return [1] * labels
    spans = []
    for depth, axis in enumerate(plan.row_axes):
        inner = math.prod(len(each.values) for each in plan.row_axes[depth + 1 :])
        spans += [inner] * (1 + len(axis.describe))
    return spans


def _entry(text: str, best: List[int], run: Optional[str]) -> TableEntry:
    numbers, space, rest = text.partition(' ')
    parts = tuple((part, i in best) for i, part in enumerate(numbers.split('/')))
    return TableEntry(parts, space + rest, None if text == DASH else run)


def _run(cell: Optional[Cell], states: Dict[str, bool]) -> Optional[str]:
    """The first finished run of a cell."""
    runs = cell.runs.values() if cell else ()
    return next((run for run in runs if states.get(run)), None)


#: A picture with few colours is a drawing, which loses nothing by a palette of this size. Photographs would. Drawings
#: with many bands that overlap have some 30,000, and figures of images have 90,000 or more.
_PALETTE, _FEW = 64, 50_000
_QUALITY = 88


@dataclass(frozen=True)
class Picture:
    """A figure: its entry, and either its data URI with width and height in pixels, or why it cannot be drawn."""

    entry: figures.FigureEntry
    uri: str = ''
    width: int = 0
    height: int = 0
    missing: str = ''


def draw_all(runs: Path, profile: str, tables: Optional[Sequence[str]], warn: Callable[[str], None]) -> List[Picture]:
    """Every figure of ``tables`` (None: all) and every figure without a table. ``warn`` is called for broken files."""
    found = []
    for name, entry in figures.entries(runs, profile).items():
        if tables is None or entry.table is None or entry.table in tables:
            try:
                found.append(_picture(entry, figures.save(figures.draw(name, runs, profile, warn), 'png')))
            except UserError as error:
                found.append(Picture(entry, missing=str(error)))
    return found


def _picture(entry: figures.FigureEntry, png: bytes) -> Picture:
    """The picture in the smallest format for its kind."""
    image = Image.open(io.BytesIO(png)).convert('RGB')
    file = io.BytesIO()
    if image.getcolors(_FEW):
        image.quantize(_PALETTE, dither=Image.Dither.NONE).convert('RGB').save(file, 'webp', lossless=True)
    else:
        image.save(file, 'webp', quality=_QUALITY)
    content = base64.b64encode(file.getvalue()).decode('ascii')
    return Picture(entry, f'data:image/webp;base64,{content}', *image.size)


WIDTH, HEIGHT = 200, 56
