"""Broken files by the thousand: each is read, or refused in one line; no other file's content is lost by it."""

import io
import json
import random

import cv2
import numpy as np
import pytest
import yaml
from mutations import mutate_bytes, mutated

from analysis.results import load_epochs, load_image_groups, load_plan, load_results
from experiments.spec.schema import Result
from experiments.spec.table_file import FOLDER, load_table
from experiments.store.errors import UserError
from experiments.store.files import read_arrays
from experiments.store.qualitative import load_assignment
from experiments.store.runs import RunFolder
from o2f.errors import InputError
from o2f.io.dataset_check import Source, inspect

RUNS = FOLDER.parents[1] / 'results'
TABLE = """
title: T
use: [fcos]
set: {model.bbox_head.selection.k: 7}
axes:
  t: {label: "T", key: model.bbox_head.degrees.t_max, values: [0.7, 0.6]}
  m: {describe: [LA], values: [{name: a, label: A, describe: [o2f], reading: with_nms, use: [poto], set: {x.y: 1}}]}
rows: [m]
columns: [t]
metrics: {AP: [without_nms/AP, with_nms/AP], AR: ['{reading}/AR'], FPS: {keys: ['speed/{reading}/fps'], at: {t: 0.7}}}
paper: {AP: [[38.3/39.5, 38.0/39.5]], FPS: [[1]]}
"""
COCO = dict(
    images=[dict(id=1, file_name='a.jpg', width=50, height=40), dict(id=2, file_name='b.jpg', width=50, height=40)],
    annotations=[dict(id=1, image_id=1, category_id=1, area=9, iscrowd=0, bbox=[1, 2, 3, 3])],
    categories=[dict(id=1, name='x')],
)
PERSON = dict(
    tag='person',
    fbox=[1, 2, 3, 4],
    hbox=[1, 1, 1, 1],
    vbox=[1, 2, 3, 4],
    extra=dict(box_id=0),
    head_attr=dict(ignore=0),
)
CROWD = dict(ID='a', gtboxes=[PERSON])


def broken_files(few, many):
    """So many are tried; the larger number is slow."""
    return pytest.mark.parametrize('count', [few, pytest.param(many, marks=pytest.mark.slow)])


@pytest.fixture
def refused():
    """refused(function, kinds of error): whether it is refused, with a message of one line."""

    def refused(function, kinds):
        try:
            function()
        except kinds as error:
            assert str(error) and '\n' not in str(error) and len(str(error)) < 2000, error
            return True
        return False

    return refused


def both(outcomes):
    """Some of the files were refused and some were read, or the mutations try nothing."""
    assert 0.02 < sum(outcomes) / len(outcomes) < 0.99, sum(outcomes)


@broken_files(200, 2000)
def test_table_files(tmp_path, refused, count):
    draw, path = random.Random(1), tmp_path / 'table.yaml'
    content, outcomes = yaml.safe_load(TABLE), []
    path.write_text(TABLE)
    assert len(load_table(str(path)).cells) == 2
    for number in range(count):
        path.write_bytes(mutated(draw, content) if number % 2 else mutate_bytes(draw, TABLE.encode()))
        outcomes.append(refused(lambda: load_table(str(path)), UserError))
    both(outcomes)


@broken_files(150, 2000)
def test_annotations(tmp_path, refused, count):
    """Of each format."""
    draw, images = random.Random(2), tmp_path / 'images'
    images.mkdir()
    for name in ('a.jpg', 'b.jpg'):
        cv2.imwrite(str(images / name), np.zeros((40, 50, 3), np.uint8))
    for content, path in ((COCO, tmp_path / 'a.json'), (CROWD, tmp_path / 'a.odgt')):
        path.write_text(json.dumps(content))
        inspect(Source(path, images)).require()
        outcomes = []
        for _ in range(count):
            path.write_bytes(mutated(draw, content))
            outcomes.append(refused(lambda: inspect(Source(path, images)).require(), InputError))  # noqa: B023
        both(outcomes)


@broken_files(150, 1000)
def test_plans(tmp_path, refused, count):
    draw, path = random.Random(3), tmp_path / 'desk' / 'tables' / 'table1.json'
    content, outcomes = json.loads((RUNS / 'desk' / 'tables' / 'table1.json').read_text()), []
    content['claims'] = []
    path.parent.mkdir(parents=True)
    for _ in range(count):
        path.write_bytes(mutated(draw, content))
        outcomes.append(refused(lambda: load_plan(tmp_path, 'desk', 'table1'), UserError))
    both(outcomes)


def test_a_key_of_a_plan_is_shown_short_and_on_one_line(tmp_path, refused):
    path = tmp_path / 'desk' / 'tables' / 'table1.json'
    content = json.loads((RUNS / 'desk' / 'tables' / 'table1.json').read_text())
    content['cells'][0]['keys']['AP\n' * 2000] = ['without_nms/AP']
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content))
    assert refused(lambda: load_plan(tmp_path, 'desk', 'table1'), UserError)


@broken_files(150, 1000)
def test_results(tmp_path, refused, count):
    """One run's files are broken; those of another are read as ever."""
    plan = load_plan(RUNS, 'desk', 'table1')
    broken, whole = list(plan.runs)[:2]
    whole_files = {name: (RUNS / 'desk' / whole / name).read_bytes() for name in ('result.json', 'metrics.json')}
    files = {name: json.loads((RUNS / 'desk' / broken / name).read_text()) for name in whole_files}
    for run in (broken, whole):
        (tmp_path / 'desk' / run).mkdir(parents=True)
    for name, content in whole_files.items():
        (tmp_path / 'desk' / whole / name).write_bytes(content)
    draw, outcomes = random.Random(4), []
    for _ in range(count):
        for name, content in files.items():
            (tmp_path / 'desk' / broken / name).write_bytes(mutated(draw, content))
        results = load_results(tmp_path, 'desk', plan)
        lacks_a_metric = all('is missing: correct the table file' in line for line in results.warnings)
        assert whole in results.runs and (broken in results.runs) == lacks_a_metric
        epochs, warnings = load_epochs(tmp_path, 'desk', plan)
        assert whole in epochs and (broken in epochs) == (not warnings)
        assert all('\n' not in line for line in results.warnings + warnings)
        outcomes.append(bool(results.warnings))
        refused(RunFolder(tmp_path / 'desk' / broken).status, UserError)
    assert {name: (tmp_path / 'desk' / whole / name).read_bytes() for name in whole_files} == whole_files
    both(outcomes)


@broken_files(200, 1000)
def test_arrays(tmp_path, refused, count):
    draw, outcomes = random.Random(5), []
    path = tmp_path / 'smoke' / 'captures' / 'fig6.npz'
    path.parent.mkdir(parents=True)
    whole = io.BytesIO()
    np.savez_compressed(whole, **{f'stage{i}.degrees': np.arange(i, i + 3) for i in range(9)})
    for number in range(count):
        path.write_bytes(mutate_bytes(draw, whole.getvalue()))
        outcomes.append(refused(lambda: read_arrays(path), ValueError))
        if number % 4 == 0:
            assert refused(lambda: load_assignment(tmp_path, 'smoke', 'fig6', 'again'), UserError)
    both(outcomes)


@broken_files(200, 2000)
def test_image_groups(tmp_path, count):
    """A broken file is left out with a line. One that is read has the result's metrics and a number for each group."""
    metrics = {'without_nms/AP': 0.25, 'with_nms/AP': 0.5}
    later = dict(of='a later version', ignored=[1, 2, 3], more={'a': 1, 'b': [2]}, and_more=[{}, {}, None])
    left_out = {key: [1, -2, 1] for key in metrics}
    groups = dict(schema=1, evaluated='a digest', images=3, metrics=metrics, left_out=left_out, later=later)
    provenance = dict(commit=None, dirty=None, device='cpu')
    result = Result(schema=1, run='a', profile='desk', seed=0, metrics=metrics, provenance=provenance)
    path = tmp_path / 'desk' / 'a' / 'image_groups.json'
    path.parent.mkdir(parents=True)
    draw, outcomes = random.Random(6), []
    for number in range(count):
        path.write_bytes(mutated(draw, groups) if number % 2 else mutate_bytes(draw, json.dumps(groups).encode()))
        found, warnings = load_image_groups(tmp_path, 'desk', {'a': result})
        assert len(found) + len(warnings) == 1 and all('\n' not in line for line in warnings)
        for stored in found.values():
            assert stored.metrics.items() <= metrics.items() and stored.metrics.keys() == stored.left_out.keys()
        outcomes.append(not found)
    both(outcomes)
