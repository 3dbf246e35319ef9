"""One table in any format: Markdown, LaTeX, CSV or JSON."""

import csv
import io
import json
from dataclasses import asdict, astuple, fields
from typing import Optional

from analysis.latex import latex
from analysis.markdown import markdown
from analysis.plans import Plan
from analysis.readings import Reading, all_readings, missing_cells
from analysis.results import Results
from analysis.words import notes

SUFFIXES = {'markdown': '.md', 'latex': '.tex', 'csv': '.csv', 'json': '.json'}


def render(plan: Plan, results: Results, format: str = 'markdown') -> str:
    """A table as text that ends in one newline. ``format`` is a key of ``SUFFIXES``."""
    return {'markdown': markdown, 'latex': latex, 'csv': _csv, 'json': _json}[format](plan, results)


def _csv(plan: Plan, results: Results) -> str:
    """One line for each :class:`Reading`; the difference from the paper is empty where it would mean nothing."""
    file = io.StringIO()
    write = csv.writer(file, lineterminator='\n').writerow
    axes = [axis.name for axis in plan.rows + plan.columns]
    write(['table', 'profile', *axes, *(field.name for field in fields(Reading)), 'difference'])
    for cell in plan.cells:
        for reading in all_readings(results, cell):
            place = [cell.at[name] for name in axes]
            write([plan.table, plan.profile, *place, *astuple(reading), _difference(plan, reading)])
    return file.getvalue()


def _difference(plan: Plan, reading: Reading) -> Optional[float]:
    return reading.difference if plan.comparable else None


def _json(plan: Plan, results: Results) -> str:
    """All that is known of the table: its texts, the readings of each cell, and where each number was measured."""
    cells = [
        {
            'at': cell.at,
            'runs': cell.runs,
            'readings': [
                dict(asdict(reading), difference=_difference(plan, reading)) for reading in all_readings(results, cell)
            ],
        }
        for cell in plan.cells
    ]
    measured_on = ('device', 'versions', 'image', 'repeats')
    content = {key: getattr(plan, key) for key in ('table', 'title', 'caption', 'source', 'profile', 'overrides')}
    content.update(
        notes=notes(plan, results),
        runs_planned=len(plan.runs),
        missing_cells=missing_cells(plan, results),
        cells=cells,
        provenance={run: result['provenance'] for run, result in results.runs.items()},
        speeds={run: {key: speed[key] for key in measured_on} for run, speed in results.speeds.items()},
    )
    return json.dumps({'schema': 2, **content}, indent=1, ensure_ascii=False) + '\n'
