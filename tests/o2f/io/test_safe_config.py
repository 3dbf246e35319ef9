"""A config that comes with a checkpoint is data: nothing in it is run, and nothing it names runs anything."""

import math
import pickle
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from o2f.errors import InputError
from o2f.inference import Detector
from o2f.io.safe_config import check_names, parse_config


def test_mmengine_s_own_text(config):
    """What mmengine writes into a checkpoint is read as mmengine would read it."""
    found = parse_config(config.pretty_text, 'it')
    expected = Config.fromstring(config.pretty_text, '.py').to_dict()
    assert found == expected and found['model']['bbox_head']['num_classes'] == 80
    del found['model']['backbone']['init_cfg']  # how weights began is not built
    check_names(found['model'], 'it')
    check_names(found['test_dataloader']['dataset']['pipeline'], 'it')


def test_values():
    text = "a = -1\nb = dict(x=[1, (2,)], y=None)\nc = {'k': 1.5, 2: True}\nd = inf\ne = -nan\nf = b'x'\n"
    found = parse_config(text, 'it')
    assert math.isnan(found.pop('e'))
    assert found == dict(a=-1, b=dict(x=[1, (2,)], y=None), c={'k': 1.5, 2: True}, d=math.inf, f=b'x')


def test_keys_that_are_no_names():
    """mmengine writes them as dict({...})."""
    keys = {'backbone.layer4': dict(lr_mult=0.1), 'x-y': {1: 2}}
    text = Config(dict(optim_wrapper=dict(paramwise_cfg=dict(custom_keys=keys)))).pretty_text
    assert 'dict({' in text
    assert parse_config(text, 'it') == dict(optim_wrapper=dict(paramwise_cfg=dict(custom_keys=keys)))
    assert parse_config("a = dict({'b.c': 1}, d=2)\ne = dict(**{'f.g': 3})", 'it') == {
        'a': {'b.c': 1, 'd': 2},
        'e': {'f.g': 3},
    }


@pytest.mark.parametrize(
    'text',
    [
        'import os',
        "a = dict({{'b': open('{mark}', 'w')}})",
        "a = dict({{'b': 1}}, {{'c': 2}})",
        "a = __import__('os').system('touch {mark}')",
        "a = open('{mark}', 'w')",
        "a = [open('{mark}', 'w') for _ in (1,)]",
        "a = dict(**dict(b=open('{mark}', 'w')))",
        "a = dict([('b', 1)])",
        "open('{mark}', 'w')",
        'a = f\'{{open("{mark}", "w")}}\'',
        "a = (lambda: open('{mark}', 'w'))()",
        'a: int = 3',
        'a, b = 1, 2',
        'a.b = 1',
        "@open('{mark}', 'w')\ndef f(): pass",
        "dict = open\na = dict('{mark}', 'w')",
    ],
)
def test_code_is_refused_and_not_run(tmp_path, text):
    mark = tmp_path / 'ran'
    with pytest.raises(InputError, match='^it does more than set values in line [12]: if you trust its maker'):
        parse_config(text.format(mark=mark), 'it')
    assert not mark.exists()


@pytest.mark.parametrize(
    'text',
    [
        'a = (',
        '\0',
        'a = {[]: 1}',
        'a = -"x"',
        'a = ' + '(' * 10_000,
        'a = ' + '-' * 100_000 + '1',
        'a = 1' + '0' * 5000,
    ],
    ids=['open', 'null', 'key', 'minus', 'deep', 'minuses', 'long'],
)
def test_nonsense_is_named(text):
    with pytest.raises(InputError, match='^it is no config ') as caught:
        parse_config(text, 'it')
    assert '\n' not in str(caught.value)


EVIL = {
    'a class of Python': (('backbone',), dict(type='subprocess.Popen', args=['touch', '{mark}'])),
    'a scope': (('backbone', '_scope_'), 'evil'),
    'an NMS that is evaluated': (('test_cfg', 'nms', 'type'), "open('{mark}', 'w')"),
    'a registered class that evaluates': (
        ('bbox_head', 'bbox_coder'),
        dict(type='CameraMotionCompensation', warp_mode="open('{mark}', 'w')"),
    ),
    'a detector that reads a config': (('type',), 'KnowledgeDistillationSingleStageDetector'),
    'a type that is no text': (('neck', 'type'), ['FPN']),
    'another package': (('neck', 'type'), 'evil.FPN'),
}


@pytest.mark.parametrize('name', EVIL)
def test_names_that_run_something_are_refused(own, tmp_path, name):
    """Each in a checkpoint that is otherwise whole; those that would run something leave a mark where it is trusted."""
    mark, path = tmp_path / 'ran', tmp_path / 'evil.pth'
    content = torch.load(own.checkpoint)
    settings = parse_config(content['meta']['cfg'], 'it')
    keys, value = EVIL[name]
    value = _fill(value, mark)
    node = settings['model']
    for key in keys[:-1]:
        node = node[key]
    node[keys[-1]] = value
    content['meta']['cfg'] = ''.join(f'{key} = {value!r}\n' for key, value in settings.items())
    torch.save(content, path)
    with pytest.raises(InputError, match=f'^the config in {path} names .*if you trust its maker') as caught:
        Detector(path)
    assert not mark.exists() and '\n' not in str(caught.value)


def _fill(value, mark):
    if isinstance(value, dict):
        return {key: _fill(item, mark) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, mark) for item in value]
    return value.replace('{mark}', str(mark))


def test_the_danger_is_real(tmp_path):
    """Without the check, MMDetection runs what such settings name."""
    from mmcv.ops import batched_nms
    from mmdet.registry import MODELS, TASK_UTILS

    marks = [tmp_path / str(i) for i in range(3)]
    MODELS.build(dict(type='subprocess.Popen', args=['touch', str(marks[0])])).wait()
    with pytest.raises(Exception, match='.'):
        nms = dict(type=f"open({str(marks[1])!r}, 'w')")
        batched_nms(torch.zeros(1, 4), torch.zeros(1), torch.zeros(1).long(), nms)
    TASK_UTILS.build(dict(type='CameraMotionCompensation', warp_mode=f"open({str(marks[2])!r}, 'w')"))
    assert all(mark.exists() for mark in marks)


def test_a_config_beside_is_not_run(own, tmp_path):
    """Of weights alone the config.py beside them is read, as data."""
    content = torch.load(own.checkpoint)
    path, beside, mark = tmp_path / 'weights.pth', tmp_path / 'config.py', tmp_path / 'ran'
    torch.save(content['state_dict'], path)
    with pytest.raises(InputError, match=f'{path} holds no config, and there is no {beside}: give it with --config'):
        Detector(path)
    beside.write_text(content['meta']['cfg'] + f"open({str(mark)!r}, 'w')\n")
    with pytest.raises(InputError, match=f'^{beside} does more than set values in line'):
        Detector(path)
    assert not mark.exists()
    beside.write_text(content['meta']['cfg'])
    assert Detector(path, device='cpu').classes[:2] == ('Platelets', 'RBC')


def test_a_crafted_pickle_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / 'ran',)

    path = tmp_path / 'evil.pth'
    torch.save(dict(state_dict={'a': torch.ones(1)}, meta=dict(cfg=Evil())), path)
    with pytest.raises(InputError, match='evil.pth holds pathlib.*: it is not loaded'):
        Detector(path)
    assert not (tmp_path / 'ran').exists()
    pickle.loads(pickle.dumps(Evil()))
    assert (tmp_path / 'ran').exists()  # it would have run


@pytest.mark.parametrize('change', [dict(classes=3), dict(classes=('a', 5) * 4), dict(classes=('a', 'b')), 7, None])
def test_classes_that_do_not_fit(own, tmp_path, change):
    """Names that are not those of the labels are not shown; the config's are."""
    content = torch.load(own.checkpoint)
    content['meta']['dataset_meta'] = change
    torch.save(content, tmp_path / 'x.pth')
    detector = Detector(tmp_path / 'x.pth', device='cpu')
    assert len(detector.classes) == 3 and detector.classes[0] == 'Platelets'
