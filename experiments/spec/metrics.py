"""The metrics that a training will give, by its config. A table that asks for others fails before its trainings.

The evaluators know their names themselves, but only with torch and the data, and plans are made without either. So the
names stand here again, and a test compares them.
"""

import difflib
from typing import Iterator, List, Optional, Sequence, Tuple

from experiments.spec.config import Run
from experiments.spec.schema import READINGS, SPEED, Cell, Table
from experiments.store.errors import UserError

_BOXES = ('AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', 'AR')
_COMPETING = ('duplicates', 'score_margin')
_CROWD = ('AP', 'mMR', 'recall', 'JI')
_SPEEDS = tuple(f'{SPEED}{reading}/{name}' for reading in READINGS for name in ('forward_ms', 'nms_ms', 'fps'))

_OF_CLASS = '_precision'
_ERRORS = tuple(
    f'{kind}_error'
    for kind in ('localisation', 'classification', 'duplicate', 'background', 'both', 'missed', 'calibration')
)


def check_metrics(table: Table, cell: Cell, run: Run) -> None:
    """Check the metrics that the table shows of a cell, and those that its claims compare.

    Metrics of evaluators other than the suite's are not known, and pass. So do those of classes if the config does not
    name the classes.

    Raises:
        UserError: the training will not give one of them.
    """
    evaluator = run.config['val_evaluator']
    classes = _classes(run.config)
    known = metric_names(evaluator, classes)
    any_class = evaluator.get('classwise') and classes is None
    for where, key in _asked(table, cell):
        if known and key not in known and not (any_class and key.endswith(_OF_CLASS)):
            near = difflib.get_close_matches(key, known, 3, 0.5) or known[:3]
            said = f'{cell.label} will have no metric {key!r}, but {", ".join(near)}'
            raise UserError(f'table file {table.name}.yaml: {where}: {said}')


def metric_names(evaluator: dict, classes: Optional[Sequence[str]] = None) -> List[str]:
    """The metrics of the last evaluation with this config, and the speeds. It is empty if the evaluator is not known.

    Args:
        evaluator (dict): the config of the evaluator.
        classes (sequence[str], optional): names of the classes; None leaves out the metrics of single classes.
    """
    readings = READINGS + (('second_with_nms',) if evaluator.get('second') else ())
    if evaluator['type'] == 'TwoReadingsCrowdHumanMetric':
        names = [*_CROWD, *_COMPETING]
    elif evaluator['type'] == 'TwoReadingsMetric' and evaluator.get('metric_items') is None:
        boxes = [*_BOXES, *(f'AR@{number}' for number in sorted(evaluator.get('proposal_nums') or ()))]
        masks = evaluator.get('masks') or 'segm' in evaluator.get('metric', ())
        names = boxes + [*_COMPETING] + ([f'mask_{name}' for name in boxes] if masks else [])
        names += [f'{name}{_OF_CLASS}' for name in classes or ()] if evaluator.get('classwise') else []
        names += _ERRORS if evaluator.get('errors') else []
    else:
        return []
    prefix = f'{evaluator["prefix"]}/' if evaluator.get('prefix') else ''
    return [f'{prefix}{reading}/{name}' for reading in readings for name in names] + [*_SPEEDS]


def _classes(config: dict) -> Optional[Sequence[str]]:
    """The classes of the validation data; None if the config does not name them."""
    dataset = config['val_dataloader']['dataset']
    while 'dataset' in dataset:
        dataset = dataset['dataset']
    classes = (dataset.get('metainfo') or {}).get('classes')
    return None if isinstance(classes, str) else classes  # a text is the name of a file that lists them


def _asked(table: Table, cell: Cell) -> Iterator[Tuple[str, str]]:
    for metric, keys in cell.keys.items():
        yield from ((f'metrics.{metric}', key) for key in keys)
    for claim in table.claims:
        for side in (side for each in claim.every_comparison for side in (each.left, each.right)):
            if side.at == cell.at:
                yield from ((f'claim {claim.id}', key) for key in side.keys)
