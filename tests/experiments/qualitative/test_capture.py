"""run.py capture stores what trained detectors do on images, for the figures to draw it."""

import json
import shutil
import subprocess

import numpy as np
import pytest
import torch
import yaml
from mmengine.dataset import pseudo_collate

from analysis import figures
from experiments.qualitative.detections import threshold
from experiments.qualitative.detectors import predict, validation_data
from experiments.qualitative.images import Annotated, by_size, choose
from experiments.spec.figure import figure_names, load_figure
from experiments.store.errors import UserError
from experiments.store.qualitative import Shapes
from experiments.training.evaluate import load_detector
from o2f.io.checkpoints import read_checkpoint

#: The smoke profile's longest training has two epochs.
CELL = {'table': 'table5', 'at': {'method': 'Ours-3convs', 'schedule': '3x'}}
STAGES = {
    'title': 'stages',
    'source': 'here',
    'kind': 'assignment',
    'cell': CELL,
    'stages': [{'label': 'early', 'of_epochs': 0.5}, {'label': 'late', 'of_epochs': 1}],
    'images': {'rule': 'sizes', 'count': 1},
    'instances': 3,
}
#: As much as is found; after two epochs that is little.
PANELS = {
    'title': 'panels',
    'source': 'here',
    'kind': 'detections',
    'panels': [
        {'label': 'FCOS', 'cell': {'table': 'table5', 'at': {'method': 'FCOS', 'schedule': '3x'}}},
        {'label': 'Ours', 'cell': CELL},
    ],
    'reading': 'without_nms',
    'recall': 1.0,
    'images': {'rule': 'most overlaps', 'count': 2},
}


def nothing(*_):
    """No progress is shown."""


class Captures:
    """run.py capture on the finished runs of the smoke profile, as a user calls it."""

    def __init__(self, finished, folder):
        self.suite, self.folder = finished, folder

    def run(self, *args, **kwargs):
        command = self.suite.command('capture', *args, '--profile', 'smoke')
        return subprocess.run(command, capture_output=True, text=True, cwd='/', **kwargs)

    def declare(self, name, content):
        path = self.folder / f'{name}.yaml'
        path.write_text(yaml.safe_dump(content))
        return path

    def read(self, name):
        with np.load(self.suite.runs / 'smoke' / 'captures' / f'{name}.npz', allow_pickle=False) as file:
            arrays = dict(file)
        return json.loads(arrays.pop('meta').tobytes()), arrays


@pytest.fixture(scope='module')
def captures(trained, own_copy, tmp_path_factory):
    methods = ('--only', 'method=FCOS', '--only', 'method=Ours-3convs')
    finished = own_copy(trained('table5', '--only', 'schedule=3x', *methods))
    return Captures(finished, tmp_path_factory.mktemp('figures'))


@pytest.fixture(scope='module')
def of_the_paper(trained, own_copy, tmp_path_factory):
    """On all tables, of which other slow tests make the same ones."""
    tables = (*(f'table{number}' for number in range(1, 10)), 'fig5')
    return Captures(own_copy(trained(*tables)), tmp_path_factory.mktemp('figures'))


@pytest.fixture(scope='module')
def own(captures):
    """Both kinds of figure, of trainings of two epochs; as so few find nothing, one detector's biases are raised."""
    done = captures.run(captures.declare('stages', STAGES), '--images', '19')
    panels = captures.declare('panels', PANELS)
    trained = [panel.cell.run('smoke', 0) for panel in load_figure(str(panels)).panels]
    captures.weights = [captures.suite.runs / 'smoke' / run.id / 'epoch_2.pth' for run in trained]
    weights = read_checkpoint(captures.weights[1]).weights
    weights['bbox_head.conv_cls.bias'] += 5  # surer than the least score
    weights['bbox_head.conv_reg.bias'] += 3  # boxes of 48 pixels and more
    captures.weights[1] = captures.folder / 'raised.pth'
    torch.save(dict(state_dict=weights), captures.weights[1])
    also = captures.run(panels, '--weights', f'Ours={captures.weights[1]}')
    assert done.returncode == also.returncode == 0, done.stderr + also.stderr
    captures.said = done.stderr
    return captures


@pytest.mark.slow
def test_all_figures_of_the_paper_are_captured_and_drawn(of_the_paper):
    captures = of_the_paper
    done = captures.run()
    assert done.returncode == 0, done.stderr
    assert figure_names() == ['fig6', 'fig7', 'fig8', 'fig9'] and done.stdout.count('wrote ') == 4
    for name in figure_names():
        path = captures.suite.runs / 'smoke' / 'captures' / f'{name}.npz'
        assert path.stat().st_size < 300_000
        assert figures.save(figures.draw(name, captures.suite.runs, 'smoke'), 'png').startswith(b'\x89PNG')
    before = path.read_bytes()
    assert captures.run('fig9').returncode == 0 and path.read_bytes() == before


def test_the_degrees_are_those_that_training_assigns(own):
    """Asked of the loss itself, whose degrees are looked at on their way."""
    meta, arrays = own.read('stages')
    run = load_figure(str(own.folder / 'stages.yaml')).cell.run('smoke', 0)
    dataset = validation_data(run.config, own.suite.data, nothing)
    sample = dataset[next(i for i in range(len(dataset)) if dataset.get_data_info(i)['img_id'] == 19)]
    checkpoint = own.suite.runs / 'smoke' / run.id / 'epoch_2.pth'
    model = load_detector(run.config, checkpoint)
    model.bbox_head.set_epoch(1, 2)
    seen, degrees = [], model.bbox_head.degrees
    model.bbox_head.degrees = lambda selected: seen.append((selected, degrees(selected))) or seen[-1][1]
    batch = model.data_preprocessor(pseudo_collate([sample]))
    model.loss(batch['inputs'], batch['data_samples'])
    ((selected, assigned),) = seen
    boxes = batch['data_samples'][0].gt_instances.bboxes
    for i, instance in enumerate(meta['instances']):
        (row,) = (boxes - torch.tensor(instance['box'])).abs().amax(dim=1).lt(0.01).nonzero()[:, 0].tolist()
        expected, certain = np.zeros(439, np.float32), np.zeros(439, bool)
        for anchor, degree, kept, is_certain in zip(
            *(x[row].tolist() for x in (selected.anchor, assigned, selected.kept, selected.certain))
        ):
            if kept:
                expected[anchor], certain[anchor] = degree, is_certain
        assert (arrays['stage1.degrees'][i] == expected).all() and (arrays['stage1.certain'][i] == certain).all()
        assert certain.sum() == 1 and (expected > 0).sum() > 1
    assert meta['stages'][1] == dict(label='late', epoch=2, t=pytest.approx(0.2))


def test_the_early_stage_is_the_same_training_begun_again(own):
    meta, arrays = own.read('stages')
    assert 'training the first 1 epochs of run' in own.said and 'replayed epoch 1 of 1' in own.said
    assert 'did not come out again' not in own.said  # its metrics were those stored, to the last digit
    assert meta['stages'][0] == dict(label='early', epoch=1, t=0.6) and meta['images'] == [dict(id=19, size=[72, 72])]
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (each['box'] for each in meta['instances'])]
    assert len(areas) == 3 and areas == sorted(areas)
    assert not np.array_equal(arrays['stage0.scores'], arrays['stage1.scores'])
    assert [sorted(set(arrays[f'stage{s}.degrees'][arrays[f'stage{s}.certain']])) for s in (0, 1)] == [[1], [1]]


@pytest.mark.slow
def test_a_replay_that_differs_is_said(own, tmp_path):
    """As of a run that was trained on another machine."""
    run = load_figure(str(own.folder / 'stages.yaml')).cell.run('smoke', 0)
    other = tmp_path / 'runs' / 'smoke' / run.id
    shutil.copytree(own.suite.runs / 'smoke' / run.id, other)
    metrics = json.loads((other / 'metrics.json').read_text())
    metrics['epochs'][0]['metrics']['without_nms/AP'] = 0.5
    (other / 'metrics.json').write_text(json.dumps(metrics))
    elsewhere = Captures(type(own.suite)(tmp_path / 'runs', own.suite.data), own.folder)
    done = elsewhere.run(own.folder / 'stages.yaml', '--images', '19')
    assert done.returncode == 0 and 'did not come out again to the last digit: AP 0.' in done.stderr
    assert 'here, 50.00 there after epoch 1' in done.stderr


def test_the_detections_are_those_of_the_reading_down_to_the_threshold(own):
    meta, arrays = own.read('panels')
    figure = load_figure(str(own.folder / 'panels.yaml'))
    for j, panel in enumerate(figure.panels):
        run = panel.cell.run('smoke', 0)
        assert (meta['panels'][j]['label'], meta['panels'][j]['run']) == (panel.label, run.id)
        lowest = meta['panels'][j]['score_thr']
        dataset = validation_data(run.config, own.suite.data, nothing)
        ids = [dataset.get_data_info(i)['img_id'] for i in range(len(dataset))]
        model = load_detector(run.config, own.weights[j])
        for i, image in enumerate(meta['images']):
            found = predict(model, dataset[ids.index(image['id'])]).pred_instances
            found = found[found.scores >= lowest]
            stored = {name: arrays[f'found{i}.{j}.{name}'] for name in ('boxes', 'scores', 'labels')}
            assert stored['scores'].tolist() == sorted(found.scores.tolist(), reverse=True)
            rows = zip(found.bboxes.tolist(), found.scores.tolist(), found.labels.tolist())
            assert sorted(zip(*(x.tolist() for x in stored.values()))) == sorted(rows)
            file = dataset.get_data_info(ids.index(image['id']))['img_path']
            assert arrays[f'image{i}'].tobytes() == open(file, 'rb').read()
    assert len(arrays['found0.1.scores']) > 0


def test_a_detector_is_cut_where_it_finds_a_share_of_all_objects():
    boxes = np.array([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [60, 0, 70, 10]], np.float32)
    truth = Shapes(boxes, np.zeros(4, np.int32), ignored=np.zeros(4, bool))
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5], np.float32)  # of the first object twice, then of three more
    found = Shapes(boxes[[0, 0, 1, 2, 3]], np.zeros(5, np.int32), None, scores)
    nobody = Shapes(boxes[:0], np.zeros(0, np.int32), None, scores[:0])
    for recall, score, reached in ((0.25, 0.9, 0.25), (0.26, 0.7, 0.5), (0.5, 0.7, 0.5), (1, 0.5, 1), (0, 0.9, 0.25)):
        assert threshold([(found, truth)], recall) == (pytest.approx(score), reached)
    assert threshold([(found, truth), (nobody, truth)], 0.9) == (pytest.approx(0.5), 0.5)
    assert threshold([(nobody, truth)], 0.5) == (1.0, 0.0)


@pytest.mark.slow
def test_masks_come_back_as_they_were(of_the_paper):
    captures = of_the_paper
    if not (captures.suite.runs / 'smoke' / 'captures' / 'fig8.npz').exists():
        assert captures.run('fig8').returncode == 0
    meta, arrays = captures.read('fig8')
    run = load_figure('fig8').panels[0].cell.run('smoke', 0)
    dataset = validation_data(run.config, captures.suite.data, nothing)
    for i, image in enumerate(meta['images']):
        count = len(arrays[f'truth{i}.boxes'])
        masks = np.unpackbits(arrays[f'truth{i}.masks'], axis=1, count=72 * 72).reshape(count, 72, 72)
        for mask, box in zip(masks, arrays[f'truth{i}.boxes']):
            rows, columns = mask.nonzero()
            tight = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert np.abs(tight - box).max() <= 1.5, image
    assert len(dataset) == 8 and meta['masks'] is True


@pytest.mark.slow
def test_weights_of_a_file_take_the_place_of_a_run(own, tmp_path):
    """Those of another training of the same model give other detections; those of another model are refused."""
    runs = own.suite.runs / 'smoke'
    before = own.read('panels')[1]['found0.1.scores']
    short = load_figure('fig7').panels[2].cell.run('smoke', 0).id
    own.suite.run('table5', '--only', 'schedule=1x', '--only', 'method=Ours-3convs', '--profile', 'smoke', check=0)
    figure = own.folder / 'panels.yaml'
    assert own.run(figure, '--weights', f'Ours={runs / short / "epoch_1.pth"}').returncode == 0
    assert not np.array_equal(own.read('panels')[1]['found0.1.scores'], before)
    done = own.run(figure, '--weights', f'FCOS={runs / short / "epoch_1.pth"}')
    assert done.returncode == 1 and 'does not fit the model of its config' in done.stderr
    done = own.run(figure, '--weights', 'POTO=a.pth')
    assert done.returncode == 2 and done.stderr.count('\n') == 1 and 'LABEL one of FCOS, Ours' in done.stderr


def test_what_is_not_trained_names_the_command_and_the_others_go_on(captures, suite):
    lonely = Captures(suite, captures.folder)
    done = lonely.run('fig6', 'fig9')
    said = done.stderr.splitlines()
    assert done.returncode == 1 and len(said) == 2
    command = f'run python experiments/run.py table8 --only method=FCOS --profile smoke --runs {suite.runs} first'
    assert said[1] == f'run.py: fig9: table8 method=FCOS is not trained: {command}'
    assert 'run.py fig5 --only method=o2f' in said[0]


def test_a_result_without_its_weights_is_told_apart(captures, suite):
    run = load_figure('fig9').panels[0].cell.run('smoke', 0)
    folder = suite.runs / 'smoke' / run.id
    folder.mkdir(parents=True)
    (folder / 'result.json').write_text('{"schema": 1, "metrics": {}, "epochs": 1}')
    done = Captures(suite, captures.folder).run('fig9')
    assert 'has a result but no weights: run python experiments/run.py table8 --only method=FCOS' in done.stderr


@pytest.mark.slow
def test_an_unknown_image_is_named(own):
    done = own.run(own.folder / 'panels.yaml', '--images', '18', '999')
    assert done.returncode == 1 and '--images 999: the validation set has no such image' in done.stderr


@pytest.mark.parametrize(
    'change, says',
    [
        (dict(kind='film'), 'kind: must be detections or assignment'),
        (dict(recall='high'), "recall: must be a number, not 'high'"),
        (
            dict(images=dict(rule='pretty', count=1)),
            "images.rule: 'pretty' must be 'most overlaps', 'typical overlaps' or 'sizes'",
        ),
        (dict(images=dict(rule='sizes', count=0)), 'images.count: must be 1 or more, not 0'),
        (dict(colour='red'), "the file: unknown key 'colour'"),
        (dict(reading='twice'), "reading: 'twice' must be 'without_nms' or 'with_nms'"),
        (dict(panels=[dict(label='FCOS')]), "panels[0]: key 'cell' is missing"),
    ],
)
def test_a_broken_figure_file_names_the_key(tmp_path, change, says):
    path = tmp_path / 'broken.yaml'
    path.write_text(yaml.safe_dump({**PANELS, **change}))
    with pytest.raises(UserError) as caught:
        load_figure(str(path))
    assert str(caught.value).startswith(f'{path}: {says}')


def test_a_cell_must_be_one_training(tmp_path):
    path = tmp_path / 'two.yaml'
    path.write_text(yaml.safe_dump({**STAGES, 'cell': {'table': 'table5', 'at': {'method': 'POTO'}}}))
    with pytest.raises(UserError, match='2 cells of table5 stand at'):
        load_figure(str(path)).cell.run('smoke', 0)


def annotated(index, boxes, ignored=()):
    count = len(boxes)
    return Annotated(
        index,
        index * 10,
        None,
        (100, 100),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.zeros(count, np.int32),
        np.isin(np.arange(count), ignored),
        (),
    )


def test_images_are_chosen_by_their_annotations():
    apart = annotated(0, [[1, 1, 10, 10], [20, 20, 40, 40], [50, 50, 52, 52]])
    cut_off = annotated(1, [[0, 20, 90, 90], [1, 1, 10, 10], [92, 92, 94, 94]])
    pair = annotated(2, [[1, 1, 10, 10], [1, 5, 10, 14], [50, 50, 90, 90]])  # an IoU of 0.38
    hidden = annotated(3, [[1, 1, 10, 10], [1, 1, 10, 11], [1, 2, 10, 12]], ignored=(1, 2))
    three = annotated(4, [[1, 1, 10, 10], [1, 5, 10, 14], [1, 3, 10, 12]])
    empty = annotated(5, [])
    images = [empty, apart, cut_off, hidden, pair, three]
    assert choose(images, 'most overlaps', 3, [], '') == [three, pair, empty]
    assert choose([pair, three, apart], 'typical overlaps', 1, [], '') == [pair]
    assert choose(images, 'sizes', 1, [], '') == [apart]
    assert choose(images, 'sizes', 9, ['0', '50'], '') == [apart, empty]
    assert by_size(apart, 2) == [2, 1] and by_size(pair, 3) == [2] and by_size(three, 3) == [0, 1, 2]
    assert by_size(cut_off, 5) == [2, 1] and by_size(hidden, 3) == [0] and by_size(empty, 3) == []
