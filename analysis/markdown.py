"""A table as Markdown that also reads well in a terminal."""

import re
from typing import List

from analysis import layout, words
from analysis.layout import Grid
from analysis.plans import Plan
from analysis.results import Results


def markdown(plan: Plan, results: Results) -> str:
    """The table with its title, what was measured beside the paper's numbers, and the notes."""
    paper, difference = layout.paper(plan), layout.difference(plan, results)
    parts = [
        f'## {plan.title}',
        plan.source,
        f'{words.measured_title(plan)}:',
        _table(layout.measured(plan, results)),
        *([f'{words.paper_title(plan)}:', _table(paper)] if paper else []),
        *([f'{words.difference_title()}:', _table(difference)] if difference else []),
        words.caption(plan),
        '\n'.join(words.notes(plan, results)),
    ]
    return '\n\n'.join(part for part in parts if part) + '\n'


def _table(grid: Grid) -> str:
    lines = [
        [''] * len(grid.labels) + [word for text, span in level for word in [text] + [''] * (span - 1)]
        for level in grid.header
    ]
    lines[-1][: len(grid.labels)] = grid.labels
    return table(lines + grid.body, headers=len(grid.header))


def table(lines: List[List[str]], headers: int = 1) -> str:
    """Lines of texts as a Markdown table, the first of them its header.

    Markdown has one header row; further ``headers`` are bold rows.
    """
    lines = [[re.sub(r'([\\|<*])', r'\\\1', ' '.join(text.split())) for text in line] for line in lines]
    for line in lines[1:headers]:
        line[:] = [f'**{text}**' if text else '' for text in line]
    widths = [max(3, *map(len, column)) for column in zip(*lines)]
    lines.insert(1, ['-' * width for width in widths])
    return '\n'.join('| ' + ' | '.join(map(str.ljust, line, widths)) + ' |' for line in lines)
