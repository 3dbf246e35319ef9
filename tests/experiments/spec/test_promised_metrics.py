"""The metrics that a config promises are those that its evaluation gives, and a table cannot ask for others."""

import dataclasses
import json
from pathlib import Path

import pytest
import yaml
from tiny_datasets import write_tiny_coco

from experiments.spec.config import resolve
from experiments.spec.metrics import check_metrics, metric_names
from experiments.spec.plan import make_plan
from experiments.spec.schema import READINGS, SPEED, lower_is_better
from experiments.spec.table_file import load_table
from experiments.store.errors import UserError

RESULTS = Path(__file__).parents[3] / 'results' / 'desk'
COCO = dict(type='TwoReadingsMetric')


def table_with(tmp_path, metric, use=(), use_of_b=(), claim=None):
    """A table of the cells a and b that shows ``metric``, and ``claim`` of b, which it claims to be less in a."""
    values = [dict(name='a', use=list(use)), dict(name='b', use=list(use_of_b))]
    file = dict(title='t', caption='c', source='s', setting='s', rows=['method'], columns=[])
    file.update(axes=dict(method=dict(label='Method', values=values)), metrics=dict(AP=[metric]))
    if claim:
        left, right = (dict(key=claim, at=dict(method=name)) for name in 'ab')
        compare = [{'left': left, 'is': 'less', 'right': right}]
        file['claims'] = [dict(id='one', statement='s', where='w', quote='q', compare=compare)]
        file['metrics']['of b'] = dict(keys=[claim], at=dict(method='b'))
    path = tmp_path / 'mine.yaml'
    path.write_text(yaml.safe_dump(file))
    return load_table(str(path))


@pytest.mark.parametrize(
    'settings', [{}, dict(masks=True), dict(metric=['bbox', 'segm']), dict(proposal_nums=(10, 5)), dict(prefix='val')]
)
def test_cocos_names_are_the_metric_s_own(tmp_path, settings):
    from o2f.evaluation.metric import TwoReadingsMetric

    write_tiny_coco(tmp_path)
    ann_file = tmp_path / 'annotations' / 'instances_val2017.json'
    own = TwoReadingsMetric(str(ann_file), **settings).names()
    found = [name for name in metric_names({**COCO, **settings}) if not name.startswith(SPEED)]
    assert sorted(found) == sorted(own)
    both = metric_names({**COCO, **settings, 'second': True})
    assert len([name for name in both if 'second_with_nms/' in name]) * 2 == len(own)


def test_published_runs_have_what_their_configs_promise():
    """Boxes, masks, crowds and speeds, of twenty runs of each of four tables."""
    from mmengine.config import Config

    kinds = set()
    for name in ('table1', 'table5', 'table8', 'table9'):
        plan = json.loads((RESULTS / 'tables' / f'{name}.json').read_text())
        for run in list(dict.fromkeys(run for cell in plan['cells'] for run in cell['runs'].values()))[:20]:
            evaluator = Config.fromfile(RESULTS / run / 'config.py', import_custom_modules=False).val_evaluator
            stored = json.loads((RESULTS / run / 'result.json').read_text())['metrics']
            speed = RESULTS / run / 'speed.json'
            stored |= json.loads(speed.read_text())['metrics'] if speed.exists() else {}
            promised = metric_names(evaluator)
            assert set(stored) == {key for key in promised if speed.exists() or not key.startswith(SPEED)}, run
            kinds.add((evaluator.type, bool(evaluator.get('masks')), speed.exists()))
    assert len(kinds) >= 4


def test_claims_are_checked_for_cells_that_do_not_show_the_metric(tmp_path):
    table = table_with(tmp_path, 'without_nms/AP', claim='with_nms/mask_AP', use_of_b=['condinst'])
    with pytest.raises(UserError, match="claim one: method=a will have no metric 'with_nms/mask_AP'"):
        make_plan(table, table.cells, 'smoke', [0], {})


def test_other_evaluators_are_not_known():
    assert metric_names(dict(type='CocoMetric')) == [] == metric_names({**COCO, 'metric_items': ['AP']})


@pytest.mark.parametrize(
    ('metric', 'use', 'says'),
    [
        (
            'without_nms/APP',
            (),
            "metrics.AP: method=a will have no metric 'without_nms/APP', but without_nms/AP,",
        ),
        ('without_nms/mMR', (), "metrics.AP: method=a will have no metric 'without_nms/mMR'"),
        (
            'without_nms/AP50',
            ('crowdhuman',),
            "method=a will have no metric 'without_nms/AP50', but without_nms/AP,",
        ),
        ('second_with_nms/AP', ('dual',), "method=a will have no metric 'second_with_nms/AP'"),
        ('second_with_nms/AP', ('dual', 'second-with-nms'), "method=b will have no metric 'second_with_nms/AP'"),
        ('speed/with_nms/fbs', (), "'speed/with_nms/fbs', but speed/with_nms/fps"),
    ],
)
def test_a_metric_that_no_training_gives_is_named_before_any(tmp_path, metric, use, says):
    table = table_with(tmp_path, metric, use)
    with pytest.raises(UserError, match=f'table file mine.yaml: .*{says}'):
        make_plan(table, table.cells, 'smoke', [0], {})


@pytest.mark.parametrize('name', ['disc_precision', 'missed_error'])
def test_classes_and_errors_are_known_if_asked_for(tmp_path, name):
    """A profile of one's own may ask for them."""
    table = table_with(tmp_path, f'without_nms/{name}')
    run = resolve('smoke', (), {}, 0, 'test')
    with pytest.raises(UserError, match=name):
        check_metrics(table, table.cells[0], run)
    check_metrics(table, table.cells[0], with_evaluator(run, classwise=True, errors=True))


@pytest.mark.parametrize(
    ('key', 'near'),
    [
        ('without_nms/disk_precision', 'without_nms/disc_precision'),
        ('without_nms/mised_error', 'without_nms/missed_error'),
        ('nms/disc_precision', 'with_nms/disc_precision'),
        ('second_with_nms/missed_error', 'with_nms/missed_error'),
    ],
)
def test_classes_and_errors_that_are_not_there_are_named(tmp_path, key, near):
    table = table_with(tmp_path, key)
    run = with_evaluator(resolve('smoke', (), {}, 0, 'test'), classwise=True, errors=True)
    with pytest.raises(UserError, match=f'method=a will have no metric {key!r}, but .*{near}'):
        check_metrics(table, table.cells[0], run)


def test_classes_that_the_config_does_not_name_pass(tmp_path):
    table = table_with(tmp_path, 'without_nms/any_precision')
    run = with_evaluator(resolve('smoke', (), {}, 0, 'test'), classwise=True)
    del run.config['val_dataloader']['dataset']['metainfo']
    check_metrics(table, table.cells[0], run)


def test_errors_are_the_evaluation_s_own():
    from o2f.evaluation.errors import CALIBRATION, ERRORS

    found = {name for name in metric_names(dict(COCO, errors=True)) if name.endswith('_error')}
    assert found == {f'{reading}/{name}_error' for reading in READINGS for name in (*ERRORS, CALIBRATION)}


def with_evaluator(run, **settings):
    return dataclasses.replace(
        run, config={**run.config, 'val_evaluator': dict(run.config['val_evaluator'], **settings)}
    )


def test_where_lower_is_better():
    """``run.py search``, bold numbers and ``save_best`` agree on it."""
    from o2f import CheckpointHook

    every = [name for kind in ('', 'CrowdHuman') for name in metric_names(dict(type=f'TwoReadings{kind}Metric'))]
    lower = {name for name in every if lower_is_better([name]) and not name.startswith(SPEED)}
    assert {name.rpartition('/')[2] for name in lower} == set(CheckpointHook.lower_is_better)
    assert lower_is_better([SPEED + 'with_nms/nms_ms', 'with_nms/duplicate_error'])
    assert not lower_is_better([SPEED + 'with_nms/fps'])
