"""A file of weights is evaluated as the cell it belongs to, and nothing in it is run."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_datasets import write_tiny_coco

from experiments.data.prepare import prepare
from experiments.spec.config import resolve
from experiments.spec.paths import data_paths
from experiments.spec.plan import find_run
from experiments.spec.table_file import load_table
from experiments.store.errors import UserError
from experiments.store.runs import RunFolder, write_breakdown
from experiments.training.evaluate import evaluate, format_breakdown, format_metrics, load_detector
from o2f.inference import Detector

CONFIG = resolve('smoke', (), {}, 0, 'test').config
CELL = ('--table', 'table3', '--cell', 't_max=0.6', '--cell', 't_min=0.2')


@pytest.fixture(scope='module')
def trained(tmp_path_factory, data):
    """The folder of a finished run of the smoke profile."""
    from experiments.training.train import train

    run = resolve('smoke', (), {}, 0, 'test')
    prepare([run.config], data, lambda *_: None, lambda function, *args: function(*args))
    folder = RunFolder(tmp_path_factory.mktemp('trained') / run.id)
    folder.create(run)
    with folder.lock():
        train(folder, run.id, run.profile, data_paths(run.config, data), threads=1)
    return folder


def test_a_run_s_own_checkpoint_gives_its_own_metrics(trained, suite, data):
    """To the last bit, as in the run's result.json, and its groups of images; without NMS is printed first.

    They are printed although one of the files cannot be written in the end: its name is too long."""
    stored = trained.result()['metrics']
    said = []
    found, _ = evaluate(CONFIG, trained.checkpoint(), data, lambda *_: None, said.append)
    assert {key: value for key, value in found.items() if value == value} == {
        key: value for key, value in stored.items() if value is not None
    }
    assert set(found) == set(stored) and said == ['evaluated 1/1 batches of images']
    groups = suite.runs / 'new' / 'image_groups.json'
    files = ('--image-groups', groups, '--breakdown', suite.runs / ('x' * 250))
    done = suite.run('evaluate', trained.checkpoint(), *CELL, '--profile', 'smoke', *files, check=2)
    assert 'File name too long' in done.stderr.splitlines()[-1] and 'Traceback' not in done.stderr
    assert groups.read_bytes() == (trained.path / 'image_groups.json').read_bytes()
    first, second = done.stdout.splitlines()
    assert done.stdout == format_metrics(found) + '\n'
    assert first.startswith(f'without NMS  AP {100 * stored["without_nms/AP"]:.2f}  AP50 ')
    assert second.startswith(f'with NMS     AP {100 * stored["with_nms/AP"]:.2f}  AP50 ')
    assert 'table3 t_min=0.2 t_max=0.6, profile smoke' in done.stderr


def test_classes_in_another_order(trained, data, tmp_path):
    """A detector of the same classes with other labels would be measured wrongly."""
    content = torch.load(trained.checkpoint(), weights_only=True)
    first, second, *rest = content['meta']['dataset_meta']['classes']
    content['meta']['dataset_meta']['classes'] = (second, first, *rest)
    torch.save(content, tmp_path / 'other.pth')
    with pytest.raises(UserError, match=f"where '{first}' has the label 1, and it has 0 in the data"):
        evaluate(CONFIG, tmp_path / 'other.pth', data, lambda *_: None, lambda line: None)


def test_classes(trained, data):
    """The AP of all is the mean over the classes that have objects."""
    found, _ = evaluate(CONFIG, trained.checkpoint(), data, lambda *_: None, lambda line: None, classwise=True)
    of_classes = [
        v for key, v in found.items() if key.startswith('with_nms/') and key.endswith('_precision') and v == v
    ]
    assert sum(of_classes) / len(of_classes) == pytest.approx(found['with_nms/AP'])
    table = format_breakdown('classes', found)
    assert 'AP without NMS' in table and all(name in table for name in ('disc', 'heart'))
    assert 'precision' not in format_metrics(found)


@pytest.fixture(scope='module')
def broken_down(trained, data, tmp_path_factory):
    """The metrics with classes and errors, and the file that was written besides."""
    file = tmp_path_factory.mktemp('breakdown') / 'new' / 'file.json'
    asked = dict(breakdown=True, classwise=True, errors=True)
    found, metric = evaluate(CONFIG, trained.checkpoint(), data, lambda *_: None, lambda *_: None, **asked)
    file.parent.mkdir()
    write_breakdown(file, metric.breakdown)
    return found, file


def test_the_breakdown_is_the_one_of_the_training(broken_down, trained):
    found, file = broken_down
    stored = json.loads((trained.path / 'breakdown.json').read_text())
    assert stored == json.loads(file.read_text())
    for part, ending, of_all in (
        ('classes', '_precision', ('disc', 'heart')),
        ('errors', '_error', ('duplicate', 'both')),
    ):
        values = {
            f'{reading}/{name}{ending}': value
            for reading, of in stored[part].items()
            for name, value in of.items()
            if value is not None
        }
        assert values == {key: value for key, value in found.items() if key.endswith(ending) and value == value}
        table = format_breakdown(part, found)
        assert 'without NMS' in table and all(name in table for name in of_all)
    assert 'error' not in format_metrics(found)


def test_the_checkpoint_is_a_detector_by_itself(trained, tmp_path):
    """o2f reads its config as data, and knows nothing of the suite."""
    copy = tmp_path / 'epoch_1.pth'
    copy.write_bytes(trained.checkpoint().read_bytes())
    detector = Detector(copy, device='cpu')
    assert detector.classes[:2] == ('disc', 'square')
    image = np.random.default_rng(0).integers(0, 255, (72, 72, 3), np.uint8)
    assert len(detector(image).boxes) == len(detector(image).scores)
    assert 'LoadNamedImage' not in str(detector.config) and 'KeptSamples' not in str(detector.config)


def test_metrics_that_are_not_defined_are_dashes():
    metrics = {'with_nms/AP': 0.5, 'without_nms/AP': 0.25, 'with_nms/APl': float('nan'), 'without_nms/APl': 1}
    assert format_metrics(metrics) == 'without NMS  AP 25.00  APl 100.00\nwith NMS     AP 50.00  APl –'


def test_mmengine_s_checkpoint_with_its_logs(tmp_path, trained):
    """A checkpoint to resume from holds log buffers beside the weights; they are among the harmless types."""
    from mmengine.logging import HistoryBuffer

    path = tmp_path / 'epoch_3.pth'
    content = torch.load(trained.checkpoint(), weights_only=False)
    assert 'message_hub' in content and 'meta' in content
    torch.save(dict(content, message_hub=dict(log_scalars={'train/loss': HistoryBuffer([1.0], [1])})), path)
    assert load_detector(CONFIG, path).state_dict().keys() == content['state_dict'].keys()


def test_a_truncated_checkpoint_is_named(trained, tmp_path):
    path = tmp_path / 'half.pth'
    whole = trained.checkpoint().read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match='half.pth is damaged, or no checkpoint'):
        load_detector(CONFIG, path)


def find(table, *names, overrides=None):
    run, cells = find_run(load_table(table), names, 'paper', overrides or {})
    return [cell.label for cell in cells]


def test_a_cell_by_name_or_label():
    assert find('table5', 'Ours-3convs', '3x') == ['method=Ours-3convs schedule=3x']
    assert find('table5', 'Ours-3convs', '3×') == ['method=Ours-3convs schedule=3x']
    assert find('table5', 'method=Ours-3convs', 'schedule=1x') == ['method=Ours-3convs schedule=1x']
    # Both schedules train the same model, and FCOS is read both ways anyway.
    assert find('table5', 'Ours-3convs') == ['method=Ours-3convs schedule=1x', 'method=Ours-3convs schedule=3x']
    assert find('table5', 'FCOS', '1x') == ['method=FCOS schedule=1x']
    assert find('table5', 'Hybrid-Epoch (from the text)', '1x') == ['method=Hybrid-Epoch schedule=1x']
    assert find('table3', '0.7', '0.2') == ['t_min=0.2 t_max=0.7'] and find('table2', '7') == ['k=7']
    assert find('table1', 't=0.1') == ['la=t=0.1']


@pytest.mark.parametrize(
    'table, names, says',
    [
        ('table5', ['Ours-4convs'], "'Ours-4convs': no axis of table5 has such a value; it has method: FCOS-NMS, "),
        ('table5', ['schedule=2x'], "--cell 'schedule=2x': no axis .*; schedule: 1x, 3x"),
        ('table5', ['POTO+3DMF+Aux'], '6 cells of table5 are left, of different models .*POTO.3DMF.Aux-ATSS'),
        ('table3', ['0.4'], '7 cells of table3 are left, of different models .*name one with --cell'),
        ('table3', [], 'without --cell: 16 cells of table3'),
        ('table5', ['POTO', 'Ours-3convs'], "table5 has no cell at --cell 'POTO' --cell 'Ours-3convs'"),
    ],
)
def test_a_cell_that_cannot_be_told_is_refused(table, names, says):
    with pytest.raises(UserError, match=says):
        find(table, *names)


@pytest.mark.slow
def test_a_released_checkpoint_on_data_in_coco_s_layout(suite, tmp_path):
    """The command as in the documentation, on a file with the released names (those of this head) and random weights;
    a file of another cell's model is refused with one line."""
    from mmdet.registry import MODELS
    from mmengine.config import Config
    from mmengine.registry import init_default_scope

    init_default_scope('mmdet')
    config = Config(resolve('paper', (), {}, 0, 'test').config)
    model = MODELS.build(config.model)
    names = ('cls_convs.3.conv.bias', 'centerness_convs.2.gn.weight', 'conv_centerness.bias', 'scales.4.scale')
    assert {f'bbox_head.{name}' for name in names} <= set(model.state_dict())
    path, data = tmp_path / 'o2f_r50_1x.pth', tmp_path / 'data'
    torch.save(dict(state_dict=model.state_dict(), meta=dict(mmdet_version='2.28.1')), path)
    write_tiny_coco(data / 'coco', width=200, height=16)  # wide ones stay small when resized
    for half in ('train2017', 'annotations/instances_train2017.json'):  # validation data are enough
        (data / 'coco' / half).rename(tmp_path / Path(half).name)
    here = type(suite)(suite.runs, data)
    command = ('evaluate', path, '--table', 'table5', '--profile', 'paper')
    done = here.run(*command, '--cell', 'Ours-3convs', check=0)
    assert [line.split('  ')[0] for line in done.stdout.splitlines()] == ['without NMS', 'with NMS']
    assert 'schedule=1x, profile paper (of the same model: method=Ours-3convs schedule=3x)' in done.stderr
    refused = here.run(*command, '--cell', 'Ours-2convs', check=2)
    assert refused.stderr.splitlines()[-1] == (
        f'run.py: {path} does not fit the model of its config: it has besides '
        'bbox_head.centerness_convs.2.conv.weight, bbox_head.centerness_convs.2.conv.bias, '
        'bbox_head.centerness_convs.2.gn.weight and 1 more'
    )
    assert 'Traceback' not in refused.stderr and refused.stdout == '' and not suite.runs.exists()


@pytest.mark.parametrize(
    'args, says',
    [
        (('evaluate', 'x.pth'), 'the following arguments are required: --table'),
        (('evaluate', '--table', 'table5'), 'the following arguments are required: FILE'),
        (('evaluate', 'x.pth', '--table', 'table55', '--cell', 'FCOS'), "no table 'table55'"),
        (('evaluate', 'x.pth', '--table', 'table5', '--cell', 'FCOSS'), "--cell 'FCOSS': no axis of table5"),
        (('evaluate', 'x.pth', '--table', 'table5', '--cell', 'Ours-3convs'), 'x.pth is missing'),
        (
            ('evaluate', 'x.pth', '--table', 'table3', *CELL[2:], '--image-groups', '/proc/nope/x.json'),
            'run.py: --image-groups /proc/nope/x.json cannot be written: name a file in a folder',
        ),
        (
            ('evaluate', 'x.pth', '--table', 'table3', *CELL[2:], '--breakdown', '/tmp'),
            'run.py: --breakdown /tmp cannot be written',
        ),
        (
            ('evaluate', 'x.pth', '--table', 'table3', *CELL[2:], '--breakdown', './x.pth'),
            'run.py: --breakdown x.pth would replace the checkpoint: name another file',
        ),
        (
            ('evaluate', 'x.pth', '--table', 'table3', *CELL[2:], '--breakdown', 'f', '--image-groups', 'f'),
            'run.py: --breakdown f would replace --image-groups: name another file',
        ),
        (('table5', '--cell', 'FCOS'), 'unrecognized arguments: --cell FCOS'),
    ],
)
def test_bad_input_gets_one_line_and_exit_2(suite, args, says):
    done = suite.run(*args, check=2)
    assert says in done.stderr.splitlines()[-1] and 'Traceback' not in done.stderr and done.stdout == ''


def test_help_and_errors_in_names_come_without_torch(suite):
    """They come at once: neither torch nor MMDetection is imported."""
    code = (
        'import sys; from experiments.run import main\n'
        'try: main(sys.argv[1:])\n'
        'except SystemExit: pass\n'
        'print("torch" in sys.modules, file=sys.stderr)'
    )
    root = Path(__file__).resolve().parents[3]
    for args in (
        ['--help'],
        ['evaluate', '--help'],
        ['--list'],
        ['evaluate', 'x.pth', '--table', 'table5', '--cell', 'FCOSS'],
    ):
        done = subprocess.run([sys.executable, '-c', code, *args], capture_output=True, text=True, cwd=root)
        assert done.stderr.splitlines()[-1] == 'False'
