"""ImageNet weights go through mmengine's own paths, and what cannot be downloaded is named before anything trains."""

import copy
import functools
import hashlib
import http.server
import os
import threading
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from tiny_datasets import write_tiny_coco

import o2f  # isort: skip  # noqa: F401  (answers for mmcv's compiled operations, so it comes before MMDetection)
from mmdet.registry import MODELS  # isort: skip

from experiments.data.weights import ensure_weights, weight_files
from experiments.spec.config import resolve
from experiments.store.errors import UserError

# Where no download gets through, whether or not there is a network.
NO_NETWORK = dict(http_proxy='http://127.0.0.1:9', https_proxy='http://127.0.0.1:9', no_proxy='')
R50 = 'resnet50-0676ba61.pth'


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Torch's cache of downloads, empty; nothing can be downloaded."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    for name, value in NO_NETWORK.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / 'torch' / 'hub' / 'checkpoints'
    folder.mkdir(parents=True)
    return folder


def config_of(*use):
    return resolve('paper', use, {}, 0, 'test').config


def backbone_of(config):
    init_default_scope('mmdet')
    return MODELS.build(Config(copy.deepcopy(config)).model.backbone)


def here(function, *args):
    function(*args)


def never(function, *args):
    raise AssertionError(f'{function} was called')


@pytest.mark.parametrize('use, name', [((), 'resnet50-0676ba61'), (('r101',), 'resnet101-63fe2227')])
def test_torchvision_weights_from_the_cache(cache, use, name):
    """A file under torchvision's name in the cache is what the backbone starts from, stem to stage 4."""
    import torchvision

    with torch.device('meta'):  # only names and shapes are wanted
        shapes = getattr(torchvision.models, name.partition('-')[0])().state_dict()
    weights = {key: torch.rand(shape.shape).to(shape.dtype) for key, shape in shapes.items()}
    torch.save(weights, cache / f'{name}.pth')
    config = config_of(*use)
    ensure_weights([config], never, never)
    backbone = backbone_of(config)
    backbone.init_weights()
    loaded = backbone.state_dict()
    assert set(weights) - set(loaded) == {'fc.weight', 'fc.bias'} and set(loaded) <= set(weights)
    assert all(torch.equal(loaded[key], weights[key]) for key in loaded)


def test_swin_weights_from_the_cache(cache):
    """The same for Swin-T, whose file has the names of its original repository."""
    config = config_of('swin-t')
    backbone = backbone_of(config)
    drawn = {key: torch.rand_like(value) for key, value in backbone.named_parameters()}
    renamed = [
        ('stages.', 'layers.'),
        ('attn.w_msa.', 'attn.'),
        ('ffn.layers.0.0.', 'mlp.fc1.'),
        ('ffn.layers.1.', 'mlp.fc2.'),
        ('patch_embed.projection.', 'patch_embed.proj.'),
    ]
    original = {functools.reduce(lambda key, pair: key.replace(*pair), renamed, key): drawn[key] for key in drawn}
    torch.save({'model': original}, cache / 'swin_tiny_patch4_window7_224.pth')
    ensure_weights([config], never, never)
    backbone.init_weights()
    loaded = backbone.state_dict()
    # Patches are merged in another order there; MMDetection reorders those weights.
    alike = [key for key in drawn if 'downsample' not in key and not key.startswith('norm')]
    assert len(alike) > 150 and all(torch.equal(loaded[key], drawn[key]) for key in alike)
    merging = 'stages.0.downsample.reduction.weight'
    torch.testing.assert_close(loaded[merging].sum(1), drawn[merging].sum(1))


def test_every_missing_file_is_named_with_its_place(cache):
    configs = [config_of(), config_of('r101'), config_of('swin-t'), config_of('fcos')]
    said = []
    with pytest.raises(UserError) as caught:
        ensure_weights(configs, lambda *progress: said.append(progress), here)
    message = str(caught.value)
    assert message.startswith('cannot download weights (') and '\n' not in message
    for name in ('resnet50-0676ba61', 'resnet101-63fe2227', 'swin_tiny_patch4_window7_224'):
        assert message.count(f'{name}.pth at {cache}/{name}.pth') == 1
    assert said[0] == ('weights resnet50-0676ba61.pth', 0, 1) and list(cache.iterdir()) == []


def test_the_cache_is_the_one_of_torch(monkeypatch, tmp_path):
    def agree():
        (path,) = weight_files(config_of()).values()
        return path == Path(torch.hub.get_dir()) / 'checkpoints' / 'resnet50-0676ba61.pth'

    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    monkeypatch.delenv('TORCH_HOME', raising=False)
    assert agree()
    monkeypatch.setenv('TORCH_HOME', '~/elsewhere')
    assert agree()
    monkeypatch.delenv('TORCH_HOME')
    monkeypatch.delenv('XDG_CACHE_HOME')
    assert agree()


def test_a_profile_with_weights_of_its_own_needs_none():
    assert weight_files(resolve('desk', (), {}, 0, 'test').config) == {}


def test_what_is_missing_is_downloaded_and_checked(cache, tmp_path, monkeypatch):
    """Over a real connection: a file whose name bears the digest of its content arrives, any other does not stay."""
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    content = b'weights' * 1000
    good, bad = f'net-{hashlib.sha256(content).hexdigest()[:8]}.pth', 'net-00000000.pth'
    (tmp_path / 'served').mkdir()
    for name in (good, bad):
        (tmp_path / 'served' / name).write_bytes(content)
    handler = functools.partial(QuietHandler, directory=str(tmp_path / 'served'))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def config(name):
            url = f'http://127.0.0.1:{server.server_port}/{name}'
            return dict(model=dict(backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=url))))

        said = []
        ensure_weights([config(good)], lambda *progress: said.append(progress), here)
        assert (cache / good).read_bytes() == content
        assert said == [(f'weights {good}', 0, 1), (f'weights {good}', 1, 1)]
        ensure_weights([config(good)], never, never)
        with pytest.raises(UserError, match=f'invalid hash.* put .*{bad} at {cache}/{bad}'):
            ensure_weights([config(bad)], lambda *_: None, here)
        with pytest.raises(UserError, match='HTTP Error 404'):
            ensure_weights([config('net.pth')], lambda *_: None, here)
        server.shutdown()
    assert [path.name for path in cache.iterdir()] == [good]


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.mark.slow
def test_the_command_says_it_before_anything_trains(suite, cache, tmp_path):
    """Through run.py: data are there, weights are not and cannot be downloaded."""
    data = tmp_path / 'data'
    write_tiny_coco(data / 'coco')
    here = type(suite)(suite.runs, data)
    one = ('table3', '--profile', 'paper', '--only', 't_max=0.6', '--only', 't_min=0.2')
    done = here.run(*one, '--jobs', 1, check=2, env={**os.environ})
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith('run.py: cannot download weights (') and 'Traceback' not in done.stderr
    assert last.endswith(f'put https://download.pytorch.org/models/{R50} at {cache}/{R50}')
    assert not list(suite.runs.glob('paper/*/worker.log'))
