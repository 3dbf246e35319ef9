"""Puts a table that is laid out into the rows of an HTML table: headers that span, numbers that link to their runs."""

import math
from dataclasses import dataclass
from typing import Dict, List, Optional, Tuple

from analysis.layout import DASH, Grid
from analysis.plans import Cell, Plan


@dataclass(frozen=True)
class Header:
    """A header of columns or rows: its text, what it spans, and whether it belongs to the columns of labels."""

    text: str
    columns: int = 1
    rows: int = 1
    label: bool = False


@dataclass(frozen=True)
class Entry:
    """A cell: its numbers and whether each is best, what follows them, and the run it links to."""

    numbers: Tuple[Tuple[str, bool], ...]
    rest: str
    run: Optional[str]


@dataclass(frozen=True)
class Table:
    """Rows of column headers, and the body: headers of a row, its cells, and whether a group of rows begins there."""

    head: List[List[Header]]
    body: List[Tuple[List[Header], List[Entry], bool]]


def html_table(plan: Plan, grid: Grid, states: Dict[str, bool]) -> Table:
    """A grid as rows.

    Args:
        plan (Plan): its plan.
        grid (Grid): what stands where.
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
    return Table(head, body)


def _spans(plan: Plan, labels: int) -> List[int]:
    """How many rows each column of labels spans: those of all axes further in."""
    if not plan.rows:
        return [1] * labels
    spans = []
    for depth, axis in enumerate(plan.rows):
        inner = math.prod(len(each.values) for each in plan.rows[depth + 1 :])
        spans += [inner] * (1 + len(axis.describe))
    return spans


def _entry(text: str, best: List[int], run: Optional[str]) -> Entry:
    numbers, space, rest = text.partition(' ')
    parts = tuple((part, i in best) for i, part in enumerate(numbers.split('/')))
    return Entry(parts, space + rest, None if text == DASH else run)


def _run(cell: Optional[Cell], states: Dict[str, bool]) -> Optional[str]:
    """The first run of a cell that is finished."""
    runs = cell.runs.values() if cell else ()
    return next((run for run in runs if states.get(run)), None)
