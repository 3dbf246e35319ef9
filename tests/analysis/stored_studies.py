"""Studies with made-up results, as run.py stores them."""

import json

from experiments.spec.plan import make_plan, save_plan
from experiments.spec.table_file import load_table


def write_study(store, name, seeds, ap_of):
    """The plan of a study, and a result of each run: ``ap_of(at, seed)`` is AP without and with NMS, as fractions."""
    table = load_table(name)
    plan = make_plan(table, table.cells, 'desk', seeds, {})
    save_plan(plan, store.runs)
    content = store.result(9)  # of no cell
    (store.runs / 'desk' / content['run'] / 'result.json').unlink()
    for planned in plan.cells:
        for seed, run in planned.runs.items():
            without, with_nms = ap_of(planned.cell.at, seed)
            metrics = {
                f'{reading}/{key}': value
                for key in ('AP', 'AR')
                for reading, value in (('without_nms', without), ('with_nms', with_nms))
            }
            result = {**content, 'run': run.id, 'seed': seed, 'metrics': metrics}
            store.write(f'desk/{run.id}/result.json', json.dumps(result))
    return plan
