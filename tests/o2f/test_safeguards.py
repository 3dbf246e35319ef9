"""Trainings of inheriting configs stop where they would go wrong, and a kill loses no checkpoint."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import mmdet
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import ConcatDataset, RepeatDataset
from mmengine.hooks import EMAHook
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from own_data import CLASSES, EXAMPLE, SMALL, take, write_dataset
from tiny_detectors import make_detector
from torch import nn

from o2f.__main__ import main
from o2f.engine import EpochHook
from o2f.errors import InputError
from o2f.evaluation.metric import TwoReadingsMetric
from o2f.safeguards import CheckpointHook, FiniteLossHook, SettingsCheckHook

TOOLS = Path(mmdet.__path__[0]) / '.mim' / 'tools'


@pytest.fixture
def example(tmp_path):
    """example(changes): a Runner of the example made small, on data of its own."""
    data = write_dataset(tmp_path / 'bccd')

    def make(**changes):
        config = Config.fromfile(EXAMPLE)
        config.merge_from_dict(SMALL)
        take(config, data)
        config.work_dir = str(tmp_path / 'work')
        config.merge_from_dict({key.replace('__', '.'): value for key, value in changes.items()})
        config.experiment_name = f'{tmp_path.name}{len(list(tmp_path.glob("work/*")))}{os.urandom(3).hex()}'
        return config

    make.data = data
    return make


def test_every_inheriting_config_has_them():
    hooks = Config.fromfile(EXAMPLE).default_hooks
    assert {'dataset_check', 'settings_check', 'loss_check', 'checkpoint'} <= hooks.keys()
    init_default_scope('mmdet')
    from mmengine.registry import HOOKS

    assert type(HOOKS.build(dict(type='CheckpointHook', interval=1))) is CheckpointHook


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_a_loss_that_is_not_finite(value):
    hook, runner = FiniteLossHook(), SimpleNamespace(epoch=2, train_dataloader=range(9))
    hook.before_train_epoch(runner)
    hook.after_train_iter(runner, 3, outputs=dict(loss=torch.tensor(1.0)))
    with pytest.raises(
        InputError, match=r'training diverged: the loss was (nan|inf) in epoch 3, iteration 5\. A smaller'
    ):
        hook.after_train_iter(runner, 4, outputs=dict(loss=torch.tensor(value)))
    with pytest.raises(InputError, match='iteration 5'):  # on a GPU, where not every loss is read
        hook.after_train_epoch(runner)


class Square(BaseModel):
    """Its loss is the square of its weight, and NaN from iteration 4 on."""

    def __init__(self):
        super().__init__()
        self.weight, self.calls = nn.Parameter(torch.ones(1)), 0

    def forward(self, inputs, mode):
        self.calls += 1
        return dict(loss=self.weight**2 * (float('nan') if self.calls >= 4 else 1))


class RareLossHook(FiniteLossHook):
    """Looks at no single loss, as on a GPU between two of its intervals; with ``blind``, as if another process had
    them."""

    def __init__(self, blind):
        super().__init__()
        self.blind = blind

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        loss = outputs['loss'].detach()
        self.total = 0.0 if self.blind else self.total + loss
        self.epoch, self.iteration = runner.epoch + 1, batch_idx + 1


@pytest.mark.parametrize('blind, says', [(False, 'the loss was nan'), (True, 'weights are not finite')])
def test_no_checkpoint_between_two_looks(tmp_path, blind, says):
    """The checkpoint of iteration 4 is not saved, and the only one, of iteration 2, stays."""
    runner = Runner(
        model=Square(),
        work_dir=str(tmp_path),
        experiment_name=f'{tmp_path.name}{blind}',
        train_dataloader=dict(dataset=[0] * 8, batch_size=1, sampler=dict(type='DefaultSampler', shuffle=False)),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
        default_hooks=dict(checkpoint=None),
        custom_hooks=[RareLossHook(blind), CheckpointHook(interval=2, by_epoch=False, max_keep_ckpts=1)],
        log_level='ERROR',
    )
    with pytest.raises(InputError, match=f'training diverged: {says} in epoch 1, iteration 4'):
        runner.train()
    [path] = tmp_path.glob('*.pth')
    assert path.name == 'iter_2.pth' and torch.load(path)['state_dict']['weight'].isfinite()


@pytest.mark.slow
def test_divergence_stops_the_training(example):
    """No checkpoint is saved of weights that are not finite."""
    config = example(optim_wrapper__optimizer__lr=1e20, param_scheduler=[])
    with pytest.raises(InputError, match='training diverged: the loss was nan in epoch 1, iteration'):
        Runner.from_cfg(config).train()
    assert not list(Path(config.work_dir).glob('*.pth'))


def test_the_dataset_check_cannot_be_forgotten(example):
    """An image that is empty is refused before the first iteration; turned off, it is named when its turn comes."""
    broken = example.data / 'train' / 'shape 103.png'
    broken.write_bytes(b'')
    with pytest.raises(InputError, match='shape 103.png is an empty file: fetch it again'):
        Runner.from_cfg(example()).train()
    with pytest.raises(InputError, match='shape 103.png cannot be read'):
        Runner.from_cfg(example(default_hooks__dataset_check__enabled=False)).train()


class Model(nn.Module):
    """A detector as far as the hooks look at it."""

    def __init__(self, classes=2):
        super().__init__()
        self.bbox_head = nn.Linear(1, 1)
        self.bbox_head.num_classes = classes


def runner_with(classes=('a', 'b'), iterations=1000, hooks=(EpochHook(),), loop=EpochBasedTrainLoop, **settings):
    config = dict(train_dataloader=dict(batch_size=2), optim_wrapper=dict(optimizer=dict(lr=0.01)), param_scheduler=[])
    warned = []
    return SimpleNamespace(
        model=Model(),
        train_dataloader=SimpleNamespace(dataset=SimpleNamespace(metainfo=dict(classes=classes))),
        cfg={**config, **settings},
        auto_scale_lr=settings.get('auto_scale_lr'),
        max_iters=iterations,
        hooks=list(hooks),
        train_loop=loop.__new__(loop),
        val_loop=None,
        logger=SimpleNamespace(warning=warned.append),
        warned=warned,
    )


@pytest.mark.parametrize(
    'settings, says',
    [
        (dict(classes=('a', 'b', 'c')), 'model.bbox_head.num_classes is 2, and the dataset has 3 classes: set it to 3'),
        (dict(classes='ab'), 'a comma is needed'),
        (
            dict(
                optim_wrapper=dict(optimizer=dict(lr=0.01 * 2 / 16)),
                auto_scale_lr=dict(enable=True, base_batch_size=16),
            ),
            'auto_scale_lr would scale the learning rate 0.00125 again, which is for 2 images already',
        ),
    ],
)
def test_settings_that_do_not_fit(settings, says):
    with pytest.raises(InputError, match=says):
        SettingsCheckHook().before_train(runner_with(**settings))


def test_settings_that_fit():
    for scaling in (None, dict(enable=True, base_batch_size=16), dict(enable=False, base_batch_size=16)):
        SettingsCheckHook().before_train(runner_with(auto_scale_lr=scaling))
    by_hand = dict(optim_wrapper=dict(optimizer=dict(lr=0.00125)))
    SettingsCheckHook().before_train(runner_with(auto_scale_lr=dict(enable=True, base_batch_size=2), **by_hand))


@pytest.mark.parametrize(
    'settings, says',
    [
        (dict(hooks=[EMAHook()]), 'custom_hooks has no EpochHook, so the head would stay in its first epoch: add dict'),
        (dict(loop=IterBasedTrainLoop), 'train_cfg counts iterations, .* Set by_epoch=True and max_epochs'),
    ],
)
def test_a_head_that_would_not_know_the_epoch(settings, says):
    """T would stay at T^max. Heads that do not count epochs train in any way."""
    runner = runner_with(**settings)
    SettingsCheckHook().before_train(runner)
    runner.model.bbox_head.set_epoch = print
    with pytest.raises(InputError, match=says):
        SettingsCheckHook().before_train(runner)


class ByFileOrder(mmdet.datasets.CocoDataset):
    """A dataset as MMDetection teaches to write one."""

    METAINFO = dict(classes=('b', 'a'))


def test_labels_by_the_order_of_the_file(tmp_path):
    """MMDetection's dataset labels by it, and the metrics read labels by ``classes``: AP would be 0."""
    # A file may have any ending.
    content = dict(images=[dict(id=1, file_name='1.jpg', width=64, height=64)], annotations=[])
    for names in ('ba', 'ab'):
        content['categories'] = [dict(id=number, name=name) for number, name in enumerate(names)]
        (tmp_path / f'{names}.txt').write_text(json.dumps(content))
    right, wrong = (
        ByFileOrder(ann_file=str(tmp_path / f'{names}.txt'), data_prefix=dict(img=''), test_mode=True, pipeline=[])
        for names in ('ba', 'ab')
    )
    runner = runner_with()
    for dataset in (right, RepeatDataset(right, 2), ConcatDataset([right, right])):
        runner.train_dataloader.dataset = dataset
        SettingsCheckHook().before_train(runner)
    for dataset in (wrong, RepeatDataset(wrong, 2), ConcatDataset([right, wrong])):
        runner.train_dataloader.dataset = dataset
        with pytest.raises(InputError, match=r"ByFileOrder gives 'a' of .*ab.txt the label 0, .* it is 1 by classes"):
            SettingsCheckHook().before_train(runner)


@pytest.mark.parametrize('test_cfg', [None, {}, dict(max_per_img=-1)])
def test_an_evaluation_of_no_number_of_detections(test_cfg):
    """It would fail after a whole epoch."""
    runner = runner_with()
    runner.model = make_detector()
    runner.model.bbox_head.num_classes = 2
    runner.model.test_cfg, runner.val_loop = test_cfg, object()
    with pytest.raises(InputError, match='model.test_cfg.max_per_img is (None|-1): set it to the most detections'):
        SettingsCheckHook().before_train(runner)


@pytest.mark.parametrize('nms', [None, 'absent'])
def test_an_evaluation_without_nms(nms):
    """Its metrics with NMS would be those without. Without an evaluation, or by a plain detector, it may train."""
    runner = runner_with()
    runner.model = make_detector(nms=nms)
    if nms:
        del runner.model.test_cfg['nms']
    runner.model.bbox_head.num_classes = 2
    SettingsCheckHook().before_train(runner)
    runner.val_loop = object()
    with pytest.raises(InputError, match='model.test_cfg has no nms'):
        SettingsCheckHook().before_train(runner)
    runner.model = Model()
    SettingsCheckHook().before_train(runner)


@pytest.mark.parametrize(
    'nms, says',
    [
        (dict(type='nmss', iou_threshold=0.6), r'cannot be used \(NameError'),
        (dict(type='nms'), r"cannot be used \(TypeError: .*'iou_threshold'"),
        (dict(type='nms', iou_threshold=0.6, iuo=1), r'cannot be used \(TypeError'),
        (dict(type='nms', iou_threshold='high'), r'cannot be used \(ValueError'),
        (7, r'nms 7 cannot be used'),
        (dict(type='nms', iou_threshold=60), 'iou_threshold is 60: it is an IoU, from 0 to 1'),
        (dict(type='nms', iou_thr=60), 'iou_threshold is 60: it is an IoU, from 0 to 1'),
    ],
)
def test_an_nms_that_does_nothing_or_does_not_run(nms, says):
    """It would fail after a whole epoch, or detect as without it."""
    runner = runner_with()
    runner.model = make_detector()
    runner.model.bbox_head.num_classes = 2
    runner.model.test_cfg, runner.val_loop = dict(max_per_img=9, nms=nms), object()
    with pytest.raises(InputError, match=says):
        SettingsCheckHook().before_train(runner)
    runner.model.test_cfg['nms'] = dict(type='nms', iou_threshold=0.6)
    SettingsCheckHook().before_train(runner)


def test_a_warm_up_that_never_ends():
    warm_up = [dict(type='LinearLR', by_epoch=False, begin=0, end=1000)]
    short, long = (
        runner_with(param_scheduler=warm_up, iterations=300),
        runner_with(param_scheduler=warm_up, iterations=9000),
    )
    for runner in (short, long):
        SettingsCheckHook().before_train(runner)
    assert not long.warned and len(short.warned) == 1
    assert (
        'takes 1000 iterations, and the training has 300: shorten param_scheduler[0].end to about 25' in short.warned[0]
    )


def test_the_example_and_auto_scale_lr():
    """The rate in the example fits its batch, so that the option changes nothing."""
    config = Config.fromfile(EXAMPLE)
    assert config.auto_scale_lr.base_batch_size == config.train_dataloader.batch_size == 2
    assert config.optim_wrapper.optimizer.lr == 0.01 * 2 / 16


@pytest.fixture
def checkpoint(example, tmp_path):
    """checkpoint(classes, weights): a file of the example's untrained weights, which changes what is given."""

    def make(classes=CLASSES, **weights):
        runner = Runner.from_cfg(example())
        state = runner.model.state_dict()
        changed = {name.replace('__', '.'): change for name, change in weights.items()}
        state = {name: changed.get(name, lambda weight: weight)(weight) for name, weight in state.items()}
        state = {name: weight for name, weight in state.items() if weight is not None}
        path = tmp_path / 'weights.pth'
        meta = dict(epoch=0, iter=0, dataset_meta=dict(classes=classes))
        torch.save(dict(meta=meta, state_dict=state, message_hub=runner.message_hub.state_dict()), path)
        return str(path)

    return make


OTHER_ORDER = CLASSES[1:] + CLASSES[:1]
UNFIT = [
    (
        OTHER_ORDER,
        None,
        "trained with the classes RBC, WBC, Platelets, where 'Platelets' has the label 2, and it has 0",
    ),
    (CLASSES, lambda weight: None, 'lacks bbox_head.conv_cls.weight'),
    (CLASSES, lambda weight: weight[:1], r'has other shapes: bbox_head.conv_cls.weight \(1, 64'),
    (CLASSES, lambda weight: weight * float('nan'), 'has weights that are not finite: bbox_head.conv_cls.weight'),
]


@pytest.mark.parametrize('classes, change, says', UNFIT)
@pytest.mark.parametrize('resume', [False, True])
def test_a_checkpoint_that_does_not_fit(example, checkpoint, classes, change, says, resume):
    """Neither a test nor a resumed training begins. The runner would load what fits and go on."""
    path = checkpoint(classes, **(dict(bbox_head__conv_cls__weight=change) if change else {}))
    runner = Runner.from_cfg(example(load_from=path, resume=resume))
    with pytest.raises(InputError, match=f'the checkpoint .*{says}'):
        runner.train() if resume else runner.test()


def test_a_checkpoint_of_one_s_own_classes(example, checkpoint):
    """It may know a class by another name, and need not say its classes. A training may begin from any, with a word."""
    for classes in (('Thrombocytes', *CLASSES[1:]), None):
        runner = Runner.from_cfg(example(load_from=checkpoint(classes)))
        assert {'without_nms/AP', 'with_nms/AP'} <= runner.test().keys()
    runner = Runner.from_cfg(example(load_from=checkpoint(OTHER_ORDER)))
    runner.load_or_resume()
    said = []
    runner.logger.warning = said.append
    [hook] = [hook for hook in runner.hooks if isinstance(hook, SettingsCheckHook)]
    hook.before_train(runner)
    assert said[0].startswith('training begins from weights for other labels: the checkpoint was trained with')


def test_augmentation_at_test_time_is_refused():
    from mmdet.models import DetTTAModel

    model = DetTTAModel.__new__(DetTTAModel)
    nn.Module.__init__(model)
    with pytest.raises(InputError, match='--tta merges'):
        SettingsCheckHook().before_test(SimpleNamespace(model=model))


@pytest.mark.slow
def test_scripts_of_mmdetection_print_one_line(example, tmp_path):
    """A user's error is a line and status 2, in training and in test with --tta."""
    path = tmp_path / 'config.py'
    config = example(train_dataloader__dataset__metainfo=dict(classes=('Platelet', *CLASSES[1:])))
    config.dump(path)
    command = [sys.executable, '-m', 'o2f', str(TOOLS / 'train.py'), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2 and 'Traceback' not in done.stderr
    assert done.stderr.splitlines()[-1].startswith('o2f: ') and "'Platelet' (did you mean 'Platelets'?)" in done.stderr


def test_a_script_that_is_not_there(monkeypatch, capsys):
    for name in ('none.py', str(TOOLS)):
        monkeypatch.setattr(sys, 'argv', ['o2f', name])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 2 and capsys.readouterr().err == f'o2f: there is no script {name}\n'
    monkeypatch.setattr(sys, 'argv', ['o2f', '--help'])
    main()
    assert capsys.readouterr().out.startswith('usage: ')


# --- checkpoints --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_best_checkpoints_by_any_name(example):
    """'auto', MMDetection's name and ours; and a name that does not exist is refused before the first epoch."""
    for key, name in {'auto': 'AP', 'coco/bbox_mAP_50': 'AP50', 'with_nms/AP': ''}.items():
        config = example(default_hooks__checkpoint__save_best=key)
        hook = [hook for hook in Runner.from_cfg(config)._hooks if isinstance(hook, CheckpointHook)][0]
        hook.file_backend, hook.best_ckpt_path = None, None
        hook._translate([_metric(example).names])
        found = hook.key_indicators[0]
        assert found == (f'without_nms/{name}' if key.startswith('coco') else key) and hook.rules in (
            [None],
            ['greater'],
        )
        if key != 'auto':
            assert hook.is_better_than[found](2, 1)
    hook._init_rule([None], ['without_nms/AP'])  # what mmengine makes of auto
    assert hook.is_better_than['without_nms/AP'](2, 1)
    hook._init_rule([None], ['prefix/without_nms/score_margin', 'prefix/with_nms/recall'])
    assert [hook.is_better_than[key](2, 1) for key in hook.key_indicators] == [False, True]
    hook._init_rule([None], ['coco/bbox_mAP_99'])
    with pytest.raises(InputError, match="save_best: there is no metric 'coco/bbox_mAP_99', but without_nms/AP, "):
        hook._translate([_metric(example).names])


@pytest.mark.slow
def test_a_resumed_training_knows_its_best_checkpoints(example):
    """They are stored under the names here, whatever names the config has."""
    names = dict(zip(('coco/bbox_mAP', 'coco/bbox_mAP_50'), ('without_nms/AP', 'without_nms/AP50')))
    runner = Runner.from_cfg(example(default_hooks__checkpoint__save_best=list(names)))
    for name in names.values():
        runner.message_hub.update_info(f'best_ckpt_{name}', f'of {name}')
    [hook] = [hook for hook in runner._hooks if isinstance(hook, CheckpointHook)]
    hook.before_train(runner)
    assert hook.best_ckpt_path_dict == {name: f'of {name}' for name in names.values()}


def _metric(example):
    return TwoReadingsMetric(str(example.data / 'val.json'))


def whole(folder):
    return {path.name: path.read_text() for path in folder.glob('*.pth') if not path.name.startswith('.aside.')}


@pytest.mark.slow
def test_a_kill_while_a_checkpoint_is_written(tmp_path):
    """With max_keep_ckpts=1, as in the example: the old one is there until the new one is whole."""
    folder = tmp_path / 'saved'
    folder.mkdir()
    code = f"""
import os, sys, torch
import o2f
from pathlib import Path
from types import SimpleNamespace
from mmengine.logging import MessageHub
from o2f.safeguards import CheckpointHook
folder, die_at = Path({str(folder)!r}), int(sys.argv[1])
class Runner(SimpleNamespace):
    def save_checkpoint(self, out_dir, filename, *args, **kwargs):
        with open(os.path.join(out_dir, filename), 'w') as file:
            file.write('half')
            file.flush()
            if self.epoch + 1 == die_at:
                os.kill(os.getpid(), 9)
            file.write(' and half')
import logging
runner = Runner(work_dir=str(folder), epoch=0, iter=0, logger=logging.getLogger('x'), val_loop=None,
                message_hub=MessageHub.get_instance('x'), max_epochs=9)
hook = CheckpointHook(interval=1, max_keep_ckpts=1, save_best='with_nms/AP')
hook.before_train(runner)
for epoch in range(3):
    runner.epoch = epoch
    hook._save_checkpoint(runner)
    after = {{**vars(runner), 'epoch': epoch + 1, 'save_checkpoint': runner.save_checkpoint}}
    hook.after_val_epoch(SimpleNamespace(**after), {{'with_nms/AP': epoch}})
"""
    dead = subprocess.run([sys.executable, '-c', code, '3'], capture_output=True, text=True)
    assert dead.returncode == -9, dead.stderr
    left = whole(folder)
    assert left == {'epoch_2.pth': 'half and half', 'best_with_nms_AP_epoch_2.pth': 'half and half'}
    assert Path((folder / 'last_checkpoint').read_text()).name == 'epoch_2.pth'
    assert list(folder.glob('.aside.*'))
    done = subprocess.run([sys.executable, '-c', code, '0'], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    left = whole(folder)
    assert left.keys() == {
        'epoch_2.pth',
        'epoch_3.pth',
        'best_with_nms_AP_epoch_2.pth',
        'best_with_nms_AP_epoch_3.pth',
    } or (left.keys() == {'epoch_3.pth', 'best_with_nms_AP_epoch_3.pth'})
    assert not list(folder.glob('.aside.*')) and set(left.values()) == {'half and half'}


def test_the_check_s_command(example, capsys):
    """Text and JSON; 1 where something is refused, 2 for wrong files."""
    from o2f.check import main

    annotations = [str(example.data / f'{split}.json') for split in ('train', 'val')]
    folders = [str(example.data / split) for split in ('train', 'val')]
    assert main([*annotations, '--images', *folders]) == 0
    out = capsys.readouterr().out
    assert '6 images, 12 objects of 3 classes' in out and out.endswith('worth knowing\n') and '\n0 refused' in out
    (example.data / 'train' / 'shape 101.png').unlink()
    assert main([*annotations, '--images', *folders, '--json']) == 1
    found = json.loads(capsys.readouterr().out)
    assert [f['kind'] for f in found['findings']][0] == 'refused' and found['datasets'][1]['images'] == 3
    assert main(['--config', 'none.py']) == 2 and 'check: none.py is missing' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(['--config', 'none.py', '--images', 'photos'])
    assert 'a --config names its folders itself' in capsys.readouterr().err


def test_the_check_prints_any_name(example):
    """On a terminal that lacks its characters, too."""
    path = example.data / 'train.json'
    path.write_text(path.read_text().replace('shape 101', 'shäpe 101'), encoding='utf-8')
    poor = {**os.environ, 'PYTHONIOENCODING': 'ascii', 'PYTHONUTF8': '0'}
    command = [sys.executable, '-m', 'o2f.check', str(path), '--images', str(example.data / 'train')]
    done = subprocess.run(command, capture_output=True, text=True, env=poor)
    assert done.returncode == 1 and 'sh\\xe4pe 101.png' in done.stdout and 'Traceback' not in done.stderr


def test_the_check_of_a_config(example, tmp_path, capsys):
    from o2f.check import main

    path = tmp_path / 'config.py'
    example(model__test_cfg__max_per_img=1).dump(path)
    assert main(['--config', str(path)]) == 0
    assert 'an image has 2 objects, and at most 1 are detected' in capsys.readouterr().out
