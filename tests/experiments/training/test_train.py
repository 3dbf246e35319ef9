"""One run: the same whether or not it was stopped in between, and clear about what stops it for good."""

import itertools
import json
import re
import shutil
import struct
import zlib
from types import SimpleNamespace

import pytest
import torch

from experiments.data.prepare import prepare
from experiments.data.synthetic.cache import ensure
from experiments.spec.config import resolve
from experiments.spec.paths import data_paths, generated
from experiments.store import files
from experiments.store.errors import UserError
from experiments.store.runs import RunFolder

SMALL = {'train_cfg.max_epochs': 3, 'generate.scenes.train': 16, 'generate.scenes.val': 8}


def run_of(overrides, use=()):
    return resolve('smoke', use, {**SMALL, **overrides}, 0, 'test')


def start(path, run, places_):
    from experiments.training.train import train

    folder = RunFolder(path)
    folder.create(run)
    with folder.lock():
        train(folder, run.id, run.profile, places_, threads=1)
    return folder


@pytest.fixture(scope='module')
def here(data):
    """The run's folders of this machine, with the data in them."""
    config = run_of({}).config
    prepare([config], data, lambda *_: None, lambda function, *args: function(*args))
    return data_paths(config, data)


@pytest.fixture(scope='module')
def undisturbed(here, tmp_path_factory):
    return start(tmp_path_factory.mktemp('runs') / 'whole', run_of({}), here)


def test_few_images_are_evaluated_before_the_last_epoch(undisturbed, here, tmp_path, monkeypatch):
    from o2f.evaluation.metric import TwoReadingsMetric

    seen = []
    compute = TwoReadingsMetric.compute_metrics

    def counted(self, results):
        seen.append(sorted(image_id for image_id, *_ in results))
        return compute(self, results)

    monkeypatch.setattr(TwoReadingsMetric, 'compute_metrics', counted)
    run = run_of({'epoch_images': 3})
    found = start(tmp_path / 'few', run, here)
    assert seen == [[17, 18, 19], [17, 18, 19], list(range(17, 25))]  # 16 images are for training
    assert run.id != run_of({}).id and found.result()['metrics'] == undisturbed.result()['metrics']


def test_an_undisturbed_run(undisturbed):
    result = undisturbed.result()
    assert result['epochs'] == 3 and [entry['epoch'] for entry in undisturbed.epochs()] == [1, 2, 3]
    assert set(result['metrics']) == {
        f'{reading}/{name}'
        for reading in ('without_nms', 'with_nms')
        for name in ('AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', 'AR', 'duplicates', 'score_margin')
    }
    assert result['provenance']['versions']['torch'] == torch.__version__.split('+')[0]
    for entry in undisturbed.epochs():
        losses, positives = entry['losses'], entry['positives']
        assert losses['loss'] == pytest.approx(losses['loss_cls'] + losses['loss_bbox'], rel=1e-5)
        assert 0 < positives['certain'] <= 1 and 0 < positives['ambiguous'] <= 6
        assert 0 < positives['degree'] < positives['ambiguous']
    weights = torch.load(undisturbed.checkpoint())
    assert undisturbed.checkpoint().name == 'epoch_3.pth' and 'optimizer' not in weights


#: Loaders in processes that live through all epochs, as in the paper profile, and a model that draws random numbers.
PERSISTENT = {'train_dataloader.num_workers': 2, 'train_dataloader.persistent_workers': True}
SWIN = ('swin-t',)


@pytest.fixture(scope='module')
def undisturbed_persistent(data, tmp_path_factory):
    run = run_of(PERSISTENT, SWIN)
    prepare([run.config], data, lambda *_: None, lambda function, *args: function(*args))
    return start(tmp_path_factory.mktemp('runs') / 'whole', run, data_paths(run.config, data))


@pytest.mark.parametrize(
    'loaders, moment',
    [
        ({}, 'in an epoch'),
        ({}, 'before the checkpoint of epoch 2'),
        ({}, 'before the checkpoint of epoch 3'),
        ({}, 'before the result'),
        pytest.param(PERSISTENT, 'in an epoch', marks=pytest.mark.slow),
    ],
)
def test_a_stopped_run_ends_as_if_it_had_not_been(request, data, here, tmp_path, monkeypatch, loaders, moment):
    """Stopped at several moments and started again: the same metrics of every epoch, weights and groups of images,
    bit for bit."""
    from experiments.training import train

    undisturbed = request.getfixturevalue('undisturbed_persistent' if loaders else 'undisturbed')
    run = run_of(loaders, SWIN if loaders else ())
    where = data_paths(run.config, data) if loaders else here

    class Stop(BaseException):
        pass

    def stop(*_, **__):
        raise Stop

    with monkeypatch.context() as patch:
        if moment == 'in an epoch':
            original = train.RunFolderHook.before_train_epoch
            patch.setattr(
                train.RunFolderHook,
                'before_train_epoch',
                lambda hook, runner: stop() if runner.epoch == 2 else original(hook, runner),
            )
        elif moment.startswith('before the checkpoint'):
            add, last = RunFolder.add_checkpoint, int(moment[-1])
            patch.setattr(
                RunFolder,
                'add_checkpoint',
                lambda folder, aside, epoch: stop() if epoch == last else add(folder, aside, epoch),
            )
        else:
            patch.setattr(RunFolder, 'finish', stop)
        with pytest.raises(Stop):
            start(tmp_path / 'run', run, where)
    assert (tmp_path / 'run' / 'image_groups.json').exists() == (
        moment in ('before the checkpoint of epoch 3', 'before the result')
    )
    (tmp_path / 'run' / f'{files.ASIDE}result.json.1').write_text('{"half')
    folder = start(tmp_path / 'run', run, where)

    assert not list(folder.path.glob(f'{files.ASIDE}*'))

    def without_seconds(folder):
        return [{key: entry[key] for key in ('epoch', 'metrics')} for entry in folder.epochs()]

    assert without_seconds(folder) == without_seconds(undisturbed)
    ours, theirs = (torch.load(each.checkpoint())['state_dict'] for each in (folder, undisturbed))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert (folder.path / 'image_groups.json').read_bytes() == (undisturbed.path / 'image_groups.json').read_bytes()


def test_a_finished_run_is_not_touched(undisturbed, here):
    before = {path: path.stat().st_mtime_ns for path in undisturbed.path.iterdir() if path.name != 'lock'}
    start(undisturbed.path, run_of({}), here)
    assert before == {path: path.stat().st_mtime_ns for path in undisturbed.path.iterdir() if path.name != 'lock'}


def test_a_truncated_checkpoint_is_named(undisturbed, here, tmp_path):
    shutil.copytree(undisturbed.path, tmp_path / 'run')
    folder = RunFolder(tmp_path / 'run')
    (folder.path / 'result.json').unlink()
    epochs = json.loads((folder.path / 'metrics.json').read_text())
    files.write_json(folder.path / 'metrics.json', dict(epochs, epochs=epochs['epochs'][:2]))
    whole = folder.checkpoint().read_bytes()
    (folder.path / 'epoch_3.pth').unlink()
    (folder.path / 'epoch_2.pth').write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match='epoch_2.pth is damaged .*: delete it, and the run starts again'):
        start(folder.path, run_of({}), here)


def test_a_diverging_run_is_stopped_and_says_where(here, tmp_path):
    run = run_of(
        {'optim_wrapper.optimizer.lr': 1e30, 'param_scheduler.0.end': 1, 'param_scheduler.0.start_factor': 1.0}
    )
    with pytest.raises(
        UserError, match=r'diverged: the loss was (nan|inf) in epoch \d, iteration \d. A smaller learning'
    ):
        start(tmp_path / 'run', run, here)


def bomb(width, height):
    """The beginning of a PNG of so many pixels."""
    size = struct.pack('>II5B', width, height, 8, 2, 0, 0, 0)
    header = struct.pack('>I', len(size)) + b'IHDR' + size + struct.pack('>I', zlib.crc32(b'IHDR' + size))
    return b'\x89PNG\r\n\x1a\n' + header + b'\0' * 64


#: What is done to an image, and what is said of it.
HARMS = {
    'lost': (lambda image: image.unlink(), 'No such file or directory'),
    'empty': (lambda image: image.write_bytes(b''), '.+'),
    'text': (lambda image: image.write_bytes(b'no image'), 'no image, or a damaged one'),
    'bomb': (lambda image: image.write_bytes(bomb(60000, 60000)), '.+'),
}


def unreadable_images():
    """(split, harm, loading processes); a loading process takes seconds to start, so most tests with one are slow."""
    for split, harm, workers in itertools.product(('train', 'val'), HARMS, (0, 1)):
        is_slow = workers and (split, harm) != ('train', 'lost')
        yield pytest.param(split, harm, workers, marks=pytest.mark.slow if is_slow else ())


@pytest.mark.parametrize('split, harm, workers', unreadable_images())
def test_an_image_that_training_cannot_read_is_named(here, tmp_path, split, harm, workers):
    spoil, says = HARMS[harm]
    shutil.copytree(here['SCENES'], tmp_path / 'scenes')
    image = next((tmp_path / 'scenes' / f'{split}2017').iterdir())
    spoil(image)
    settings = {f'{split}_dataloader.num_workers': workers, f'{split}_dataloader.persistent_workers': bool(workers)}
    with pytest.raises(UserError) as raised:
        start(tmp_path / 'run', run_of(settings), {**here, 'SCENES': str(tmp_path / 'scenes')})
    assert re.fullmatch(rf'{re.escape(str(image))} cannot be read: {says}', str(raised.value))


def test_epochs_whose_metrics_are_lost_are_not_left_out(here, tmp_path):
    """A result would be of fewer epochs than were trained."""
    run = run_of({'train_cfg.max_epochs': 2})
    start(tmp_path / 'run', run, here)
    (tmp_path / 'run' / 'result.json').unlink()
    (tmp_path / 'run' / 'metrics.json').unlink()
    with pytest.raises(
        UserError, match='lacks metrics of the epochs before epoch_2.pth: delete the folder and run again'
    ):
        start(tmp_path / 'run', run, here)


def test_a_value_out_of_range_is_named(here, tmp_path):
    with pytest.raises(UserError, match='config.py: .*selection: alpha must be between 0 and 1, not 2'):
        start(tmp_path / 'run', run_of({'model.bbox_head.selection.alpha': 2}), here)


@pytest.mark.parametrize(
    ('use', 'shares'),
    [((), None), (('dual',), 'predictors'), (('condinst', 'dual'), 'towers')],
    ids=['none', 'same', 'masks'],
)
def test_a_second_branch_that_cannot_detect_is_named_before_training(here, tmp_path, use, shares):
    """Not after it, when the last evaluation asks for its detections."""
    run = run_of({'model.bbox_head.second.shares': shares} if shares else {}, (*use, 'second-with-nms'))
    with pytest.raises(UserError, match='config.py: val_evaluator: second=True needs a TwoReadingsFCOS with a second'):
        start(tmp_path / 'run', run, here)
    assert not RunFolder(tmp_path / 'run').epochs()


def test_the_data_are_rebuilt_when_damaged(here, data):
    made = generated(run_of({}).config)
    from experiments.data.synthetic.coco import write_coco

    scenes = data / 'desk' / made['SCENES'][0]
    image = next((scenes / 'train2017').iterdir())
    before = image.read_bytes()
    image.write_bytes(before[:100])
    said = []
    assert ensure(data / 'desk', 'scenes', made['SCENES'][1], write_coco, say=said.append) == scenes
    assert image.read_bytes() == before and image.name in said[0]


def test_a_metric_that_results_cannot_come_from_fails_before_training():
    """MMDetection's own leaves out no groups of images, which is found after the last epoch."""
    from experiments.training.train import RunFolderHook
    from o2f.errors import InputError

    metric = type('CocoMetric', (), {})()
    runner = SimpleNamespace(val_evaluator=SimpleNamespace(metrics=[metric]))
    with pytest.raises(InputError, match='val_evaluator is CocoMetric, and results need one TwoReadingsMetric'):
        RunFolderHook.before_train(None, runner)
