"""What each error costs: a value stands under its own name, whatever a stored breakdown lacks or has besides."""

import json

from stored_files import run_id

from analysis.results import load_plan
from analysis.tables.errors import errors_table


def test_values_stand_under_their_names(store):
    """A file of another version lacks one error and has another. What is not known of a cell is a dash."""
    store.table1()
    errors = [dict(duplicate=0.1, localisation=0.2), dict(missed=0.4, duplicate=0.3)]
    for number, of_run in enumerate(errors):
        content = dict(schema=1, classes={}, errors={'without_nms': of_run})
        store.write(f'desk/{run_id(number)}/breakdown.json', json.dumps(content))
    warnings = []
    table = errors_table(load_plan(store.runs, 'desk', 'table1'), store.runs, warnings)
    header, _, first, second = ([word.strip() for word in line.strip('| ').split('|')] for line in table.splitlines())
    assert header == ['cell', 'read', 'duplicate', 'localisation', 'missed'] and warnings == []
    assert (first[2:], second[2:]) == (['10.0', '20.0', '–'], ['30.0', '–', '40.0'])
