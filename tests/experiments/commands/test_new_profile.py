"""A profile for a dataset of one's own: written after a look at it, and used like one of the suite's."""

import json
import os
import shlex
import shutil

import cv2
import numpy as np
import pytest

from experiments.data.objects import read_objects
from experiments.run import main
from experiments.spec import config as composing
from experiments.spec import config as config_module
from experiments.spec.config import add_profile, profile_text, resolve
from experiments.spec.paths import generated
from experiments.spec.plan import save_profile
from experiments.spec.schema import capture_command, own_profile
from experiments.store.errors import UserError
from experiments.store.runs import RunFolder


def write_cells(root, train=12, val=4, size=(160, 120)):
    """Images of bright discs and squares on noise, in COCO's format, with polygons on none."""
    random = np.random.default_rng(0)
    width, height = size
    (root / 'images').mkdir(parents=True)
    for split, count in dict(train=train, val=val).items():
        content = dict(images=[], annotations=[], categories=[dict(id=3, name='disc'), dict(id=1, name='square')])
        for image in range(count):
            pixels = random.integers(0, 60, (height, width, 3), np.uint8)
            name = f'{split}{image}.jpg'
            for place, label in enumerate((3, 1, 3)):
                side = int(random.integers(24, 44))
                x, y = 50 * place + int(random.integers(0, 6)), int(random.integers(0, height - side))
                if label == 3:
                    cv2.circle(pixels, (x + side // 2, y + side // 2), side // 2, (40, 220, 80), -1)
                else:
                    cv2.rectangle(pixels, (x, y), (x + side, y + side), (220, 60, 40), -1)
                entry = dict(image_id=image, category_id=label, bbox=[x, y, side, side], area=side**2, iscrowd=0)
                content['annotations'].append(dict(entry, id=len(content['annotations'])))
            cv2.imwrite(str(root / 'images' / name), pixels)
            content['images'].append(dict(id=image, file_name=name, width=width, height=height))
        (root / f'{split}.json').write_text(json.dumps(content))
    return root


@pytest.fixture(scope='module')
def cells(tmp_path_factory):
    return write_cells(tmp_path_factory.mktemp('cells'))


@pytest.fixture
def own(monkeypatch):
    """Profiles of one test are unknown to the next."""
    monkeypatch.setattr(composing, '_OWN', {})


@pytest.fixture(scope='module')
def profile(cells, tmp_path_factory):
    """The file that run.py new-profile writes for the dataset."""
    path = tmp_path_factory.mktemp('profile') / 'my_cells.py'
    assert main(['new-profile', '--data', str(cells), '--out', str(path)]) == 0
    composing._OWN.clear()
    return path


def test_it_fits_the_data(cells, profile, own, capsys):
    config = resolve(add_profile(profile), ['fcos'], {}, 0, 'test').config
    assert config['classes'] == ('disc', 'square') and config['model']['bbox_head']['num_classes'] == 2
    scale = config['val_dataloader']['dataset']['pipeline'][1]['scale']
    assert scale[0] == scale[1] <= 160
    assert 16 <= config['model']['bbox_head']['regress_ranges'][0][1] <= 64
    assert config['model']['bbox_head']['strides'] == [4, 8, 16, 32]
    [(folder, spec)] = generated(config).values()
    assert folder.startswith('backbone-') and spec.scenes.classes == ('disc', 'square')
    assert config['val_evaluator']['ann_file'] == '${DATA}/val.json'
    assert main(['geometry', '--profile', str(profile), '--data', str(cells)]) == 0
    printed = capsys.readouterr().out
    assert '36 objects on 12 images' in printed and 'too small for the strides' not in printed


def test_all_tables_are_those_that_the_profile_has_data_for(profile, own, tmp_path, capsys):
    """One's own data are no crowd. A table that is named is an error."""
    options = ('--profile', str(profile), '--runs', str(tmp_path))
    assert main(['--status', *options]) == 0
    said = 'table8 is left out: profile my_cells has no data for the variant crowdhuman'
    assert said in capsys.readouterr().err
    assert main(['table8', '--dry-run', *options]) == 2 and said not in capsys.readouterr().err


def test_the_objects_are_those_of_the_annotations(cells, profile, own):
    [(_, spec)] = generated(resolve(add_profile(profile), (), {}, 0, 'test').config).values()
    found = list(read_objects(spec.scenes, 'train', cells))
    assert len(found) == 36 and sum(label for _, label, _ in found) == 12
    for image, label, (x, y, width, height) in found:
        blue, green, _ = image[int(y + height / 2), int(x + width / 2)].astype(int)
        assert (green > blue) == (label == 0)


def test_a_run_is_named_after_its_data(cells, profile, own, tmp_path):
    """Another annotation file is another run, and the profile does not go with it."""
    first = resolve(add_profile(profile), (), {}, 0, 'test').id
    other = tmp_path / 'cells'
    shutil.copytree(cells, other)
    content = json.loads((other / 'train.json').read_text())
    content['annotations'].pop()
    (other / 'train.json').write_text(json.dumps(content))
    again = tmp_path / 'new.py'
    assert main(['new-profile', '--data', str(other), '--out', str(again)]) == 0
    run = resolve('new', (), {}, 0, 'test')
    assert run.id != first
    [(_, spec)] = generated(resolve('my_cells', (), {}, 0, 'test').config).values()
    with pytest.raises(UserError, match='train.json is not the file that the profile was written for'):
        list(read_objects(spec.scenes, 'train', other))


def test_the_copy_beside_the_runs_is_the_same_profile(profile, own, tmp_path):
    """It needs no base, and gives the same runs."""
    name = add_profile(profile)
    ids = [resolve(name, use, {}, 0, 'test').id for use in ((), ('fcos',), ('fcos', '3x'), ('dual', 'dual-fcos'))]
    copy = tmp_path / 'my_cells.py'
    copy.write_text(profile_text(name))
    add_profile(copy)
    again = [resolve(name, use, {}, 0, 'test').id for use in ((), ('fcos',), ('fcos', '3x'), ('dual', 'dual-fcos'))]
    assert again == ids and len(set(ids)) == 4


def test_where_the_file_lies_changes_no_run(profile, own, tmp_path):
    before = resolve(add_profile(profile), (), {}, 0, 'test').id
    shutil.copy(profile, tmp_path / 'my_cells.py')
    assert resolve(add_profile(tmp_path / 'my_cells.py'), (), {}, 0, 'test').id == before


@pytest.mark.parametrize('table, variant', [('table8', 'crowdhuman'), ('table9', 'condinst')])
def test_a_table_without_its_data_is_refused(profile, own, capsys, tmp_path, table, variant):
    assert main([table, '--profile', str(profile), '--dry-run', '--runs', str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.count('\n') == 1 and f'has no data for the variant {variant}' in said


def test_whether_processes_load_the_images_changes_the_run(own, tmp_path):
    """Augmentations are drawn otherwise then. How many processes there are does not matter."""
    path, ids = tmp_path / 'mine.py', []
    for workers in (0, 1, 2):
        path.write_text(f"base = 'smoke'\ntrain_dataloader = dict(num_workers={workers})\n")
        for cached in (config_module._load, config_module._profile, config_module._composed):
            cached.cache_clear()
        ids.append(resolve(add_profile(path), (), {}, 0, 'test').id)
    assert ids[0] == resolve('smoke', (), {}, 0, 'test').id != ids[1] == ids[2]


def test_a_profile_may_import_and_compute(own, tmp_path):
    path = tmp_path / 'computed.py'
    text = "base = 'smoke'\nimport math\nfrom pathlib import Path\nHERE = Path('a')\nseconds = str(HERE / 'b')\n"
    path.write_text(text + 'train_dataloader = dict(batch_size=int(math.sqrt(144)))\n')
    config = resolve(add_profile(path), (), {}, 0, 'test').config
    assert config['train_dataloader']['batch_size'] == 12 and config['seconds'] == 'a/b'
    assert not {'HERE', 'Path', 'math'} & config.keys()


@pytest.mark.parametrize(
    'name, text, says',
    [
        ('missing.py', None, 'there is no such file'),
        ('desk.py', "base = 'smoke'\n", "the suite's own profile has this name"),
        ('a-subset0.py', "base = 'smoke'\n", 'letters, digits and _'),
        ('broken.py', 'base = (\n', 'is no profile (SyntaxError'),
        ('raises.py', 'x = 1 / 0\n', 'is no profile (ZeroDivisionError'),
        ('other.py', "base = 'laptop'\n", 'which is none of the profiles desk, paper, smoke'),
        ('ends.py', "base = 'desk'\nimport sys\nsys.exit(0)\n", 'is no profile (SystemExit'),
        (
            'odd.py',
            "base = 'desk'\ntrain_dataloader = 5\n",
            'train_dataloader must be a mapping, not 5',
        ),
        (
            'path.py',
            "from pathlib import Path\nbase = 'desk'\nload_from = Path('w.pth')\n",
            'load_from is a PosixPath: ',
        ),
        (
            'numpy.py',
            "import numpy\nbase = 'desk'\noptim_wrapper = dict(optimizer=dict(lr=numpy.float64(0.1)))\n",
            'optim_wrapper.optimizer.lr is a float64: write it as text or as a plain number',
        ),
        ('epochs.py', "base = 'desk'\ntrain_cfg = dict(max_epochs=0)\n", 'epochs.py: train_cfg.max_epochs: 0 must'),
        (
            'infinite.py',
            "base = 'desk'\noptim_wrapper = dict(optimizer=dict(lr=float('inf')))\n",
            'infinite.py: optim_wrapper.optimizer.lr: infinite',
        ),
        ('hooks.py', "base = 'desk'\ndefault_hooks = [1]\n", 'hooks.py: default_hooks must be a mapping'),
        ('none.py', "base = 'desk'\ndefault_hooks = None\n", 'none.py: default_hooks must be a mapping, not None'),
        (
            'still.py',
            "base = 'desk'\noptim_wrapper = dict(_delete_=True, type='OptimWrapper')\n",
            'still.py: optim_wrapper.optimizer must be a mapping, not None',
        ),
        (
            'no_data.py',
            "base = 'desk'\ntrain_dataloader = dict(_delete_=True, batch_size=12, num_workers=0)\n",
            'no_data.py: train_dataloader.dataset must be a mapping, not None',
        ),
        ('few.py', "base = 'desk'\nepoch_images = -3\n", 'few.py: epoch_images: -3 must be a whole number, 1 or more'),
        ('variants.py', "base = 'desk'\nvariants = dict(fcos=5)\n", 'variants must be dict'),
        ('empty.py', 'x = 1\n', 'lacks model, train_dataloader, val_dataloader, val_evaluator'),
    ],
)
def test_a_file_that_is_no_profile_is_refused(own, tmp_path, capsys, name, text, says):
    if text is not None:
        (tmp_path / name).write_text(text)
    assert main(['table1', '--profile', str(tmp_path / name), '--dry-run', '--runs', str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.count('\n') == 1 and says in said


@pytest.mark.parametrize(
    'text, says',
    [
        ('scenes=dict(train=1.5)', 'scenes.train: must be a whole number, not 1.5'),
        ('scenes=dict(size=0)', 'scenes.size: must be 1 or more, not 0'),
        ('scenes=dict(visible=2.0)', 'scenes.visible: must be 1.0 or less, not 2.0'),
        ('scenes=dict(objects=(7, 2))', 'scenes.objects: the first number must not exceed the second: (7, 2)'),
        ('scenes=dict(sizes=3)', "unexpected keyword argument 'sizes'"),
        ('scenes=None', 'None must be a mapping'),
        ('backbone=dict(epochs=0)', 'backbone.epochs: must be 1 or more, not 0'),
        ('backbone=dict(images=0)', 'backbone.images: must be a whole number, 1 or more, not 0'),
        ('crowd=dict(groups=(0, 5))', 'crowd.groups[0]: must be 1 or more, not 0'),
        ('scene=dict(train=9)', "unknown 'scene'; there are scenes, crowd, crops and backbone"),
    ],
)
def test_data_that_cannot_be_generated(own, tmp_path, capsys, text, says):
    (tmp_path / 'mine.py').write_text(f"base = 'desk'\ngenerate = dict({text})\n")
    assert main(['table1', '--profile', str(tmp_path / 'mine.py'), '--dry-run', '--runs', str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith('run.py: generate in the profile: ') and said.count('\n') == 1 and says in said


def test_data_that_would_be_trained_on_wrongly_are_refused(cells, own, tmp_path, capsys):
    data, out = tmp_path / 'cells', tmp_path / 'my.py'
    shutil.copytree(cells, data)
    assert main(['new-profile', '--data', str(tmp_path), '--out', str(out)]) == 2
    assert 'has no annotations to train on' in capsys.readouterr().err
    (data / 'images' / 'val2.jpg').write_bytes(b'')
    assert main(['new-profile', '--data', str(data), '--out', str(out)]) == 2
    said = capsys.readouterr().err
    assert said.count('\n') == 1 and 'val2.jpg is an empty file' in said and not out.exists()
    assert main(['new-profile', '--data', str(cells), '--out', str(tmp_path / 'my.txt')]) == 2


def test_validation_data_that_lack_a_category(cells, own, tmp_path, capsys):
    """No training could read them."""
    data, out = tmp_path / 'cells', tmp_path / 'my.py'
    shutil.copytree(cells, data)
    content = json.loads((data / 'val.json').read_text())
    content['categories'] = [entry for entry in content['categories'] if entry['name'] == 'disc']
    content['annotations'] = [entry for entry in content['annotations'] if entry['category_id'] == 3]
    (data / 'val.json').write_text(json.dumps(content))
    assert main(['new-profile', '--data', str(data), '--out', str(out)]) == 2
    said = capsys.readouterr().err
    assert "val.json has no category 'square', which is trained on: add it to its categories" in said
    assert not out.exists()


def test_images_without_objects_tell_nothing_of_the_geometry(cells, own, tmp_path, capsys):
    """However many there are."""
    data, out = tmp_path / 'cells', tmp_path / 'my.py'
    shutil.copytree(cells, data)
    content = json.loads((data / 'train.json').read_text())
    kept = content['images'][-1]['id']
    content['annotations'] = [entry for entry in content['annotations'] if entry['image_id'] == kept]
    first = content['images'][0]
    content['images'][:0] = [dict(first, id=1000 + number) for number in range(2500)]
    (data / 'train.json').write_text(json.dumps(content))
    assert main(['new-profile', '--data', str(data), '--out', str(out)]) == 0
    assert '3 objects on 1 images' in capsys.readouterr().out


@pytest.mark.parametrize(
    'given, says',
    [([[60, 5, 70, 9]], 'Table 9 is left out: '), (None, ''), ([[50, 0, 60, 0, 60, 20]], '')],
    ids=['boxes', 'none', 'polygons'],
)
def test_masks_for_table_9(cells, own, tmp_path, capsys, given, says):
    """A profile without masks says why, if there are some that cannot be used."""
    data, out = tmp_path / 'cells', tmp_path / 'my.py'
    shutil.copytree(cells, data)
    for split in ('train', 'val'):
        content = json.loads((data / f'{split}.json').read_text())
        for entry in content['annotations']:
            x, y, side, _ = entry['bbox']
            entry['segmentation'] = [[x, y, x + side, y, x + side, y + side]] if given else None
        content['annotations'][0]['segmentation'] = [[x, y, x + side, y]] if says else entry['segmentation']
        content['annotations'][0]['bbox'] = entry['bbox']
        (data / f'{split}.json').write_text(json.dumps(content))
    assert main(['new-profile', '--data', str(data), '--out', str(out)]) == 0
    said = capsys.readouterr().err
    assert (says in said) if says else 'Table 9' not in said
    assert ("'condinst': None" in out.read_text()) == (given is None or bool(says))


def test_a_profile_that_lies_beside_its_runs_stays_as_it_is(own, tmp_path):
    kept = tmp_path / 'mine' / 'mine.py'
    kept.parent.mkdir()
    kept.write_text("base = 'smoke'  # my own words\n")
    save_profile(add_profile(kept), tmp_path)
    assert kept.read_text() == "base = 'smoke'  # my own words\n"
    save_profile('mine', tmp_path / 'elsewhere')
    assert 'train_dataloader' in own_profile(tmp_path / 'elsewhere', 'mine').read_text()


def test_a_capture_names_the_profile_by_its_file(own, tmp_path, capsys):
    path = tmp_path / 'my own' / 'mine.py'
    path.parent.mkdir()
    path.write_text("base = 'smoke'\n")
    asked = '--profile', str(path), '--runs', str(tmp_path / 'runs'), '--data', str(tmp_path / 'data')
    assert main(['capture', 'fig6', *asked]) == 1
    said = capsys.readouterr().err
    assert f"--profile '{path}' --data {tmp_path / 'data'}" in said and f'--runs {tmp_path / "runs"} first' in said
    save_profile('mine', tmp_path / 'runs')
    again = shlex.split(capture_command(tmp_path / 'runs', 'mine', 'fig6'))
    assert again[4:7] == ['--profile', str(tmp_path / 'runs' / 'mine' / 'mine.py'), '--data']


@pytest.mark.slow
def test_a_probe_of_it(cells, own, suite, profile):
    """On its own images, as many as there are."""
    suite.data = cells
    asked = (
        'table5',
        '--profile',
        profile,
        '--only',
        'method=FCOS',
        '--only',
        'method=FCOS-NMS',
        '--only',
        'schedule=1x',
    )
    done = suite.run(*asked, '--dry-run', '--probe', 1, '--jobs', 1, check=0)
    assert 'images/s, 2 in a step' in done.stderr and '1 run(s) from the probe' in done.stdout
    told = suite.run(*asked, '--dry-run', '--images-per-second', 1, '--jobs', 1, check=0).stdout
    # 12 epochs of 12 images, and 4 evaluated at three times the rate
    assert '2 min 40 s' in next(line for line in told.splitlines() if line.startswith('table5'))
    suite.data = cells / 'nowhere'
    assert 'train.json is missing' in suite.run(*asked, '--dry-run', '--probe', 1, check=2).stderr


@pytest.fixture
def tiny(cells, own, suite, tmp_path):
    """A profile of one epoch, and the folder of its data."""
    path = tmp_path / 'tiny.py'
    assert main(['new-profile', '--data', str(cells), '--out', str(path)]) == 0
    text = path.read_text().replace('epochs=60', 'epochs=1')
    assert 'epochs=1,' in text
    path.write_text(text + 'train_cfg = dict(max_epochs=1)\n')
    suite.data = tmp_path / 'data'
    shutil.copytree(cells, suite.data)
    return path


@pytest.mark.slow
def test_a_search_keeps_what_a_training_keeps(need_ray, ray_folder, suite, tiny):
    """The profile, and the digests of the annotations, whose change is said."""
    asked = 'search', 'table5', '--profile', tiny, '--only', 'method=FCOS', '--only', 'schedule=1x'
    env = {**os.environ, 'RAY_TMPDIR': ray_folder}
    suite.run(*asked, check=0, env=env)
    [run] = suite.folders('tiny')
    assert (suite.runs / 'tiny' / 'tiny.py').exists()
    assert RunFolder(run).data().keys() == {'train_dataloader', 'val_dataloader'}
    (suite.data / 'val.json').write_text((suite.data / 'val.json').read_text() + ' ')
    said = suite.run(*asked, check=0, env=env).stderr
    assert 'val.json differs from the file that 1 run(s) began on, 1 of them finished' in said


@pytest.mark.slow
def test_a_table_is_trained_on_it(suite, tiny):
    """The backbone is pre-trained on the objects, the profile is kept beside the runs, and the report's command names
    it."""
    path = tiny
    asked = '--profile', path, '--only', 'method=FCOS', '--only', 'method=FCOS-NMS', '--only', 'schedule=1x'
    printed = suite.run('table5', *asked, check=0).stdout
    assert 'profile tiny' in printed and 'Tiny numbers are not COCO numbers' in printed
    [run] = suite.folders('tiny')
    assert (run / 'result.json').exists() and len(list((suite.data / 'desk').glob('backbone-*'))) == 1
    kept = suite.runs / 'tiny' / 'tiny.py'
    again = suite.run('table5', '--profile', kept, *asked[2:], check=0)
    assert again.stdout == printed and suite.folders('tiny') == [run]
    from analysis.results import command

    assert f'--profile {kept}' in command(suite.runs, 'tiny', 'table5')
